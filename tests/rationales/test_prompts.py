"""Templates, demonstrations, and the requests that are made of them."""

import json
from dataclasses import replace

import pytest

from potstill.errors import ConfigError, DataError
from potstill.rationales.prompts import (
    BUILT_IN,
    Attempt,
    Demonstration,
    build_request,
    load_demonstrations,
    load_template,
    render_question,
)
from potstill.recipe.teachers import SampleConfig, TeacherConfig
from potstill.records import ANSWER_TYPES, Problem

PROBLEM = Problem(id="p1", question="What is 2 + 3?", answer_type="number")
DEMONSTRATIONS = [Demonstration(question=f"q{i}", rationale=f"r{i}.", answer=f"{i}") for i in range(4)]
CHAT = TeacherConfig(base_url="http://localhost/v1", model="m")
PLAIN = TeacherConfig(base_url="http://localhost/v1", model="m", api="completions")


def template_file(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_scotd_is_the_papers_text_format():
    """Demonstrations, then the question; byte for byte as in the paper's code, but no space after the last `A:`."""
    config = SampleConfig(shuffle_demonstrations=False)
    request = build_request(PROBLEM, "cot", PLAIN, config, DEMONSTRATIONS[:2])
    assert request.prompt == (
        "Q: q0\nA: r0. So the answer is: 0\n\nQ: q1\nA: r1. So the answer is: 1\n\nQ: What is 2 + 3?\nA:"
    )
    assert request.stop == ("\n\n",)
    assert request.messages == ()


def test_in_a_chat_the_same_text_is_one_user_message():
    """No stop is sent: a chat model ends by itself, and some refuse the field."""
    config = SampleConfig(shuffle_demonstrations=False)
    plain = build_request(PROBLEM, "cot", PLAIN, config, DEMONSTRATIONS)
    chat = build_request(PROBLEM, "cot", CHAT, config, DEMONSTRATIONS)
    assert chat.messages == ({"role": "user", "content": plain.prompt},)
    assert (chat.prompt, chat.stop) == (None, ())


def test_demonstrations_may_be_turns(tmp_path):
    """Each a user and an assistant message; the instruction stands once, at the start."""
    name = template_file(
        tmp_path, 'answer_forms: {}\ncot: {instruction: "Think.", demonstration_form: turns, system: "Be brief."}'
    )
    config = SampleConfig(template=name, shuffle_demonstrations=False)
    request = build_request(PROBLEM, "cot", CHAT, config, DEMONSTRATIONS[:1])
    assert request.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Think.\n\nQ: q0"},
        {"role": "assistant", "content": "r0. So the answer is: 0"},
        {"role": "user", "content": "Q: What is 2 + 3?"},
    )


def test_the_order_of_demonstrations_is_drawn_per_problem_and_seed():
    """Repeatable, and all of them are there."""

    def order(problem_id, seed):
        problem = Problem(id=problem_id, question="x")
        text = build_request(problem, "cot", PLAIN, SampleConfig(), DEMONSTRATIONS, seed=seed).prompt
        return tuple(sorted(range(4), key=lambda i: text.index(f"Q: q{i}")))

    orders = {order(f"p{i}", 0) for i in range(30)}
    assert len(orders) > 10
    assert order("p1", 0) == order("p1", 0)
    assert [order(f"p{i}", 0) for i in range(5)] != [order(f"p{i}", 1) for i in range(5)]


def test_the_first_n_demonstrations_are_used():
    """The choice is the file's order, not the draw; more than there are is an error."""
    request = build_request(PROBLEM, "cot", PLAIN, SampleConfig(n_demonstrations=2), DEMONSTRATIONS)
    assert [f"q{i}" in request.prompt for i in range(4)] == [True, True, False, False]
    with pytest.raises(ConfigError, match="got 5; there are 4"):
        build_request(PROBLEM, "cot", PLAIN, SampleConfig(n_demonstrations=5), DEMONSTRATIONS)


@pytest.mark.parametrize("answer_type", ANSWER_TYPES)
@pytest.mark.parametrize("kind", ["cot", "answer"])
def test_zero_shot_says_in_what_form_the_answer_is_wanted(answer_type, kind):
    """Every answer type has its form, and no placeholder is left."""
    problem = Problem(id="p", question="Which?", answer_type=answer_type, labels=("good", "bad"))
    text = build_request(problem, kind, CHAT, SampleConfig(template="zero_shot")).messages[-1]["content"]
    form = load_template("zero_shot").answer_forms[answer_type].replace("{labels}", "good, bad")
    assert f"where X is {form}." in " ".join(text.split())
    assert "{" not in text
    assert text.endswith("Q: Which?\nA:")


def test_a_bare_label_is_asked_for_without_reasoning():
    """Kind `answer` shows no rationale, though the demonstrations have one."""
    text = build_request(PROBLEM, "answer", PLAIN, SampleConfig(), DEMONSTRATIONS[:1]).prompt
    assert text == "Q: q0\nA: So the answer is: 0\n\nQ: What is 2 + 3?\nA:"


