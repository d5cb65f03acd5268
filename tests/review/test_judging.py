"""A model as judge of a blind comparison: both orders, no authors, its agreement with the people."""

import asyncio
import json

import pytest
from small_runs import rationale, write_lines, write_run

from potstill.cli import main
from potstill.errors import ConfigError, TooManyFailures
from potstill.recipe.teachers import TeacherConfig
from potstill.review import decisions
from potstill.review.comparing import Comparison, judgement, outcome, pairs_of
from potstill.review.indexing import Indexer
from potstill.review.judging import Machine, Shown, judge_config, judge_messages, judge_pairs, read_choice
from potstill.teachers.fakes import FakeTeacher

BOTH = Comparison(a="scotd", b="untrained", n=10)
JUDGE = TeacherConfig(base_url="http://127.0.0.1:9/v1", model="judge-model", max_concurrency=2)


@pytest.fixture
def compared(run):
    """Eight problems; scotd's text holds the word good in six of them, the other's in two."""
    for job in ("scotd", "untrained"):
        marks = ["good" if (n < 6) == (job == "scotd") else "bad" for n in range(8)]
        rows = [rationale(f"q{n}", 0, marks[n], id=f"{job}{n}", author=job) for n in range(8)]
        write_lines(run / "predictions" / f"{job}.jsonl", rows)
    write_lines(
        run / "problems.jsonl", [{"id": f"q{n}", "question": f"Question {n}?", "answer": "1"} for n in range(8)]
    )
    indexer = Indexer(run)
    indexer.catch_up()
    yield run, indexer.index, pairs_of(indexer.index, BOTH)
    indexer.index.close()


def prefers_good(request, index):
    """Return the reply of a judge that reads."""
    asked = request.messages[1]["content"]
    return json.dumps({"better": 1 if asked.index("<<<good>>>") < asked.index("<<<bad>>>") else 2})


def judged(compared, answer):
    folder, index, pairs = compared
    teacher = FakeTeacher(answer)
    counts = asyncio.run(judge_pairs(folder, index, BOTH, pairs, Machine(teacher, JUDGE)))
    return counts, teacher, outcome(BOTH, decisions.rows_of(folder), len(pairs))


def test_a_judge_that_reads_gets_its_preference_reported_beside_the_peoples(compared):
    """It agrees with the person on seven pairs of eight, and its choices are no person's."""
    folder, _, pairs = compared
    for pair in pairs:
        choice = "second" if pair.problem == "q0" else "first"
        made = judgement(BOTH, pair, "Ada", choice)
        wanted = "a" if int(pair.problem[1:]) < 6 else "b"
        decisions.append(folder, {**made, "preferred": "b" if pair.problem == "q0" else wanted})
    counts, _, result = judged(compared, prefers_good)
    own = result["judges"]["judge-model"]
    assert counts == {"judged": 8, "unreadable": 0, "known": 0}
    assert (own["rate"], own["counts"], own["changed_by_swap"]) == (6 / 8, {"a": 6, "b": 2}, 0.0)
    assert (own["agreement"]["value"], own["agreement"]["n"]) == (7 / 8, 8)
    assert own["agreement"]["low"] <= 7 / 8 <= own["agreement"]["high"]
    assert own["kappa"]["value"] == pytest.approx((7 / 8 - 0.5625) / (1 - 0.5625))
    assert (result["rate"], result["judgements"], list(result["raters"])) == (5 / 8, 8, ["Ada"])


def test_a_judge_that_chooses_by_place_prefers_nothing(compared):
    """Each pair is asked in both orders; where the order decides there is no difference."""
    _, teacher, result = judged(compared, lambda request, index: '{"better": 1}')
    own = result["judges"]["judge-model"]
    assert len(teacher.calls) == 16
    assert (own["counts"], own["changed_by_swap"]) == ({"same": 8}, 1.0)


def test_a_judge_sees_no_author_and_no_answer(compared):
    """Only the problem and the two texts."""
    _, teacher, _ = judged(compared, prefers_good)
    sent = json.dumps([request.messages for request, _ in teacher.calls])
    assert "scotd" not in sent
    assert "untrained" not in sent
    assert "Question 3?" in sent


def test_what_was_judged_is_not_asked_again(compared):
    """A second call asks for nothing."""
    judged(compared, prefers_good)
    counts, teacher, _ = judged(compared, prefers_good)
    assert counts == {"judged": 0, "unreadable": 0, "known": 8}
    assert teacher.calls == []


def test_replies_that_cannot_be_read_are_counted_and_are_no_choice(compared):
    """Where they are most, it is an error that says what was expected."""
    with pytest.raises(TooManyFailures, match="8 of 8 pairs got no judgement of judge-model that can be read"):
        judged(compared, lambda request, index: "The first one, I think.")
    assert outcome(BOTH, decisions.rows_of(compared[0]), 8)["judges"] == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"better": 1}', "first"), ('Well: {"better": "2"}', "second"), ('{"better": 0}', "same"),
        ('{"better": true}', None), ('{"better": 3}', None), ("2", None), ('{"better": 1, "better": 2}', None),
    ],
)  # fmt: skip
def test_a_choice_is_read_or_missing(text, expected):
    """Nothing is taken for a choice that is none."""
    assert read_choice(text) == expected


def test_who_judges_is_a_teacher_of_the_run_or_an_endpoint(tmp_path):
    """A teacher that only repeats what was recorded cannot judge."""
    folder = write_run(tmp_path / "run")
    recipe = "problems: {source: miniature}\nteachers: [{base_url: 'http://127.0.0.1:9/v1', model: one, name: big}, "
    (folder / "recipe.yaml").write_text(recipe + "{replay: r.jsonl, model: old}]\n")
    assert judge_config(folder, "big").model == "one"
    assert judge_config(folder, base_url="http://127.0.0.1:9/v1", model="m").author == "m"
    for name in ("old", "none"):
        with pytest.raises(ConfigError, match="it has big; name one of them, or give --base-url"):
            judge_config(folder, name)


def test_the_command_says_what_a_judge_would_be_asked_and_what_is_missing(compared, capsys):
    """Before anything is sent."""
    folder = str(compared[0])
    given = ["--base-url", "http://127.0.0.1:9/v1", "--model", "m"]
    assert main(["review", folder, "--compare", "scotd", "untrained", *given, "--dry-run", "--json"]) == 0
    assert "m would be asked 16 times" in capsys.readouterr().err
    assert main(["review", folder, *given]) == 1
    assert "name the two sources whose pairs it judges" in capsys.readouterr().err


def test_of_a_run_that_evolves_it_is_asked_which_reply_fulfils_the_request():
    """Rationales are compared by their reasoning, replies to instructions by what was asked for."""
    replies = judge_messages(Shown("Write a haiku.", "One.", "Two.", "idea_mcts"))[1]["content"]
    assert replies.startswith("Which text fulfils the request better?")
    assert "Text 1: <<<One.>>>" in replies
    assert judge_messages(Shown("1 + 1?", "One.", "Two."))[1]["content"].startswith("Which text reasons better")
