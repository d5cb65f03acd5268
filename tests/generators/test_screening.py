"""Filters over all candidates at once: models reach them as functions, copies and evaluation problems are found."""

from dataclasses import replace

import numpy as np
import pytest

from potstill.errors import ConfigError
from potstill.generators.candidates import Candidate, as_problem, candidate_from, line_of, read_candidates
from potstill.generators.fluency import open_scorer
from potstill.generators.jury import Vote
from potstill.generators.screening import screened
from potstill.generators.targets import Task
from potstill.recipe.counterfactual import CounterfactualConfig, FluencyConfig, SimilarityConfig
from potstill.records import Problem
from potstill.students.loading import MINIATURE

ORIGINAL = Problem(id="o", question="The film is dull and long.", answer="bad", answer_type="label",
                   labels=("good", "bad"), meta={"family": "f", "gold_solution": "x"})  # fmt: skip
PROBLEMS = {"o": ORIGINAL}


def made(text, name="c", **more):
    """Return a candidate."""
    return Candidate(id=name, problem_id="o", role="counterfactual", kind="attribute", old="bad", new="good",
                     author="w", asked="q", field="question", edits=(("dull", "fine"),), text=text, **more)  # fmt: skip


def reasons(texts, **more):
    """Return why edits are refused."""
    config = more.pop("config", CounterfactualConfig())
    found = screened([made(text, str(at)) for at, text in enumerate(texts)], PROBLEMS, config, Task(), **more)
    return [one.reason for one in found]


def test_the_second_of_two_equal_edits_and_a_copy_of_an_original_are_duplicates():
    """Marks and case make no difference."""
    texts = ["The film is fine and long.", "the film is fine, and long", "The film is short and long."]
    assert reasons(texts) == ["", "duplicate", ""]


def test_what_an_evaluation_split_says_is_contaminated():
    """Also where the problems know their own families."""
    test = replace(ORIGINAL, id="t", question="The film is fine and long!", split="test", meta={"family": "g"})
    assert reasons(["The film is fine and long.", "The film is fine and short."], evaluated=[test]) == [
        "contaminated", "",
    ]  # fmt: skip


def test_an_embedder_and_a_scorer_are_asked_for_what_is_left():
    """Each with the text before and after."""
    asked = []

    def embedder(texts):
        asked.append(list(texts))
        return np.array([[1.0, 0.0], [0.6, 0.8]] * (len(texts) // 2))

    config = CounterfactualConfig(similarity=SimilarityConfig(model="m", low=0.7))
    texts = ["The film is fine and long.", ORIGINAL.question]
    assert reasons(texts, config=config, embedder=embedder) == ["not_similar", "unchanged"]
    assert asked == [[ORIGINAL.question, "The film is fine and long."]]
    config = CounterfactualConfig(fluency=FluencyConfig(model="m"))
    cost = {ORIGINAL.question: 2.0, "The film is fine and long.": 2.5}
    assert reasons(texts[:1], config=config, scorer=lambda found: [cost[text] for text in found]) == ["not_fluent"]


def test_a_language_model_says_what_a_text_costs():
    """A common word costs less than a rare one; a model that is none is refused by name."""
    scorer = open_scorer(str(MINIATURE))
    common, odd = scorer(["How many apples does Tom have?", "How many apples does have zzz Tom?"])
    assert 0 < common < odd
    with pytest.raises(ConfigError, match="nowhere/at-all' cannot be opened; name a folder"):
        open_scorer("./nowhere/at-all")


def test_a_candidate_survives_its_file(tmp_path):
    """The later of two lines counts; a damaged one is said."""
    judged = replace(made("The film is fine."), jury="j", votes=(Vote("a", "good", 0.0), Vote("b", fault="truncated")))
    path = tmp_path / "c.jsonl"
    path.write_text(line_of(made("The film is fine.")) + line_of(judged), encoding="utf-8")
    assert list(read_candidates(path)) == [judged]
    assert judged.counts == {"good": 1, "truncated": 1}
    with pytest.raises(ValueError, match="not a candidate"):
        candidate_from({"id": "x"})


def test_a_counterfactual_keeps_the_family_of_its_original_and_nothing_of_its_solution():
    """What was known of the original need not hold of it."""
    problem = as_problem(ORIGINAL, made("The film is fine and long."), None)
    assert (problem.parent_id, problem.answer, problem.split) == ("o", "good", "train")
    assert set(problem.meta) == {"family", "counterfactual"}
