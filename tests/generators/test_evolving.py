"""Actions in words: the twelve, a user's own, derived ones, and replies that are read strictly."""

import json

import pytest

from potstill.errors import ConfigError
from potstill.generators.actions import ACTIONS
from potstill.generators.asking import Failed
from potstill.generators.evolving import (
    Action,
    derive_messages,
    evolve_messages,
    load_actions,
    read_derived,
    read_evolved,
    request_for,
)
from potstill.recipe.generators import EvolveConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.teachers.base import Completion

GOOD = '{"status": "ok", "instruction": "Name two comets."}'


def said(text, finish="stop"):
    """Return a reply."""
    return Completion(text=text, finish=finish)


def test_the_built_in_actions_are_the_published_twelve():
    """Each has words of its own."""
    actions = load_actions(EvolveConfig())
    assert tuple(actions) == ACTIONS
    assert len({action.method for action in actions.values()}) == 12


def test_a_users_actions_are_added_and_replace_by_name(tmp_path):
    """Derived ones come after them; `use` chooses."""
    path = tmp_path / "mine.yaml"
    path.write_text("actions:\n  goals: say what for\n  pirate: ask for the words of a pirate.\n", encoding="utf-8")
    actions = load_actions(EvolveConfig(actions=str(path)), ["compare two cases"])
    assert actions["goals"].method == "say what for"
    assert actions["pirate"].method == "ask for the words of a pirate"
    assert actions["task_1"].method == "compare two cases"
    assert len(actions) == 14
    assert tuple(load_actions(EvolveConfig(actions=str(path), use=("pirate", "new")))) == ("new", "pirate")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "expected one table 'actions'"),
        ("actions: {a: 3}\n", "expected one table 'actions'"),
        ("action: {a: b}\n", "expected one table 'actions'"),
        ("actions: {a: [\n", "cannot be read"),
    ],
)
def test_a_file_of_another_form_is_one_message(tmp_path, text, message):
    """It names the file and shows the form that is expected."""
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_actions(EvolveConfig(actions=str(path)))


def test_an_unknown_action_names_the_known():
    """Before anything is asked."""
    with pytest.raises(ConfigError, match="'limerick' is no action; known: goals, constraints"):
        load_actions(EvolveConfig(use=("limerick",)))


def test_a_prompt_holds_the_text_the_change_and_the_limit():
    """Braces in an instruction stay as they are."""
    system, user = evolve_messages("Sort {a, b}: x[0]", Action("new", "write another"), 15)
    assert "<<<Sort {a, b}: x[0]>>>" in user["content"]
    assert "(new): write another." in user["content"]
    assert "at most\n15 words" in user["content"].replace("  ", "")
    assert '{"status": "ok"' in user["content"]
    assert "never" in system["content"]


def test_seeds_are_shown_shortened_and_by_a_draw_that_repeats():
    """Twelve of them at most, the same ones every time."""
    seeds = [f"Do {number}. " + "x" * 900 for number in range(40)]
    shown = derive_messages(seeds, 5, seed=1)[1]["content"]
    assert shown == derive_messages(seeds, 5, seed=1)[1]["content"]
    assert shown.count("<<<") == 12
    assert "x" * 601 not in shown
    assert "up to 5 changes" in shown


def test_a_plain_completion_gets_the_words_as_one_text():
    """For models without a chat template."""
    config = TeacherConfig(base_url="http://127.0.0.1:9/v1", model="m", api="completions", temperature=0.9)
    request = request_for(config, evolve_messages("a", Action("b", "c"), 9), temperature=None, max_tokens=7)
    assert (request.messages, request.temperature, request.max_tokens) == ((), 0.9, 7)
    assert request.prompt.startswith("You rewrite requests")
    assert "<<<a>>>" in request.prompt


@pytest.mark.parametrize(
    ("completion", "found"),
    [
        (said(GOOD), "Name two comets."),
        (said(f"```json\n{GOOD}\n```"), "Name two comets."),
        (said(f"Here it is: {GOOD} Enjoy!"), "Name two comets."),
        (said('{"status": "ok", "instruction": "two\nlines"}'), "two\nlines"),
        (said('{"status": "invalid", "instruction": ""}'), Failed("invalid")),
        (said("Name two comets and their years."), Failed("unparseable")),
        (said('{"status": "ok"}'), Failed("unparseable")),
        (said('{"status": "ok", "instruction": ["a"]}'), Failed("unparseable")),
        (said('{"status": "fine", "instruction": "a"}'), Failed("unparseable")),
        (said('{"status": "ok", "status": "ok", "instruction": "a"}'), Failed("unparseable")),
        (said('{"status": "ok", "instruction": "  "}'), Failed("empty")),
        (said('{"status": "ok", "instr', "length"), Failed("truncated")),
        (said("", "empty"), Failed("empty")),
        (said("", "refused"), Failed("refused")),
        (said("", "error"), Failed("error")),
    ],
)
def test_a_reply_is_an_instruction_or_a_named_failure(completion, found):
    """Prose is never taken for an instruction."""
    assert read_evolved(completion) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (json.dumps({"actions": ["a  b", "a b", "c", "d"]}), ["a b", "c"]),
        (json.dumps({"actions": []}), Failed("unparseable")),
        (json.dumps({"actions": [1]}), Failed("unparseable")),
        ("Here are some: a, b", Failed("unparseable")),
    ],
)
def test_derived_actions_are_read_strictly_and_at_most_as_many_as_asked_for(text, found):
    """Repetitions count once."""
    assert read_derived(said(text), 2) == found
