"""Exports: the formats of other trainers."""

import json

import pytest

from potstill.errors import ConfigError
from potstill.recipe.students import MixConfig
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.students.exports import EXPORTS, export
from potstill.students.mixing import mix


def problem(id="p", answer="7", **fields):
    return Problem(**{"id": id, "question": f"What is {id}?", "answer": answer, "answer_type": "number", **fields})


def rationale(id="r", text="3 + 4 = 7. So the answer is: 7", answer="7", status="CORRECT", of=None, **fields):
    of = of or problem()
    verdict = Verdict(rationale_id=id, status=Status(status), answer=answer)
    return Rationale(id=id, problem_id=of.id, kind="cot", text=text, verdict=verdict, problem=of, **fields)


@pytest.mark.parametrize(
    ("format", "first"),
    [
        ("trl", {"prompt": "Q: What is p?\nA:", "completion": " 3 + 4 = 7. So the answer is: 7"}),
        (
            "messages",
            {
                "messages": [
                    {"role": "user", "content": "Q: What is p?\nA:"},
                    {"role": "assistant", "content": "3 + 4 = 7. So the answer is: 7"},
                ]
            },
        ),
    ],
)
def test_exports_are_what_other_trainers_read(tmp_path, format, first):
    """One JSON object per line, in the field's own shapes."""
    assert export(mix([rationale()]), tmp_path / "out.jsonl", format) == 1
    assert json.loads((tmp_path / "out.jsonl").read_text()) == first


def test_exported_chats_keep_the_thought_apart():
    """`reasoning_content` is what chat templates of reasoning models read."""
    row = rationale(text="So 7. ", reasoning_content="hm")
    [example] = mix([row], MixConfig(format="chat", reasoning="think"))
    user, assistant = EXPORTS["messages"](example)["messages"]
    assert assistant == {"role": "assistant", "content": "So 7. ", "reasoning_content": "hm"}
    assert EXPORTS["trl"](example) == {"prompt": [user], "completion": [assistant]}


def test_an_unknown_export_names_the_known_ones(tmp_path):
    """Before anything is written."""
    with pytest.raises(ConfigError, match="potstill, trl, messages"):
        export([], tmp_path / "x", "tfrecord")
    assert not (tmp_path / "x").exists()
