"""Mixing: kept rationales become examples."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_rationales import problem, rationale

from potstill.errors import DataError
from potstill.recipe.rationales import FilterConfig
from potstill.recipe.students import MixConfig
from potstill.records import Rationale
from potstill.students.mixing import kind_counts, mix


def many(n_problems=3, n=6):
    """Every third rationale is wrong."""
    rows = []
    for p in range(n_problems):
        of = problem(f"p{p}")
        for i in range(n):
            status = "WRONG" if i % 3 == 2 else "CORRECT"
            text = f"Way {i} of {p}. The answer is 7."
            rows.append(rationale(f"r{p}.{i}", text, status=status, of=of, index=i))
    return rows


def test_an_example_is_prompt_reasoning_marker_and_verified_answer():
    """SCoTD's format, with the space that begins the target."""
    [example] = mix([rationale()])
    assert (example.prompt, example.target) == ("Q: What is p?\nA:", " 3 + 4 = 7. So the answer is: 7")
    assert (example.task, example.weight, example.group, example.rationale_id) == ("cot", 1.0, "p", "r")


def test_a_text_without_a_marker_keeps_its_whole_and_gets_the_answer():
    """All examples end in the same way, so the student learns one."""
    assert (
        mix([rationale(text="She has 3 + 4 = 7 shells.")])[0].target == " She has 3 + 4 = 7 shells. So the answer is: 7"
    )


def test_a_bare_answer_has_no_doubled_space():
    """A text that is only its answer is learnt as that."""
    assert mix([rationale(text="The answer is 7.")])[0].target == " So the answer is: 7"


def test_a_text_without_any_answer_is_learnt_as_it_stands():
    """Under `keep: all` nothing is invented for a text in which no answer was read."""
    row = rationale(text="I do not know.", answer=None, status="NO_ANSWER")
    assert mix([row], filter=FilterConfig(keep="all"))[0].target == " I do not know."


def test_a_wrong_answer_is_kept_as_the_teachers_own():
    """In the unlabelled setting the student learns what the teacher said."""
    row = rationale(text="3 + 4 = 8. The answer is 8.", answer="8", status="WRONG")
    [example] = mix([row], filter=FilterConfig(keep="all"))
    assert example.target == " 3 + 4 = 8. So the answer is: 8"


def test_answer_examples_come_from_gold_one_per_problem():
    """Also for problems without any rationale; problems without gold and without samples give none."""
    problems = [problem("a", "1"), problem("b", "2"), problem("c", None)]
    examples = mix([], MixConfig(kinds=("answer",)), problems=problems)
    assert [(e.group, e.target, e.task) for e in examples] == [
        ("a", " So the answer is: 1", "answer"),
        ("b", " So the answer is: 2", "answer"),
    ]


def test_answer_examples_of_unlabelled_problems_are_the_teachers_majority():
    """Label-only in the few-shot setting: the most frequent answer, of equally frequent ones the first sampled."""
    of = problem("p", None)
    for answers, winner in ((["5", "7", "7", None], "7"), (["7", "5", "5", "7"], "7"), ([None, "5", "7"], "5")):
        rows = [rationale(str(i), answer=a, status="UNVERIFIED", of=of, index=i) for i, a in enumerate(answers)]
        config, unfiltered = MixConfig(kinds=("answer",)), FilterConfig(keep="all")
        [example] = mix(rows[::-1], config, problems=[of], filter=unfiltered)
        assert example.target == f" So the answer is: {winner}"


@settings(max_examples=25)
@given(st.randoms(use_true_random=False), st.integers(0, 3), st.sampled_from([None, 1, 2, 4]))
def test_examples_do_not_depend_on_the_order_of_the_input(shuffled, seed, n):
    """Shuffling rationales and problems changes neither the examples nor their order."""
    rows = many()
    config = MixConfig(kinds=("cot", "answer"), n=n, max_per_problem=3)
    problems = [problem(f"p{i}") for i in range(3)]
    expected = mix(rows, config, problems=problems, seed=seed)
    shuffled.shuffle(rows)
    shuffled.shuffle(problems)
    assert mix(rows, config, problems=problems, seed=seed) == expected


@given(st.integers(0, 50))
def test_fewer_samples_are_a_subset_of_more(seed):
    """N = 1 is a part of N = 2, and so on: the samples are drawn in one order per problem."""
    rows = many()
    sets = []
    for n in (1, 2, 4, None):
        kept = mix(rows, MixConfig(n=n), filter=FilterConfig(keep="all"), seed=seed)
        sets.append({e.rationale_id for e in kept})
        assert len(kept) == 3 * (n or 6)
    assert sets[0] < sets[1] < sets[2] < sets[3]


def test_the_first_n_are_chosen_before_filtering():
    """Of N samples some are wrong: N counts what was sampled, not what was kept, whichever way the filter is given."""
    rows = many(n_problems=40)
    inside = mix(rows, MixConfig(n=3), seed=1)
    kept = [r for r in rows if r.verdict.correct]
    outside = mix(kept, MixConfig(n=3), filter=None, candidates=rows, seed=1)
    assert inside == outside
    assert 40 < len(inside) < 3 * 40
    assert len(mix(rows, MixConfig(n=3), filter=FilterConfig(keep="all"), seed=1)) == 3 * 40


