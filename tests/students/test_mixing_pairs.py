"""Mixing problems with their counterfactuals: roles, views, control targets, and what is noted of a pair."""

from collections import Counter
from dataclasses import replace

import pytest
from toy_labels import VERBS, counterfactual, invariant, original, other

from potstill.errors import ConfigError, DataError
from potstill.rationales.roles import donors, role_of
from potstill.recipe.reading import build_recipe
from potstill.recipe.students import MixConfig
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.students.mixing import mix, role_counts

ORIGINALS = [original(i) for i in range(6)]
EDITS = [counterfactual(p) for p in ORIGINALS]
SAME = [invariant(p) for p in ORIGINALS[:2]]
EXTRA = [original(i, split="extra") for i in range(10, 13)]
EVERY = [*ORIGINALS, *EDITS, *SAME, *EXTRA]
PREFIXES = {"positive": " +:", "negative": " -:"}


def pool(problems=EVERY, n=1, views=("positive", "negative")):
    """Verified rationales of both views of every problem."""
    rows = []
    for problem in problems:
        for view in views:
            for index in range(n):
                reason = f"{view} {index}: not {other(problem.answer)}, it {VERBS[problem.answer]}."
                text = f"{reason} So the answer is: {problem.answer}"
                name = f"{problem.id}.{view}.{index}"
                verdict = Verdict(rationale_id=name, status=Status.CORRECT, answer=problem.answer)
                rows.append(Rationale(id=name, problem_id=problem.id, kind="cot", view=view, text=text, index=index,
                                      verdict=verdict, problem=problem, usage={"completion_tokens": 5}))  # fmt: skip
    return rows


def mixed(rows=None, problems=EVERY, contrast=False, **config):
    return mix(pool() if rows is None else rows, MixConfig(**config), problems=problems, contrast=contrast)


def groups(examples):
    return {example.group for example in examples}


def ids(problems):
    return {problem.id for problem in problems}


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (None, EVERY),
        (["original"], ORIGINALS),
        (["original", "counterfactual"], [*ORIGINALS, *EDITS]),
        (["original", "invariant"], [*ORIGINALS, *SAME]),
        (["original", "extra"], [*ORIGINALS, *EXTRA]),
    ],
)
def test_an_arm_learns_from_the_problems_of_its_roles(roles, expected):
    """One row per view of each of them."""
    examples = mixed(roles=roles)
    assert groups(examples) == ids(expected)
    assert len(examples) == 2 * len(expected)


def test_an_edit_of_peoples_hand_is_told_by_its_parent():
    """Another answer makes it a counterfactual, the same one an invariant; what was augmented is none."""
    bare = [replace(p, meta={}) for p in (EDITS[0], SAME[0], ORIGINALS[0])]
    known = {ORIGINALS[0].id: ORIGINALS[0]}
    assert [role_of(p, known) for p in bare] == ["counterfactual", "invariant", "original"]
    assert role_of(replace(bare[1], meta={"augmentation": "noise"}), known) == "original"
    assert role_of(Problem(id="e", question="q", parent_id="p"), {}) == "original"


def test_views_are_told_apart_by_their_prefix_and_can_be_left_out():
    """Under one prompt, so that it is read once."""
    examples = [e for e in mixed(prefixes=PREFIXES) if e.group == "train0"]
    assert {e.meta["view"]: e.target for e in examples} == {
        "positive": " +: positive 0: not down, it rises. So the answer is: up",
        "negative": " -: negative 0: not down, it rises. So the answer is: up",
    }
    assert {e.meta["prefix"] for e in examples} == set(PREFIXES.values())
    assert len({e.prompt for e in examples}) == 1
    assert {e.meta["view"] for e in mixed(views=["positive"])} == {"positive"}


def test_the_cap_per_problem_and_the_first_n_hold_for_each_view():
    """A problem with two views has twice as many rows."""
    rows = pool(ORIGINALS, n=3)
    assert Counter(e.meta["view"] for e in mixed(rows, ORIGINALS, n=2)) == {"positive": 12, "negative": 12}
    assert len(mixed(rows, ORIGINALS, max_per_problem=1)) == 12


def test_counterfactuals_can_be_learnt_without_their_rationales():
    """One label-only row each; originals and invariants keep theirs."""
    examples = mixed(counterfactuals="answer")
    bare = [e for e in examples if e.task == "answer"]
    assert groups(bare) == ids(EDITS)
    assert {e.target for e in bare} == {" So the answer is: up", " So the answer is: down"}
    assert groups(e for e in examples if e.task == "cot") == ids([*ORIGINALS, *SAME, *EXTRA])


