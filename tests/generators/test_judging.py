"""A model as judge: strict reading, shuffled order, several votes, and what is missing stays missing."""

import json
import re
from collections import Counter

import pytest

from potstill.generators.judging import Judge, judge_messages, load_rubrics, mean_of, plain, read_judgement
from potstill.recipe.generators import EvolveConfig, JudgeConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.teachers.base import Completion
from potstill.teachers.fakes import FakeTeacher

TERMS = ("quality", "complexity")
ASKED = TeacherConfig(base_url="http://127.0.0.1:9/v1", model="m")


def said(rows):
    """Return a judge's reply."""
    return Completion(text=rows if isinstance(rows, str) else json.dumps(rows), finish="stop")


def judge_of(write, votes=2):
    """Return a judge behind a fake teacher, and the teacher."""
    teacher = FakeTeacher(write)
    return Judge(teacher, ASKED, EvolveConfig(judge=JudgeConfig(votes=votes)), seed=1), teacher


def texts_of(request):
    """Return the texts that a request shows, in order."""
    return re.findall(r"^\[\d+\] <<<(.*?)>>>", request.messages[-1]["content"], re.MULTILINE | re.DOTALL)


def by_length(request, index):
    """Judge every text by its length."""
    rows = {
        str(n): dict.fromkeys(("quality", "diversity", "complexity"), len(t))
        for n, t in enumerate(texts_of(request), 1)
    }
    return json.dumps(rows)


@pytest.mark.parametrize(
    ("reply", "found", "faults"),
    [
        ({"1": {"quality": 4, "complexity": 2.5}, "2": {"quality": 1, "complexity": 6}}, [4, 1], {}),
        ({"1": {"quality": 4, "complexity": 2}}, [4, None], {"left_out": 1}),
        (
            {"1": {"quality": 11, "complexity": 2}, "2": {"quality": 0, "complexity": 2}},
            [None] * 2,
            {"out_of_range": 2},
        ),
        (
            {"1": {"quality": "4", "complexity": 2}, "2": {"quality": True, "complexity": 2}},
            [None] * 2,
            {"unparseable": 2},
        ),
        ({"1": 5, "2": {"quality": 3}}, [None, None], {"unparseable": 2}),
        ("Both are fine, 11 of 10.", [None, None], {"unparseable": 2}),
        (
            '{"1": {"quality": 4, "complexity": 2}, "1": {"quality": 2, "complexity": 2}}',
            [None] * 2,
            {"unparseable": 2},
        ),
        (
            '{"1": {"quality": NaN, "complexity": 2}, "2": {"quality": 2, "complexity": 2}}',
            [None, 2],
            {"out_of_range": 1},
        ),
        ({"1": {"quality": 4, "complexity": 2}, "2": {"quality": 4, "complexity": 2}, "3": "more"}, [4, 4], {}),
    ],
)
def test_a_score_counts_only_in_its_form_and_range(reply, found, faults):
    """Whatever else comes back is missing and counted, text by text."""
    scores, missing = read_judgement(said(reply), 2, TERMS)
    assert [None if one is None else one["quality"] for one in scores] == found
    assert missing == Counter(faults)


@pytest.mark.parametrize("finish", ["refused", "error", "empty"])
def test_a_judge_that_does_not_answer_has_not_judged(finish):
    """All texts of the vote are missing, under the reason."""
    assert read_judgement(Completion(text="", finish=finish), 3, TERMS) == ([None] * 3, Counter({finish: 3}))


async def test_every_vote_shows_the_texts_in_an_order_of_its_own_and_scores_find_their_texts():
    """The mean is that of the right text; orders repeat, so the ledger knows them."""
    judge, teacher = judge_of(by_length, votes=4)
    texts = ["aa", "bbb", "c", "ddddd"]
    found = await judge(texts, 0)
    assert [scores["quality"] for scores in found] == [2, 3, 1, 5]
    assert {scores["votes"] for scores in found} == {4}
    orders = [tuple(texts_of(request)) for request, _ in teacher.calls]
    assert len(set(orders)) > 1
    assert [indices for _, indices in teacher.calls] == [(0,), (1,), (2,), (3,)]
    again, second = judge_of(by_length, votes=4)
    await again(texts, 0)
    assert [request for request, _ in second.calls] == [request for request, _ in teacher.calls]


async def test_a_second_attempt_is_another_draw():
    """It is not answered by what has failed."""
    judge, teacher = judge_of(by_length)
    await judge(["a", "b"], 1)
    assert [indices for _, indices in teacher.calls] == [(2,), (3,)]


async def test_a_text_that_too_few_votes_have_judged_has_no_scores():
    """Half of the votes are enough, fewer are not; faults and flat votes are counted."""

    def sometimes(request, index):
        return by_length(request, index) if index == 0 else "I would say all are good."

    judge, _ = judge_of(sometimes, votes=2)
    assert [scores["votes"] for scores in await judge(["a", "bb", "cc"], 0)] == [1, 1, 1]
    judge, _ = judge_of(sometimes, votes=3)
    assert await judge(["a", "bb", "cc"], 0) == [None] * 3
    assert judge.bench.faults == Counter({"unparseable": 6})
    flat, _ = judge_of(lambda request, index: by_length(request, index).replace("2", "1"), votes=1)
    await flat(["a", "bb", "cc"], 0)
    assert (flat.bench.groups, flat.bench.flat) == (1, 0)


async def test_a_judge_with_one_score_for_everything_is_counted():
    """Such votes tell nothing apart."""
    row = dict.fromkeys(("quality", "diversity", "complexity"), 4)
    judge, _ = judge_of(lambda request, index: json.dumps({str(n): row for n in (1, 2, 3)}))
    await judge(["a", "bb", "ccc"], 0)
    assert (judge.bench.groups, judge.bench.flat) == (2, 2)


def test_a_mean_needs_half_of_the_votes():
    """One of two is half, one of three is not."""
    assert mean_of([{"quality": 2.0}], 2) == {"quality": 2.0, "votes": 1.0}
    assert mean_of([{"quality": 2.0}], 3) is None
    assert mean_of([], 1) is None


def test_looks_are_taken_away_before_texts_are_judged():
    """Headings, bullets, emphasis, code marks and blank lines."""
    assert plain("# Title\n\n- **one**\n> `two`\n\n\nthree") == "Title\none\ntwo\nthree"
    assert plain("snake_case stays, so does 2 * 3") == "snake_case stays, so does 2 * 3"


def test_only_the_terms_that_count_are_asked_for_and_a_users_rubric_replaces(tmp_path):
    """Novelty is measured, not judged."""
    path = tmp_path / "r.yaml"
    path.write_text("rubrics: {quality: 'MINE: no typos'}\n", encoding="utf-8")
    config = EvolveConfig(weights={"quality": 1, "novelty": 1}, judge=JudgeConfig(rubrics=str(path)))
    rubrics = load_rubrics(config)
    assert rubrics == {"quality": "MINE: no typos"}
    shown = judge_messages(["a", "b"], rubrics)[1]["content"]
    assert "MINE" in shown and "complexity" not in shown
    assert shown.index("[1] <<<a>>>") < shown.index("[2] <<<b>>>")