def test_seeds_draw_different_samples():
    """Another seed, other samples."""
    rows = many(n_problems=10)
    first, second = (mix(rows, MixConfig(n=1), filter=FilterConfig(keep="all"), seed=s) for s in (0, 1))
    assert {e.rationale_id for e in first} != {e.rationale_id for e in second}


def test_max_per_problem_caps_what_is_kept():
    """The cap comes after the filter; weights stay equal."""
    examples = mix(many(), MixConfig(max_per_problem=2))
    assert [sum(e.group == f"p{i}" for e in examples) for i in range(3)] == [2, 2, 2]
    assert {e.weight for e in examples} == {1.0}


def test_chat_examples_are_bare_and_marked():
    """The chat template brings its own white space; the prompt is the question alone unless one is given."""
    [example] = mix([rationale()], MixConfig(format="chat"))
    assert (example.prompt, example.target) == ("What is p?", "3 + 4 = 7. So the answer is: 7")
    assert example.meta["format"] == "chat"
    assert MixConfig(format="chat", prompt="Solve: {question}").prompt == "Solve: {question}"


def test_an_arm_that_keeps_nothing_says_why():
    """With counts by reason."""
    rows = [rationale(str(i), answer="9", status="WRONG") for i in range(3)]
    with pytest.raises(DataError, match=r"mix: none of 3 rationales is kept \(3 wrong\)"):
        mix(rows)
    with pytest.raises(DataError, match=r"nothing to train on.*of 3 rationales \(3 WRONG.*1 of 1 problems have a gold"):
        mix([], filter=None, candidates=rows)


def test_a_rationale_of_an_unknown_problem_is_refused():
    """Its id is named."""
    stray = Rationale(id="r1", problem_id="gone", kind="cot", text="x", verdict=rationale().verdict)
    with pytest.raises(DataError, match="r1 is of problem 'gone'"):
        mix([stray], problems=[problem()])


def test_a_hundred_shuffles_of_real_size_stay_equal():
    """Ids decide, not positions: the same ids in another order give the same first n."""
    rows = many(n_problems=20, n=30)
    expected = {e.rationale_id for e in mix(rows, MixConfig(n=5), seed=3)}
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        assert {e.rationale_id for e in mix(rows, MixConfig(n=5), seed=3)} == expected


def both_kinds(counts):
    """Return verified rationales: (problem, kind) -> how many."""
    rows = []
    for (name, kind), n in counts.items():
        for i in range(n):
            row = rationale(f"{name}{kind}{i}", text=f"ans = {i} + {7 - i}", of=problem(name))
            rows.append(Rationale(id=row.id, problem_id=name, kind=kind, text=row.text, verdict=row.verdict,
                                  problem=row.problem))  # fmt: skip
    return rows


def test_balanced_problems_have_as_many_programs_as_chains_of_thought():
    """The smaller number counts; a problem that keeps one kind stays as it is, and is counted."""
    rows = both_kinds({("a", "cot"): 5, ("a", "pot"): 2, ("b", "cot"): 3, ("c", "pot"): 1, ("c", "cot"): 1})
    config = MixConfig(kinds=("cot", "pot"), balance="cap")
    examples = mix(rows, config, seed=3)
    assert kind_counts(examples) == {"cot": 2 + 3 + 1, "pot": 2 + 1, "one_kind_only": 1}
    assert mix(rows[::-1], config, seed=3) == examples
    assert kind_counts(mix(rows, MixConfig(kinds=("cot", "pot")))) == {"cot": 9, "pot": 3, "one_kind_only": 1}


def test_labels_do_not_count_in_the_balance():
    """The label-only example of a problem neither caps nor is capped."""
    rows = both_kinds({("a", "cot"): 3, ("a", "pot"): 2})
    examples = mix(rows, MixConfig(kinds=("cot", "pot", "answer"), balance="cap"))
    assert kind_counts(examples) == {"cot": 2, "pot": 2, "answer": 1, "one_kind_only": 0}


def test_an_example_names_the_prefix_of_its_kind():
    """Encoding tokenises it apart."""
    [example] = mix([rationale()], MixConfig(prefixes={"cot": " So:"}))
    assert example.target.startswith(" So: 3") and example.meta["prefix"] == " So:"


def test_a_share_of_the_problems_is_nested_and_drawn_by_seed():
    """Whole problems, for every kind alike; those of a smaller share are among those of a larger one."""
    problems = [problem(f"p{i}") for i in range(10)]
    rows = [rationale(f"r{i}.{k}", of=problems[i]) for i in range(10) for k in range(3)]

    def groups(frac, seed=0, **changes):
        return {e.group for e in mix(rows, MixConfig(problem_frac=frac, **changes), problems=problems, seed=seed)}

    shares = [groups(frac) for frac in (0.2, 0.4, 0.7, 1.0)]
    assert [len(share) for share in shares] == [2, 4, 7, 10]
    assert all(smaller < larger for smaller, larger in pairwise(shares))
    assert groups(0.4, kinds=("answer",)) == shares[1]
    assert groups(0.4, seed=1) != shares[1]
    assert len(mix(rows, MixConfig(problem_frac=0.4, n=2), problems=problems)) == 8
    assert len(groups(0.01)) == 1
