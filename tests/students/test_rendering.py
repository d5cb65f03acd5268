"""Rendering: prompts and targets as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_rationales import problem, rationale

from potstill.errors import ConfigError
from potstill.recipe.students import MixConfig
from potstill.records import Rationale
from potstill.students.mixing import mix
from potstill.students.rendering import (
    gold_answer,
    join_think,
    reasoning_of,
    render_prompt,
    split_think,
    target_for,
)


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("3 + 4 = 7. So the answer is: 7", "3 + 4 = 7."),
        ("3 + 4 = 7. Therefore, the final answer is 7.", "3 + 4 = 7."),
        ("3 + 4 = 7\n#### 7", "3 + 4 = 7"),
        ("3 + 4 = <<3+4=7>>7\nA: 7", "3 + 4 = <<3+4=7>>7"),
        ("A: 3 + 4 = 7.", "A: 3 + 4 = 7."),
        ("3 + 4 = 7.\n\n**Final Answer:** 7", "3 + 4 = 7."),
        ("3 + 4 = 7. <answer>7</answer>", "3 + 4 = 7."),
        ("3 + 4 = 7. The correct answer would be 7", "3 + 4 = 7."),
        ("She has 3 + 4 = 7 shells.", "She has 3 + 4 = 7 shells."),
        ("3 + 4 = 7. The answer is 7.\n\nQ: And 1 + 1?\nA: 1 + 1 = 2. The answer is 2.", "3 + 4 = 7."),
        ("The answer is not given, so we add up. " + "We add one more. " * 9 + "That is 7", None),
        ("So the answer is: 7", ""),
        ("  \n3 + 4 = 7. \n", "3 + 4 = 7."),
    ],
)
def test_reasoning_ends_where_the_answer_is_stated(text, reasoning):
    """The last marker cuts, unless reasoning goes on behind it; run-on questions go first."""
    assert reasoning_of(text) == (text.strip() if reasoning is None else reasoning)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"answer": "1,234.50", "answer_type": "number"}, "1234.5"),
        ({"answer": "0.16666666666666666", "answer_type": "number"}, "0.16666666666666666"),
        ({"answer": "B", "answer_type": "choice", "options": ("x", "y")}, "(b)"),
        ({"answer": "True", "answer_type": "yesno"}, "yes"),
        ({"answer": "Neutral", "answer_type": "label", "labels": ("neutral", "other")}, "neutral"),
        ({"answer": "\\frac{1}{2}", "answer_type": "expression"}, "\\frac{1}{2}"),
        ({"answer": "San Jose ", "answer_type": "text"}, "San Jose"),
    ],
)
def test_answers_are_written_in_one_form_per_type(fields, shown):
    """Numbers plain, choices as letters, labels as in their set, expressions and texts as the gold has them."""
    of = problem(**fields)
    assert gold_answer(of) == shown
    row = rationale(text="Because. The answer is so.", answer="whatever was read", of=of)
    assert target_for(row, of, MixConfig()) == f" Because. So the answer is: {shown}"


def test_options_are_listed_in_the_prompt():
    """A choice problem is asked with its choices."""
    of = problem("q", "a", answer_type="choice", options=("boat", "cart"))
    assert render_prompt(of, MixConfig()) == "Q: What is q?\nAnswer Choices:\n(a) boat\n(b) cart\nA:"


def test_braces_in_questions_and_templates_stay():
    """Only the placeholders are filled."""
    of = problem("{answer} in \\boxed{7}")
    assert render_prompt(of, MixConfig(prompt="{question} {json}")) == "What is {answer} in \\boxed{7}? {json}"


@pytest.mark.parametrize(
    ("name", "template", "placeholder"),
    [("prompt", "Q:", "question"), ("target", " {rationale}", "answer"), ("answer_target", " x", "answer")],
)
def test_a_template_without_its_placeholder_is_refused(name, template, placeholder):
    """A student that never sees the question is a mistake of the recipe."""
    with pytest.raises(ConfigError, match=rf"mix\.{name}.*must contain \{{{placeholder}\}}"):
        mix([rationale()], MixConfig(**{name: template}))


@given(st.text(), st.text())
def test_thoughts_and_texts_are_joined_without_loss(reasoning, text):
    """A think block can be taken apart again, whatever it holds but its own end."""
    if "</think>" not in reasoning:
        assert split_think(join_think(reasoning, text)) == (reasoning, text)


def test_a_text_without_a_think_block_is_left_alone():
    """White space and all."""
    assert split_think(" plain </think> text\n") == (None, " plain </think> text\n")


def test_thoughts_are_left_out_or_learnt_verbatim():
    """`drop` renders the text alone; `think` keeps thought and text letter for letter, from either place."""
    inline = rationale("i", join_think("hm\n\nyes ", "3 + 4 = 7.\nThe answer is 7"))
    apart = rationale("a", "3 + 4 = 7.\nThe answer is 7", reasoning_content="hm\n\nyes ")
    for row in (inline, apart):
        assert target_for(row, problem(), MixConfig()) == " 3 + 4 = 7. So the answer is: 7"
        kept = target_for(row, problem(), MixConfig(reasoning="think"))
        assert kept == "<think>\nhm\n\nyes \n</think>\n\n3 + 4 = 7.\nThe answer is 7"


def test_a_kind_may_have_a_prompt_and_a_prefix_of_its_own():
    """Inference renders the same prompt; the prefix begins the target, with the white space that it brings."""
    config = MixConfig(prompts={"pot": "Q: {question}\n# Python"}, prefixes={"cot": " Step by step:", "pot": "\n"})
    program = rationale(text="ans = 3 + 4\n", answer="7")
    program = Rationale(id="x", problem_id="p", kind="pot", text="ans = 3 + 4\n", verdict=program.verdict)
    assert render_prompt(problem(), config, "pot") == "Q: What is p?\n# Python"
    assert render_prompt(problem(), config, "cot") == "Q: What is p?\nA:"
    assert target_for(program, problem(), config) == "\nans = 3 + 4"
    assert target_for(rationale(), problem(), config) == " Step by step: 3 + 4 = 7. So the answer is: 7"
    assert target_for(program, problem(), MixConfig(format="chat", prefixes={"pot": "Code:"})) == "Code: ans = 3 + 4"
    assert target_for(program, problem(), MixConfig()) == "\nans = 3 + 4"


def test_a_program_is_learnt_without_what_stands_around_it():
    """Fences and prose are the teacher's manner, not the program that was verified."""
    said = "Sure, here it is:\n```python\nans = 3 + 4\n```\nThis prints 7."
    row = Rationale(id="x", problem_id="p", kind="pot", text=said, verdict=rationale().verdict)
    assert target_for(row, problem(), MixConfig()) == "\nans = 3 + 4"


def test_a_prefix_and_a_verbatim_thought_exclude_each_other():
    """The prefix would be forced at inference and never have been learnt."""
    with pytest.raises(ConfigError, match=r"mix.prefixes: .* give each kind a prompt of its own"):
        mix([rationale()], MixConfig(reasoning="think", prefixes={"cot": "So:"}))
