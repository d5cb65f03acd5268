"""Selecting: which of a problem's kept rationales are learnt from."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from potstill.errors import ConfigError, DataError
from potstill.rationales.embedding import embed
from potstill.rationales.selecting import cut_clusters, select, structure, unique_bigrams
from potstill.recipe.rationales import FilterConfig, SelectConfig
from potstill.recipe.students import MixConfig
from potstill.recipe.whole import Recipe
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.students.mixing import mix

RULES = ("random", "diverse", "likelihood", "open_ended", "short", "long", "mixed_length", "structure")
WORDS = "red blue green black white brown pink grey gold lime rose teal rust sand plum jade".split()  # noqa: SIM905


def rationale(id, text, problem_id="p", **fields):
    verdict = Verdict(rationale_id=id, status=Status.CORRECT, answer="7")
    return Rationale(**{"id": id, "problem_id": problem_id, "kind": "cot", "text": text, "verdict": verdict, **fields})


def corpus(n_problems=10, n=30):
    """Texts of 3 to 40 random words; the later the problem, the fewer different words it has."""
    rng = random.Random(7)
    return [
        rationale(
            f"{p}.{i}",
            " ".join(rng.choices(WORDS[: 16 - p], k=rng.randint(3, 40))),
            f"p{p}",
            logprob=-rng.random(),
        )
        for p in range(n_problems)
        for i in range(n)
    ]


@pytest.mark.parametrize("by", RULES)
def test_every_rule_spends_the_same_budget(by):
    """Five of thirty for each problem, on average; no rationale twice."""
    rows = corpus()
    chosen = select(rows, SelectConfig(by=by, n=5), seed=3)
    assert len({r.id for r in chosen}) == len(chosen) == 50
    assert {r.problem_id for r in chosen} == {r.problem_id for r in rows}


@pytest.mark.parametrize("by", RULES)
def test_a_selection_depends_on_the_seed_and_not_on_the_order_of_rows(by):
    """The same rows shuffled give the same selection, in the same order."""
    rows = corpus(6)
    expected = [r.id for r in select(rows, SelectConfig(by=by, n=4), seed=1)]
    random.Random(0).shuffle(rows)
    assert [r.id for r in select(rows, SelectConfig(by=by, n=4), seed=1)] == expected


@pytest.mark.parametrize("by", [by for by in RULES if by != "open_ended"])
def test_fewer_are_a_part_of_more(by):
    """Budgets nest, so a study over n compares like with like."""
    rows = corpus(4, 12)
    smaller: set[str] = set()
    for n in (1, 2, 3, 5, 8, 12, 20):
        chosen = {r.id for r in select(rows, SelectConfig(by=by, n=n), seed=5)}
        assert smaller <= chosen
        smaller = chosen
    assert len(smaller) == len(rows)


@pytest.mark.parametrize("by", ["random", "diverse", "structure"])
def test_another_seed_chooses_others(by):
    """Where the rule leaves a choice."""
    rows = corpus(4)
    first, second = ({r.id for r in select(rows, SelectConfig(by=by, n=5), seed=seed)} for seed in (0, 1))
    assert first != second


def test_diverse_takes_one_of_each_way_of_saying_it():
    """Ten near-copies of one text and two others: three of them are one of each, under any seed."""
    rows = [rationale(f"a{i}", f"She adds the {i} apples to the pears and counts all of the fruit.") for i in range(10)]
    rows += [rationale("b", "Multiply both prices first, then subtract what was paid in advance.")]
    rows += [rationale("c", "Half of them leave; double the rest, since each brings one friend along.")]
    for seed in range(5):
        chosen = {r.id[0] for r in select(rows, SelectConfig(by="diverse", n=3), seed=seed)}
        assert chosen == {"a", "b", "c"}


def test_clusters_are_cut_by_average_linkage():
    """Points on a line at 0, 1, 2, 10, 11 and 30."""
    at = np.array([0.0, 10, 1, 30, 11, 2])
    distance = np.abs(at[:, None] - at[None, :])
    assert cut_clusters(distance, 3) == [[0, 2, 5], [1, 4], [3]]
    assert cut_clusters(distance, 1) == [[0, 1, 2, 3, 4, 5]]


def test_likelihood_takes_the_most_likely():
    """By the teacher's mean log-probability per token."""
    rows = [rationale(str(i), f"text {i}", logprob=value) for i, value in enumerate([-0.9, -0.1, -0.5, -0.2])]
    assert [r.id for r in select(rows, SelectConfig(by="likelihood", n=2))] == ["1", "3"]


def test_likelihood_without_log_probabilities_is_refused_with_what_to_do():
    """One message: how many lack it, which one for example, and the line to set."""
    rows = [rationale("a", "x", logprob=-0.1), rationale("b", "y", author="gpt")]
    with pytest.raises(DataError, match=r"1 of 2 rationales have none, such as b by gpt; set teachers\.logprobs: true"):
        select(rows, SelectConfig(by="likelihood"))


