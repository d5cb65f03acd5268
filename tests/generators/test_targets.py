"""Which labels are aimed at, and what cannot be edited."""

from collections import Counter

import pytest

from potstill.errors import ConfigError
from potstill.generators.targets import Task, asks, balanced, fitting, kinds_for, labels_of, targets_of
from potstill.recipe.counterfactual import EDIT_KINDS, CounterfactualConfig
from potstill.records import Problem

NLI = ("entailment", "neutral", "contradiction")
NO_TASK = Task()


def nli(number, answer="neutral", **more):
    """Return a text pair."""
    fields = {"premise": f"Premise {number}.", "hypothesis": f"Hypothesis {number}."}
    return Problem(id=f"p{number}", question=f"q{number}", answer=answer, answer_type="label", labels=NLI,
                   **{"fields": fields, **more})  # fmt: skip


def reasons(problems, config=None, task=NO_TASK):
    """Return why problems are left out."""
    return [drop.reason for drop in fitting(problems, config or CounterfactualConfig(), task)[1]]


def test_targets_are_even_over_ordered_pairs():
    """Each label goes to its two others equally often, whatever the order of the problems."""
    problems = [nli(number, NLI[number % 3]) for number in range(60)]
    found = balanced(problems, CounterfactualConfig(), seed=3)
    pairs = Counter((problem.answer, found[problem.id]) for problem in problems)
    assert set(pairs.values()) == {10}
    assert len(pairs) == 6
    assert balanced(problems[::-1], CounterfactualConfig(), seed=3) == found


def test_all_targets_are_every_other_label():
    """Each with its own candidates, of different kinds."""
    config = CounterfactualConfig(targets="all", candidates=3, roles=("counterfactual", "invariant"))
    wanted = list(asks([nli(1)], config))
    assert Counter((ask.role, ask.target) for ask in wanted) == {
        ("counterfactual", "entailment"): 3, ("counterfactual", "contradiction"): 3, ("invariant", "neutral"): 3,
    }  # fmt: skip
    assert len({ask.id for ask in wanted}) == 9
    assert all(len({a.kind for a in wanted if a.target == label}) == 3 for label in NLI)


def test_only_so_many_kinds_are_asked_for_as_there_are():
    """A recipe can name them."""
    assert len(kinds_for(nli(1), "neutral", CounterfactualConfig(candidates=20))) == len(EDIT_KINDS)
    assert kinds_for(nli(1), "neutral", CounterfactualConfig(kinds=("negation",))) == ["negation"]
    number = Problem(id="n", question="1 + 1?", answer="2", answer_type="number")
    assert sorted(kinds_for(number, "", CounterfactualConfig())) == ["quantity", "relation"]


def test_the_options_of_a_choice_are_its_labels():
    """By letter, with their texts; a number has none."""
    choice = Problem(id="c", question="Where?", answer="(a)", answer_type="choice", options=("bed", "road"))
    assert labels_of(choice) == {"(a)": "bed", "(b)": "road"}
    assert targets_of(choice, CounterfactualConfig()) == ["(b)"]
    assert labels_of(Problem(id="n", question="1 + 1?", answer="2", answer_type="number")) == {}
    assert labels_of(Problem(id="y", question="Is it?", answer="yes", answer_type="yesno"), {"no": "it is not"}) == {
        "yes": "the answer to the question is yes", "no": "it is not",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (nli(1, None), "no_answer"),
        (nli(1, "true"), "unknown_label"),
        (Problem(id="p", question="q", answer="a", answer_type="label", labels=("a",)), "one_label"),
        (Problem(id="p", question="q", answer="a", answer_type="text"), "not_editable_type"),
    ],
)
def test_a_problem_that_cannot_be_edited_is_named(problem, reason):
    """Nothing is asked for it."""
    assert reasons([problem]) == [reason]


def test_an_item_that_has_the_target_label_already_is_named():
    """The others are edited."""
    config = CounterfactualConfig(to=("neutral",))
    kept, drops = fitting([nli(1, "neutral"), nli(2, "entailment")], config, NO_TASK)
    assert [problem.id for problem in kept] == ["p2"]
    assert [(drop.id, drop.reason) for drop in drops] == [("p1", "has_target")]
    assert {ask.target for ask in asks(kept, config)} == {"neutral"}


def test_derived_problems_are_passed_over():
    """Neither what this stage made nor what people did is edited again."""
    made = nli(2, meta={"counterfactual": {}})
    assert fitting([nli(1), made, nli(3, parent_id="p1")], CounterfactualConfig(), NO_TASK) == ([nli(1)], [])


def test_a_field_that_no_problem_has_stops_everything():
    """Before anything is bought; one that some lack is counted."""
    with pytest.raises(ConfigError, match="'title' is a field of no problem; they have premise, hypothesis"):
        reasons([nli(1)], task=Task(editable=("title",)))
    without = nli(2, fields={"premise": "p"})
    assert reasons([nli(1), without], task=Task(editable=("hypothesis",))) == ["field_missing"]


@pytest.mark.parametrize(
    ("config", "task", "key"),
    [
        (CounterfactualConfig(to=("true",)), NO_TASK, "counterfactual.to"),
        (CounterfactualConfig(), Task(definitions={"true": "so"}), "problems.definitions"),
    ],
)
def test_a_label_that_nobody_has_stops_everything(config, task, key):
    """The message lists the known ones."""
    with pytest.raises(ConfigError, match=f"{key}: 'true' is no label; known: entailment, neutral, contradiction"):
        reasons([nli(1)], config, task)
