"""Examples as tokens, and the audit that refuses what cannot be learnt."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_students import examples_of, make_tokenizer, sums

from potstill.errors import StudentError
from potstill.records import Example
from potstill.students.encoding import Encoded, audit, audit_rows, encode, encode_prompt, fit, opened_thought, spelled

PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ '<s> ' + m['role'] + ' ' + m['content'] + ' </s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s> assistant ' }}{% endif %}"
)
DROPPING_TEMPLATE = PLAIN_TEMPLATE.replace("m['content']", "m['content'].split('</think>')[-1]")
FIELD_TEMPLATE = PLAIN_TEMPLATE.replace(
    "m['content']",
    "('<think> ' + m['reasoning_content'] + ' </think> ' if m.get('reasoning_content') else '') + m['content']",
)


def example(prompt="Q: 1 plus 2 A:", target=" 1 plus 2 is 3 So the answer is: 3", **changes):
    return Example(id="e1", prompt=prompt, target=target, task="cot", group="p1", **changes)


def chat_tokenizer(template):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    tokenizer.add_tokens(["user", "assistant", "<think>", "</think>"])
    return tokenizer


def test_the_target_ends_with_the_stop_token_and_the_prompt_is_as_at_inference():
    """Prompt and target are tokenised apart."""
    tokenizer = make_tokenizer()
    row = encode([example()], tokenizer)[0]
    assert tokenizer.decode(row.target.tolist()) == "1 plus 2 is 3 So the answer is: 3 </s>"
    assert row.prompt.tolist() == encode_prompt("Q: 1 plus 2 A:", tokenizer)
    assert row.target.tolist().count(tokenizer.eos_token_id) == 1


def test_examples_with_one_prompt_share_its_array():
    """Sharing in training goes by identity."""
    rows = encode(examples_of(sums(2), n=3), make_tokenizer())
    assert len({id(row.prompt) for row in rows}) == 2


def test_an_end_of_text_mark_that_the_tokenizer_adds_to_a_prompt_is_taken_off():
    """Otherwise the student would answer after the end."""

    class Ending:
        eos_token_id = 2

        def __call__(self, text):
            return {"input_ids": [5, 6, 2]}

    assert encode_prompt("x", Ending()) == [5, 6]


def test_an_empty_target_is_refused():
    """There is nothing to learn from it."""
    with pytest.raises(StudentError, match="example e1: the target is empty"):
        encode([example(target="  ")], make_tokenizer())


def test_overlong_examples_are_left_out_and_counted_never_cut():
    """Each with a reason."""
    rows = encode(examples_of(sums(1), n=3), make_tokenizer())
    lengths = [len(row.prompt) + len(row.target) for row in rows]
    kept, drops = fit(rows, lengths[1])
    assert [len(row.prompt) + len(row.target) for row in kept] == lengths[:2]
    assert [(drop.id, drop.reason, drop.detail) for drop in drops] == [
        ("train0.2", "overlong", f"{lengths[2]} tokens, at most {lengths[1]}")
    ]


def test_a_prompt_that_alone_fills_the_context_is_named_in_every_drop():
    """No target is cut to make room: all examples of such a problem are left out, each with its reason."""
    rows = encode(examples_of(sums(1), n=2), make_tokenizer())
    kept, drops = fit(rows, len(rows[0].prompt))
    assert kept == []
    assert [drop.id for drop in drops] == [row.id for row in rows]
    assert all(drop.detail.endswith(f"its prompt alone has {len(rows[0].prompt)}") for drop in drops)


def test_overlong_examples_can_be_an_error():
    """`overlong: error`."""
    rows = encode([example()], make_tokenizer())
    with pytest.raises(StudentError, match="example e1: prompt and target have 16 tokens; at most 9 fit"):
        fit(rows, 9, overlong="error")


def test_the_audit_counts_what_carries_loss():
    """Numbers by hand: 5 prompt tokens; 9, 13 and 17 target tokens; limit 18 leaves out the last."""
    found = audit(examples_of(sums(1), n=3), make_tokenizer(), max_length=18)
    assert (found.examples, found.overlong, found.prompt_tokens, found.target_tokens) == (2, 1, 10, 22)
    assert (found.masked_frac, found.overlong_frac, found.longest) == (0.3125, 0.3333, 18)
    assert (found.stop_token, found.tasks, found.unknown_tokens) == ("</s>", {"cot": 2}, 0)
    assert found.sample == "[prompt] Q: 0 plus 0 A: [target] 0 plus 0 So the answer is: 0 </s>"
    text = " ".join(found.lines())
    assert "1 left out, longer than 18 tokens" in text
    assert "loss on 22 target tokens, none on 10 prompt tokens" in text


def test_the_audit_counts_words_that_the_tokenizer_cannot_spell():
    """They would be learnt as <unk>."""
    found = audit([example(target=" 1 and zebra is 3")], make_tokenizer())
    assert found.unknown_tokens == 1
    assert "1 target tokens are unknown" in " ".join(found.lines())


@pytest.mark.parametrize(
    ("target", "message"),
    [([5, 6], "does not end with a stop token"), ([2], "holds nothing but a stop token")],
)
def test_the_audit_refuses_targets_that_do_not_teach_to_stop(target, message):
    """Whoever encoded them."""
    row = Encoded("e9", "p", "cot", 1.0, np.array([4], np.int32), np.array(target, np.int32))
    with pytest.raises(StudentError, match=f"example e9: its encoded target {message}"):
        audit_rows([row], [example()], make_tokenizer())


def test_the_audit_refuses_an_empty_prompt():
    """The first target token would be predicted from nothing."""
    with pytest.raises(StudentError, match="example e1: its prompt has no tokens"):
        audit([example(prompt=" ")], make_tokenizer())


def test_the_audit_refuses_a_set_of_which_nothing_is_left():
    """None given, or all too long."""
    with pytest.raises(StudentError, match="training examples: there are none"):
        audit([], make_tokenizer())
    with pytest.raises(StudentError, match="all 1 are longer than 3 tokens"):
        audit([example()], make_tokenizer(), max_length=3)


def test_chat_targets_are_what_the_template_writes_after_the_prompt():
    """With its end-of-turn mark, and nothing behind it."""
    tokenizer = chat_tokenizer(PLAIN_TEMPLATE)
    row = encode([example(target="1 plus 2 is 3")], tokenizer, chat=True)[0]
    assert tokenizer.decode(row.prompt.tolist()) == "<s> user Q: 1 plus 2 A: </s> <s> assistant"
    assert tokenizer.decode(row.target.tolist()) == "1 plus 2 is 3 </s>"


def test_a_chat_template_that_drops_reasoning_is_refused():
    """Some templates cut everything before </think> from the answer."""
    tokenizer = chat_tokenizer(DROPPING_TEMPLATE)
    with pytest.raises(StudentError, match="example e1: the chat template does not write the target as it is"):
        encode([example(target="<think> 1 plus 2 </think> 3")], tokenizer, chat=True)


@pytest.mark.parametrize("template", [PLAIN_TEMPLATE, FIELD_TEMPLATE], ids=["text", "field"])
def test_reasoning_survives_a_template_that_keeps_it(template):
    """In the text, or in a field of its own where the template writes one."""
    tokenizer = chat_tokenizer(template)
    meta = {"reasoning_content": "1 plus 2", "text": "3"}
    thinking = example(target="<think> 1 plus 2 </think> 3", meta=meta)
    row = encode([thinking], tokenizer, chat=True)[0]
    assert tokenizer.decode(row.target.tolist()) == "<think> 1 plus 2 </think> 3 </s>"
    found = audit([thinking], tokenizer, chat=True)
    assert found.thinking == 1


def test_a_template_that_opens_the_thought_itself_is_gone_on_from():
    """DeepSeek-R1's: the prompt ends with <think>, finished turns keep none; an example without one is refused."""
    tokenizer = chat_tokenizer(DROPPING_TEMPLATE.replace("assistant ' }}", "assistant <think> ' }}"))
    row = encode([example(target="<think> 1 plus 2 </think> 3")], tokenizer, chat=True)[0]
    assert tokenizer.decode(row.prompt.tolist()) == "<s> user Q: 1 plus 2 A: </s> <s> assistant <think>"
    assert tokenizer.decode(row.target.tolist()) == "1 plus 2 </think> 3 </s>"
    assert opened_thought(tokenizer) == "<think> "
    assert opened_thought(chat_tokenizer(PLAIN_TEMPLATE)) == ""
    with pytest.raises(StudentError, match="the chat template does not write the target as it is"):
        encode([example(target="1 plus 2 is 3")], tokenizer, chat=True)