def test_open_ended_gives_the_fifths_of_the_problems_one_three_five_seven_and_nine():
    """SCoTD's numbers, by the number of different bigrams."""
    rows = corpus(10)
    counts = Counter(r.problem_id for r in select(rows, SelectConfig(by="open_ended", n=5)))
    ranked = sorted(counts, key=lambda p: unique_bigrams(r for r in rows if r.problem_id == p))
    assert [counts[p] for p in ranked] == [1, 1, 3, 3, 5, 5, 7, 7, 9, 9]


def test_length_rules_order_by_words():
    """Short, long, and four short ones for a long one."""
    rows = [rationale(str(n), "word " * n) for n in range(1, 11)]
    chosen = {by: [int(r.id) for r in select(rows, SelectConfig(by=by, n=5))] for by in ("short", "long")}
    assert chosen == {"short": [1, 2, 3, 4, 5], "long": [10, 9, 8, 7, 6]}
    assert [int(r.id) for r in select(rows, SelectConfig(by="mixed_length", n=10))] == [1, 2, 10, 3, 4, 5, 6, 9, 7, 8]


def test_structure_takes_different_equations_and_programs_first():
    """Wording, names of variables and comments make no difference; another operation does."""
    rows = [rationale(f"same{i}", f"Way {i}: 3 + 4 = 7, so seven.") for i in range(8)]
    rows += [rationale("other", "10 - 3 = 7.")]
    for seed in range(4):
        assert "other" in {r.id for r in select(rows, SelectConfig(by="structure", n=2), seed=seed)}
    programs = ["apples = 3  # red\npears = 4\nans = apples + pears", "a = 3\nb = 4\nans = a + b", "a = 3\nans = a * 4"]
    first, second, third = (structure(rationale("x", text, kind="pot")) for text in programs)
    assert first == second != third


def test_kinds_are_chosen_apart():
    """n of each kind, as everywhere."""
    rows = [rationale(f"{kind}{i}", f"text {i}", kind=kind) for kind in ("cot", "pot") for i in range(4)]
    assert Counter(r.kind for r in select(rows, SelectConfig(n=3))) == {"cot": 3, "pot": 3}


def test_selection_is_among_the_kept_and_n_among_the_sampled():
    """`mix.n` counts wrong samples too; `mix.select` fills its budget with kept ones."""
    of = Problem(id="p", question="What?", answer="7", answer_type="number")
    rows = []
    for i in range(12):
        right = i % 2 == 0
        verdict = Verdict(rationale_id=str(i), status=Status.CORRECT if right else Status.WRONG, answer="7")
        rows.append(rationale(str(i), f"Way {i}. The answer is 7.", problem=of, verdict=verdict))
    assert len(mix(rows, MixConfig(select=SelectConfig(n=5)), filter=FilterConfig())) == 5
    by_n = mix(rows, MixConfig(n=5), filter=FilterConfig())
    assert len(by_n) < 5
    assert len(mix(rows, MixConfig(n=5, select=SelectConfig(n=5)), filter=FilterConfig())) == len(by_n)


def test_words_are_weighed_against_the_other_texts():
    """What all texts say hardly counts; numbers do not count at all."""
    vectors = embed(["So the 3 apples are added.", "So the 9 apples are added.", "So the pears vanish."])
    similar = vectors @ vectors.T
    assert similar[0, 1] == pytest.approx(1.0)
    assert similar[0, 2] < 0.2
    assert np.allclose(np.diag(similar), 1.0)


def test_an_embedding_model_that_is_absent_is_one_message():
    """It names the recipe's line, the model, and what to do."""
    with pytest.raises(ConfigError, match=r"mix\.select\.embedding: model '/nowhere/model' cannot be opened; name a"):
        embed(["a"], "/nowhere/model")


def recipe(**select):
    return Recipe.model_validate(
        {
            "problems": {"source": "x.jsonl"},
            "teachers": {"base_url": "http://127.0.0.1/v1", "model": "m"},
            "arms": {"chosen": {"mix": {"select": select}}},
        }
    )


@pytest.mark.parametrize(
    ("select", "found"),
    [
        ({"by": "likelihood"}, "likelihood needs the teacher's log-probabilities; set teachers.logprobs: true"),
        ({"by": "random", "embedding": "m"}, "only by: diverse compares embeddings"),
        ({"by": "best"}, "got 'best'"),
    ],
)
def test_a_selection_that_cannot_be_made_is_refused_with_the_recipe(select, found):
    """Before anything is spent."""
    with pytest.raises(ConfigError, match=found):
        recipe(**select).for_arm("chosen")