def test_choices_stand_below_the_question():
    """Lettered from (a), with letters of their own taken off."""
    expected = "Which?\nAnswer Choices:\n(a) ink\n(b) B) is odd"
    assert render_question(Problem(id="p", question="Which?", options=("ink", "B) is odd"))) == expected
    lettered = Problem(id="p", question="Which?", options=("A)ink", "B) oil"))
    assert render_question(lettered) == "Which?\nAnswer Choices:\n(a) ink\n(b) oil"


def test_sampling_parameters_reach_the_request():
    """The teacher's, with the sampling's temperature on top; a teacher's own stop replaces the template's."""
    teacher = PLAIN.model_copy(
        update={"top_p": 0.9, "seed": 5, "max_tokens": 64, "stop": ("END",), "extra_body": {"reasoning_effort": "low"}}
    )
    request = build_request(PROBLEM, "cot", teacher, SampleConfig(temperature=0.0, system="S"), ())
    assert (request.temperature, request.top_p, request.seed, request.max_tokens) == (0.0, 0.9, 5, 64)
    assert (request.stop, request.extra) == (("END",), {"reasoning_effort": "low"})
    assert request.prompt.startswith("S\n\nQ: ")
    assert (request.problem_id, request.kind) == ("p1", "cot")


def test_a_system_message_of_the_recipe_is_sent_as_it_is():
    """Braces in it are the user's own."""
    request = build_request(PROBLEM, "cot", CHAT, SampleConfig(system="Use {form} braces."), ())
    assert request.messages[0] == {"role": "system", "content": "Use {form} braces."}