def test_marks_of_a_thought_are_text_even_where_they_are_special_tokens():
    """Without them thought and answer could not be told apart."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids = tokenizer("<s> <think> 1 </think> 2 </s>")["input_ids"]
    assert spelled(ids, tokenizer) == "<think> 1 </think> 2"
    assert spelled(make_tokenizer()("<s> 1 2 </s>")["input_ids"], make_tokenizer()) == "1 2"


def test_a_think_block_that_cannot_be_spelt_is_refused():
    """The tokenizer reads </think> as an unknown word."""
    with pytest.raises(StudentError, match="its think block does not survive encoding"):
        audit([example(target="<think> 1 </think> 3")], make_tokenizer())


def test_chat_without_a_template_is_refused():
    """With what to do instead."""
    with pytest.raises(StudentError, match="the tokenizer has no chat template; use format: plain"):
        encode([example()], make_tokenizer(), chat=True)


def test_the_weight_and_the_group_are_carried_along():
    """An example without a group is its own by its prompt."""
    rows = encode([replace(example(), weight=2.0, group="")], make_tokenizer())
    assert (rows[0].weight, rows[0].group) == (2.0, "Q: 1 plus 2 A:")


def test_an_encoders_prompt_keeps_the_end_mark_of_its_tokenizer():
    """And a row fits if prompt and target each do."""

    class Ending:
        eos_token_id = 1
        chat_template = None

        def __call__(self, text, **kwargs):
            return {"input_ids": [5, 6, 1]}

    assert encode_prompt("x", Ending(), apart=True) == [5, 6, 1]
    row = Encoded("e", "p", "cot", 1.0, np.arange(8), np.arange(6))
    assert fit([row], 8, starts=1) == ([row], ())
    assert fit([row], 13)[1][0].detail == "14 tokens, at most 13"
    with pytest.raises(StudentError, match="the longer of prompt and target has 8 tokens; at most 7 fit"):
        fit([row], 7, starts=1, overlong="error")


def test_a_program_that_loses_its_line_breaks_is_refused():
    """T5's vocabulary has none; the program would be another one."""
    tokenizer = make_tokenizer()
    program = replace(example(target=" 1\n 2"), task="pot")
    with pytest.raises(StudentError, match="example e1: the tokenizer has no line break, so this program cannot be"):
        audit([program], tokenizer)
    assert audit([replace(program, task="cot")], tokenizer).examples == 1
    assert audit([replace(program, target=" 1 ; 2")], tokenizer).examples == 1
