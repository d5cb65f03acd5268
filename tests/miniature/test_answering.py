"""What a request asks for, and what is written for it."""

import random

import pytest

from potstill.miniature.answering import (
    BodyError,
    canned_number,
    canned_writer,
    read_ask,
    read_question,
    token_texts,
    write_choices,
)

WRITE = canned_writer(200, 0.3)


def chat(content="Q: a\nA:", **fields):
    return read_ask({"model": "m", "messages": [{"role": "user", "content": content}], **fields}, "chat")


def texts(ask, count=1, seed="0#1"):
    return [choice.text for choice in write_choices(ask, WRITE, seed=seed, count=count)]


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("Q: What?\nA:", "What?"),
        ("Q: Old?\nA: Old. So the answer is: 1\n\nQ: New?\nA:", "New?"),
        ("Reason step by step.\n\nQ: New?\nAnswer Choices:\n(a) x\n(b) y\nA:", "New?\nAnswer Choices:\n(a) x\n(b) y"),
        ("What is 1 + 1?", "What is 1 + 1?"),
        ("An FAQ: is it one?", "An FAQ: is it one?"),
        ("Q:no space\nA: ", "no space"),
        ("Q: New?\n# Python, with the result in ans\n", "New?"),
        ("Q: New?\nLet's break down the code step by step.\n", "New?"),
        ("", ""),
    ],
)
def test_reads_the_question_that_the_prompt_ends_with(prompt, question):
    """Demonstrations and instructions before it are not the question."""
    assert read_question(prompt) == question


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("Q: Where is Amy?\nA:", "cot"),
        ("Reason step by step.\n\nQ: Where is Amy?\nA:", "cot"),
        ("Answer with a Python program.\n\nQ: Where is Amy?\nA:", "pot"),
        ("Q: Where is Amy?\nLet's break down the code step by step.\n", "pot"),
        ("Q: Where is Amy? She wears a barcode.\nA:", "cot"),
    ],
)
def test_a_program_is_written_where_the_prompt_speaks_of_one(prompt, kind):
    """The words Python, program and code ask for one; no other prompt does."""
    ask = chat(prompt)
    assert ask.kind == kind
    [choice] = write_choices(ask, lambda question, rng, *, kind, temperature: kind, seed="0", count=1)
    assert choice.text == kind


def test_the_last_user_message_holds_the_question():
    """Turns of demonstrations come before it; parts of a message are joined."""
    messages = [
        {"role": "system", "content": "Q: system"},
        {"role": "user", "content": "Q: old"},
        {"role": "assistant", "content": "So the answer is: 1"},
        {"role": "user", "content": [{"type": "text", "text": "Q: "}, {"type": "text", "text": "new"}]},
    ]
    assert read_ask({"messages": messages}, "chat").question == "new"


def test_a_text_depends_on_prompt_seed_and_index_and_on_nothing_else():
    """Equal requests agree; another seed, index or system prompt gives other draws."""
    many = texts(chat(seed=1), 30)
    assert many == texts(chat(seed=1), 30, seed="9#9")
    assert many[:3] == texts(chat(seed=1), 3)
    assert len(set(many)) > 1
    assert many != texts(chat(seed=2), 30)
    assert many != texts(chat("Q:  a\nA:", seed=1), 30)


def test_without_a_seed_the_servers_own_is_taken():
    """Repeating a request draws anew."""
    assert texts(chat(), 30, seed="0#1") == texts(chat(), 30, seed="0#1")
    assert texts(chat(), 30, seed="0#1") != texts(chat(), 30, seed="0#2")


def test_at_temperature_0_every_choice_is_the_same():
    """Greedy text has neither seed nor index."""
    assert len({*texts(chat(temperature=0, seed=1), 5), *texts(chat(temperature=0, seed=2), 5)}) == 1


def test_a_share_of_canned_answers_is_wrong():
    """About three in ten where `wrong` is 0.3; the right number follows from the question."""
    write = canned_writer(100, 0.3)
    right = canned_number("a")
    answers = [int(write("a", random.Random(i)).rpartition(": ")[2]) for i in range(1000)]
    assert 250 < sum(answer != right for answer in answers) < 350


@pytest.mark.parametrize("size", [1, 60, 500, 2000])
def test_a_canned_answer_has_about_the_asked_length(size):
    """It grows by whole sentences and always ends in the answer."""
    text = canned_writer(size, 0.0)("a", random.Random(0))
    assert text.endswith(f"So the answer is: {canned_number('a')}")
    assert max(0, size - 41) <= len(text) <= size + 60


def test_max_tokens_cuts_and_says_so():
    """finish is `length`, and the tokens are the text's own."""
    cut = write_choices(chat(max_tokens=5, seed=1), WRITE, seed="", count=1)[0]
    whole = texts(chat(seed=1))[0]
    assert (cut.finish, cut.tokens) == ("length", 5)
    assert whole.startswith(cut.text)
    assert "".join(token_texts(whole)) == whole


def test_stop_strings_cut_before_themselves_and_count_as_a_stop():
    """The earliest of several wins."""
    choice = write_choices(chat(stop=["That", "follows"], seed=1), WRITE, seed="", count=1)[0]
    assert choice.finish == "stop"
    assert "follows" not in choice.text
    assert "That" not in choice.text


def test_a_completion_goes_on_where_the_prompt_ends():
    """After `A:` the text begins with a space, after `A: ` it does not; in a chat it never does."""
    starts = [
        texts(read_ask({"prompt": prompt, "seed": 1}, "completions"))[0][0] for prompt in ("Q: a\nA:", "Q: a\nA: ")
    ]
    assert starts[0] == " "
    assert starts[1] != " "
    assert texts(chat())[0][0] != " "


@pytest.mark.parametrize(
    ("fault", "finish", "has_text"), [("length", "length", True), ("empty", "stop", False), (None, "stop", True)]
)
def test_faults_of_the_text_itself(fault, finish, has_text):
    """`length` halves the text, `empty` withholds it; both have been written and paid for."""
    choice = write_choices(chat(seed=1), WRITE, seed="", count=1, fault=fault)[0]
    assert choice.finish == finish
    assert (choice.text is not None) == has_text
    assert choice.tokens > 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages"),
        ({"messages": [{"role": "user", "content": "a"}], "n": 0}, "n"),
        ({"messages": [{"role": "user", "content": "a"}], "n": True}, "n"),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": "9"}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "a"}], "stop": [""]}, "stop"),
        ({"messages": [{"role": "user", "content": "a"}], "seed": 1.5}, "seed"),
    ],
)
def test_a_wrong_body_names_its_field(body, param):
    """`param` is that of the OpenAI error shape."""
    with pytest.raises(BodyError) as caught:
        read_ask(body, "chat")
    assert caught.value.param == param


def test_lists_of_prompts_are_refused():
    """As llama.cpp and transformers serve do."""
    with pytest.raises(BodyError, match="one string"):
        read_ask({"prompt": ["a", "b"]}, "completions")
