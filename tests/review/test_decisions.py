"""Decisions in `review.jsonl`."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from potstill.errors import DataError
from potstill.review import decisions
from potstill.review.decisions import append, read, require_name, require_text, settle

TARGET = ("rationales", "", "r1")


def decide(folder, by, action, **more):
    return append(folder, {"by": by, "action": action, "stage": "rationales", "job": "", "record": "r1", **more})


def state(folder):
    found = read(folder).standings().get(TARGET)
    return None if found is None else found.state


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([], None),
        ([("Ada", "accept")], "accepted"),
        ([("Ada", "accept"), ("Ada", "reject")], "rejected"),
        ([("Ada", "accept"), ("Bo", "reject")], "disputed"),
        ([("Ada", "accept"), ("Bo", "reject"), ("Bo", "accept")], "accepted"),
        ([("Ada", "edit"), ("Bo", "accept")], "edited"),
        ([("Ada", "edit"), ("Bo", "reject")], "disputed"),
    ],
)
def test_each_reviewers_last_decision_counts(tmp_path, made, expected):
    """A rejection among acceptances makes a record disputed."""
    for by, action in made:
        decide(tmp_path, by, action, text="better")
    assert state(tmp_path) == expected


def test_an_undo_restores_what_stood_before(tmp_path):
    """It is one more line, and the line that it takes back stays."""
    decide(tmp_path, "Ada", "accept")
    second = decide(tmp_path, "Ada", "reject")
    append(tmp_path, {"by": "Ada", "action": "undo", "undoes": second["id"]})
    assert state(tmp_path) == "accepted"
    assert [row["action"] for row in decisions.rows_of(tmp_path)] == ["accept", "reject", "undo"]


def test_reasons_and_edits_are_kept_with_who_gave_them():
    """The last edit that stands is the text."""
    rows = [
        {"by": "Ada", "action": "edit", "text": "one", "reason": "typo"},
        {"by": "Bo", "action": "edit", "text": "two", "reason": ""},
    ]
    found = settle(rows)
    assert (found.text, found.reason, found.by) == ("two", "Ada: typo", ("Ada", "Bo"))


def test_a_torn_line_is_left_out_and_cut_off_by_the_next_decision(tmp_path):
    """It was never confirmed."""
    decide(tmp_path, "Ada", "accept")
    with (tmp_path / decisions.FILE).open("a") as file:
        file.write('{"id": "torn", "action": "rej')
    assert state(tmp_path) == "accepted"
    decide(tmp_path, "Bo", "accept")
    assert [row["by"] for row in decisions.rows_of(tmp_path)] == ["Ada", "Bo"]


def test_a_damaged_line_is_named(tmp_path):
    """The message says which line of which file."""
    (tmp_path / decisions.FILE).write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match=r"review\.jsonl:1: found .* expected an object with id and action"):
        read(tmp_path)


def _decide_often(folder, name, count):
    for number in range(count):
        append(folder, {"by": name, "action": "accept", "stage": "rationales", "job": "", "record": f"{name}{number}"})


def test_several_writers_lose_no_line(tmp_path):
    """Two processes append at once; every line is whole."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_decide_often, args=(tmp_path, name, 40)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len({row["record"] for row in decisions.rows_of(tmp_path)}) == 80


def test_a_kill_loses_nothing_that_was_confirmed(tmp_path):
    """A writer that confirms on its output is killed in the middle; every confirmed line is in the file."""
    script = (
        "import sys; from pathlib import Path; from potstill.review.decisions import append\n"
        "for n in range(10**6):\n"
        "    made = append(Path(sys.argv[1]), {'by': 'Ada', 'action': 'accept', 'record': str(n)})\n"
        "    print(made['id'], flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        confirmed = [process.stdout.readline().strip() for _ in range(20)]
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        confirmed += process.stdout.read().split("\n")[:-1]
    kept = {row["id"] for row in decisions.rows_of(tmp_path)}
    assert set(confirmed) <= kept


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\nb", "a\u202eb"])
def test_a_reviewer_has_a_name_that_can_be_read(name):
    """The message says where to give it."""
    with pytest.raises(DataError, match=r"reviewer: .* enter yours at the top of the page, or start with --reviewer"):
        require_name(name)


def test_an_edit_leaves_something():
    """The message names the alternative."""
    with pytest.raises(DataError, match=r"the edited text is empty.*reject the record instead"):
        require_text(" \r\n ")
    assert require_text("a\r\nb") == "a\nb"


def test_any_text_can_be_decided_on(tmp_path):
    """Broken surrogates and null bytes survive the file."""
    decide(tmp_path, "Ada", "edit", text="a\ud800b\x00")
    assert read(tmp_path).standings()[TARGET].text == "a\ud800b\x00"
    assert json.loads((tmp_path / decisions.FILE).read_bytes())["by"] == "Ada"


def test_a_decision_on_a_problem_holds_for_its_rationales():
    """A rejected problem takes its rationales along, an accepted one says nothing about them."""
    rejected = settle([{"by": "Ada", "action": "reject", "reason": "no question"}])
    accepted = settle([{"by": "Ada", "action": "accept"}])
    assert decisions.joined({}, accepted, rejected)["review"]["state"] == "rejected"
    assert decisions.joined({"a": 1}, None, accepted) == {"a": 1}


def test_the_digest_of_decisions_changes_with_them_and_comes_back_with_an_undo(tmp_path):
    """So that a run knows what they invalidate; predictions do not count."""
    before = decisions.digest(tmp_path)
    append(tmp_path, {"by": "Ada", "action": "accept", "stage": "predictions", "job": "s", "record": "x"})
    assert decisions.digest(tmp_path) == before
    made = decide(tmp_path, "Ada", "reject")
    assert decisions.digest(tmp_path) != before
    append(tmp_path, {"by": "Ada", "action": "undo", "undoes": made["id"]})
    assert decisions.digest(tmp_path) == before