def test_braces_that_are_no_placeholder_stay(tmp_path):
    """LaTeX in an instruction is not a format string."""
    name = template_file(tmp_path, r"""cot: {instruction: 'End with \boxed{answer} and {}.'}""")
    request = build_request(PROBLEM, "cot", CHAT, SampleConfig(template=name), ())
    assert request.messages[0]["content"].startswith("End with \\boxed{answer} and {}.\n\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cot: [", "cannot be read as YAML"),
        ("- cot", "found list; expected sections"),
        ("about: nothing", "no section found; give at least one of cot, pot, answer"),
        ("cot: {marker: 3}", "cot.marker: got 3"),
        ("cot: {makrer: x}", "cot.makrer: unknown key; did you mean 'marker'"),
        ("ctt: {}", "ctt: unknown key; did you mean 'cot'"),
        ("cot: {demonstration_form: lines}", "cot.demonstration_form: got 'lines'"),
        ("cot: {instruction: 'X is {from}'}", "known placeholders: {form}, {labels}"),
        ("cot: {instruction: 'X is {form}'}", "answer_forms lacks 'number'"),
        ("answer_forms: {numeral: x}\ncot: {}", "answer_forms has 'numeral'"),
        ("answer_forms: {number: 'a {x}'}\ncot: {}", "known placeholders"),
    ],
)
def test_a_wrong_template_is_refused(tmp_path, text, message):
    """The message names the file, the key and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        load_template(template_file(tmp_path, text))
    assert message in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_an_unknown_template_lists_the_built_in_ones():
    """And says that a path is allowed."""
    with pytest.raises(ConfigError, match=r"give the path of a .yaml file or one of .*scotd, views, zero_shot"):
        load_template("scot")
    with pytest.raises(ConfigError, match="not found"):
        load_template("nowhere/mine.yaml")


def test_a_kind_without_its_section_is_refused(tmp_path):
    """The message says which sections there are."""
    config = SampleConfig(template=template_file(tmp_path, "cot: {marker: ' So: '}"))
    with pytest.raises(ConfigError, match=r"no section 'pot' \(it has cot\)"):
        build_request(PROBLEM, "pot", CHAT, config, ())


def test_a_program_is_shown_without_its_answer():
    """Demonstrations of kind pot are questions and programs; what a program computes is not written after it."""
    shown = [Demonstration(question="q", rationale="r.", program="a = 1\nans = a\n", answer="1")]
    request = build_request(PROBLEM, "pot", PLAIN, SampleConfig(), shown)
    asks = "\n# Python, with the result in ans\n"
    assert request.prompt == f"Q: q{asks}a = 1\nans = a\n\nQ: What is 2 + 3?{asks}"
    assert request.stop == ("\n\n",)
    chat = build_request(PROBLEM, "pot", CHAT, SampleConfig(), shown)
    assert chat.messages == ({"role": "user", "content": request.prompt},)


def test_a_demonstration_without_a_program_is_refused_for_programs():
    """The message names the field that kind pot needs."""
    with pytest.raises(ConfigError, match="'q0' has no 'program'; kind 'pot' of template scotd"):
        build_request(PROBLEM, "pot", PLAIN, SampleConfig(shuffle_demonstrations=False), DEMONSTRATIONS)


@pytest.mark.parametrize("answer_type", ANSWER_TYPES)
def test_without_demonstrations_the_form_of_a_programs_answer_is_told(answer_type):
    """The zero-shot instruction names Python, `ans`, and what `ans` must hold for the answer type."""
    problem = Problem(id="p", question="Which?", answer_type=answer_type, labels=("warm", "cold"))
    request = build_request(problem, "pot", CHAT, SampleConfig(template="zero_shot"), ())
    text = request.messages[0]["content"]
    assert "Python program" in text
    assert text.endswith("Q: Which?\n# Python, with the result in ans\n")
    assert "{" not in text
    form = {"yesno": "True for yes", "label": "exactly one of: warm, cold", "number": "a number"}.get(answer_type, "")
    assert form in text


def test_every_built_in_demonstration_of_sums_has_a_program_that_computes_its_answer():
    """The programs that the shipped demonstrations show are right."""
    for demonstration in load_demonstrations("school_maths"):
        names = {}
        exec(demonstration.program, {"__builtins__": {}}, names)
        assert float(names["ans"]) == pytest.approx(float(demonstration.answer))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "is empty"),
        ('{"question": "a"}', "jsonl:1: answer: this key is required"),
        ('{"question": "a", "answer": ""}', "jsonl:1: answer: got ''"),
        ('{"question": "a", "answer": 5}', "answer: got 5"),
        ('{"question": "a", "answer": "b", "rational": "c"}', "rational: unknown key; did you mean 'rationale'"),
    ],
)
def test_wrong_demonstrations_are_refused(tmp_path, rows, message):
    """With file and line."""
    path = tmp_path / "demos.jsonl"
    path.write_text(rows, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_demonstrations(str(path))
    assert message in str(caught.value)


def test_a_demonstration_without_a_rationale_serves_only_bare_labels():
    """Where its reasoning would be shown, the message says what to do."""
    demonstrations = [Demonstration(question="q", answer="1")]
    assert "So the answer is: 1" in build_request(PROBLEM, "answer", PLAIN, SampleConfig(), demonstrations).prompt
    with pytest.raises(ConfigError, match="'q' has no 'rationale'"):
        build_request(PROBLEM, "cot", PLAIN, SampleConfig(), demonstrations)


@pytest.mark.parametrize(("name", "count"), [("school_maths", 7), ("commonsense", 5)])
def test_the_built_in_demonstrations_load(name, count):
    """Each has a rationale and an answer in the form of its type."""
    found = load_demonstrations(name)
    assert len(found) == count
    assert all(d.rationale and (not d.options or d.answer in "(a)(b)(c)(d)(e)") for d in found)


def test_the_arithmetic_of_the_shipped_demonstrations_is_right():
    """Every `a * b = c` in them holds, and the last number is the answer."""
    import re

    for row in map(json.loads, (BUILT_IN / "school_maths.jsonl").read_text().splitlines()):
        sums = re.findall(r"([\d.]+(?: [-+*/] [\d.]+)+) = ([\d.]*\d)", row["rationale"])
        assert sums
        for left, right in sums:
            assert eval(left) == pytest.approx(float(right))
        assert float(sums[-1][1]) == float(row["answer"])


CORRECTED = Attempt(" 2 and 2 is 5. So the answer is: 5", "path")
WORKED = Demonstration(question="What is 1 + 1?", attempt="It is 3.", rationale="1 and 1 is 2.", answer="2")


@pytest.mark.parametrize("kind", ["cot", "pot"])
def test_a_wrong_attempt_stands_where_an_answer_would(kind):
    """Then what is asked for instead; the gold answer is told only where it is given."""
    from potstill.miniature.answering import read_question

    config = SampleConfig(template="correction")
    asked = {}
    for answer in (None, "4"):
        attempt = replace(CORRECTED, answer=answer)
        request = build_request(PROBLEM, kind, CHAT, config, attempt=attempt)
        [message] = request.messages
        asked[answer] = message["content"]
    assert f"Q: {PROBLEM.question}" in asked[None]
    assert "2 and 2 is 5. So the answer is: 5\n\n" in asked[None]
    assert "is wrong. A right one" in asked[None]
    assert asked["4"].count(" 4.") == asked[None].count(" 4.") + 1
    assert read_question(asked[None]) == PROBLEM.question


def test_corrections_can_be_demonstrated():
    """A worked one shows its attempt; one without an attempt is refused."""
    config = SampleConfig(template="correction")
    request = build_request(PROBLEM, "cot", CHAT, config, [WORKED], attempt=CORRECTED)
    text = request.messages[0]["content"]
    shown = (
        "Q: What is 1 + 1?\nA: It is 3.\n\nThis answer is wrong. A right one, from the beginning:\nA: 1 and 1 is 2. So"
    )
    assert shown in text
    without = WORKED.model_copy(update={"attempt": ""})
    with pytest.raises(ConfigError, match="has no 'attempt'"):
        build_request(PROBLEM, "cot", CHAT, config, [without], attempt=CORRECTED)
    with pytest.raises(ConfigError, match="section 'cot' has no 'correction'"):
        build_request(PROBLEM, "cot", CHAT, SampleConfig(template="zero_shot"), attempt=CORRECTED)