def test_shuffled_counterfactuals_get_the_targets_of_others_with_another_label():
    """Each gives once; what stands in the rationale belongs to the label that is taught; originals stay as they are."""
    examples = mixed(counterfactuals="shuffled", roles=["original", "counterfactual"])
    known = {p.id: p for p in EVERY}
    edits = [e for e in examples if e.group in ids(EDITS)]
    for e in edits:
        taught = other(known[e.group].answer)
        assert e.target.endswith(f"{VERBS[taught]}. So the answer is: {taught}")
        assert known[e.meta["donor"]].answer == taught
    assert Counter(e.meta["donor"] for e in edits) == dict.fromkeys(ids(EDITS), 2)
    plain = {e.id: e for e in mixed(roles=["original"])}
    assert {e.id: e for e in examples if e.group in ids(ORIGINALS)} == plain


def test_labels_alone_can_be_shuffled_too():
    """The same donors, without any rationale."""
    examples = mixed([], kinds=["answer"], counterfactuals="shuffled")
    known = {p.id: p for p in EVERY}
    wrong = {e.group for e in examples if not e.target.endswith(known[e.group].answer)}
    assert wrong == ids(EDITS)


@pytest.mark.parametrize("counts", [(3, 3), (5, 1), (1, 1, 1), (4, 2, 2), (2, 5, 1)])
def test_donors_have_another_label_whatever_the_labels_are(counts):
    """Each gives once where that is possible at all."""
    problems = [
        Problem(id=f"{label}{i}", question="q", answer=str(label)) for label, n in enumerate(counts) for i in range(n)
    ]
    found = donors(problems, seed=1)
    assert found.keys() == ids(problems)
    assert all(found[id_][0] != id_[0] for id_ in found)
    if 2 * max(counts) <= sum(counts):
        assert set(found.values()) == ids(problems)


def test_one_label_cannot_be_shuffled():
    """Said with the label that all have."""
    rows = [row for row in pool() if row.problem.answer == "down" or row.problem_id not in ids(EDITS)]
    with pytest.raises(DataError, match=r"shuffled needs counterfactuals of at least two labels.*'down'"):
        mixed(rows, counterfactuals="shuffled")


def test_counterfactuals_are_held_to_a_ratio():
    """Half as many as originals, of both sources; the smaller choice lies within the larger."""
    few = groups(mixed(counterfactual_ratio=0.25, roles=["original", "counterfactual"])) & ids(EDITS)
    more = groups(mixed(counterfactual_ratio=0.5, roles=["original", "counterfactual"])) & ids(EDITS)
    assert (len(few), len(more)) == (1, 3)
    assert few < more


def test_a_pair_is_noted_and_its_labels_where_a_margin_is_learnt():
    """The label that is taught first; an invariant's pair has the counterfactual's label as its contrast."""
    examples = mixed(contrast=True)
    by_group = {e.group: e for e in examples}
    assert by_group["train0.cf"].meta["pair"] == by_group["train0.same"].meta["pair"] == "train0"
    assert "pair" not in by_group["train0"].meta
    up, down = " So the answer is: up", " So the answer is: down"
    assert by_group["train0"].meta["contrast"] == by_group["train0.same"].meta["contrast"] == [up, down]
    assert by_group["train0.cf"].meta["contrast"] == [down, up]
    assert "contrast" not in by_group["extra10"].meta
    shuffled = {
        e.group: e for e in mixed(contrast=True, counterfactuals="shuffled", roles=["original", "counterfactual"])
    }
    assert "contrast" not in shuffled["train0.cf"].meta
    assert not any("contrast" in e.meta for e in mixed())


def test_the_label_may_come_first():
    """And then why; a target whose parts stand the other way round is refused."""
    [example] = mixed(pool(ORIGINALS[:1], views=["positive"]), ORIGINALS[:1], order="label_first")
    assert example.target == " So the answer is: up. positive 0: not down, it rises."
    with pytest.raises(ConfigError, match="put its parts in that order"):
        build_recipe({"problems": {"source": "x"}, "mix": {"order": "label_first", "target": "{rationale} {answer}"}})
    arms = {
        "problems": {"source": "x"},
        "mix": {"order": "label_first"},
        "arms": {"late": {"mix": {"order": "cot_first"}}},
    }
    assert build_recipe(arms).for_arm("late").mix.target == MixConfig().target


def test_an_arm_says_what_its_rationales_cost():
    """Rows by view, pairs, and the teacher's tokens of every rationale of its problems and views."""
    counts = role_counts(mixed(roles=["original", "counterfactual"], views=["positive"]), pool(n=2))
    assert counts == {"view_positive": 12, "pairs": 6, "teacher_tokens": 12 * 2 * 5}
    assert role_counts(mixed([], kinds=["answer"], roles=["original"]), pool()) == {}
