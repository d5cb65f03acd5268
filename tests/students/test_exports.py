"""Exports: the formats of other trainers, read back by the libraries that will read them."""

import json

import pyarrow.parquet as pq
import pytest
from toy_rationales import problem, rationale

from potstill.errors import ConfigError, DataError
from potstill.files import read_records
from potstill.recipe.students import MixConfig
from potstill.records import Example
from potstill.students.exports import ROWS, export, parquet_bytes
from potstill.students.mixing import mix

THINK = MixConfig(format="chat", reasoning="think")


def examples_of(n=5, **config):
    """Return the examples of n problems with two rationales each."""
    rows = [
        rationale(f"r{i}.{k}", text=f"{i} + {k} é \U0001d7d9. So the answer is: 7", of=problem(f"p{i}"))
        for i in range(n)
        for k in range(2)
    ]
    return mix(rows, MixConfig(**config))


def loaded(tmp_path, kind, file):
    """Read a file as TRL's and LLaMA-Factory's loaders do."""
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))


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


@pytest.mark.parametrize("format", ["trl", "messages", "parquet"])
@pytest.mark.parametrize("config", [{}, {"format": "chat"}], ids=["plain", "chat"])
def test_every_example_comes_back_through_datasets(tmp_path, format, config):
    """None left out, every text letter for letter, in the order of the examples."""
    examples = examples_of(**config)
    kind, file = ("parquet", "out.parquet") if format == "parquet" else ("json", "out.jsonl")
    assert export(examples, tmp_path / file, format) == len(examples) == 10
    rows = loaded(tmp_path, kind, tmp_path / file)
    assert [dict(row) for row in rows] == [ROWS[format](example) for example in examples]


def test_a_parquet_file_identifies_its_rows(tmp_path):
    """Beside TRL's columns, those by which a row is found again in the run."""
    examples = examples_of()
    export(examples, tmp_path / "out.parquet", "parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["prompt", "completion", "id", "group", "task", "weight", "rationale_id"]
    assert table.column("id").to_pylist() == [example.id for example in examples]
    assert set(table.column("weight").to_pylist()) == {1.0}


@pytest.mark.parametrize("config", [{}, {"format": "chat"}], ids=["alpaca", "sharegpt"])
def test_llama_factory_finds_the_columns_that_its_info_names(tmp_path, config):
    """Read as its loader does: by dataset_info.json, through datasets."""
    examples = examples_of(**config)
    folder = tmp_path / "data"
    assert export(examples, folder, "llamafactory", name="mine") == 10
    info = json.loads((folder / "dataset_info.json").read_text())["mine"]
    rows = loaded(tmp_path, "json", folder / info["file_name"])
    columns = {ours: rows[theirs] for ours, theirs in info["columns"].items()}
    if config:
        tags = info["tags"]
        said = [[(turn[tags["role_tag"]], turn[tags["content_tag"]]) for turn in row] for row in columns["messages"]]
        assert said == [[("user", e.prompt), ("assistant", e.target)] for e in examples]
        assert (info["formatting"], tags["user_tag"], tags["assistant_tag"]) == ("sharegpt", "user", "assistant")
    else:
        assert list(columns["prompt"]) == [example.prompt for example in examples]
        assert list(columns["response"]) == [example.target for example in examples]
        assert set(columns["query"]) == {""}


def test_a_folder_of_llama_factory_keeps_its_other_data_sets(tmp_path):
    """Its own come with it; a damaged list is not written over."""
    info = tmp_path / "dataset_info.json"
    info.write_text('{"identity": {"file_name": "identity.json"}}')
    export(examples_of(), tmp_path, "llamafactory", name="mine")
    assert set(json.loads(info.read_text())) == {"identity", "mine"}
    info.write_text("{")
    with pytest.raises(DataError, match=r"dataset_info.json: cannot be read .*choose another --out folder"):
        export(examples_of(), tmp_path, "llamafactory", name="mine")


def test_exported_chats_keep_the_thought_apart():
    """`reasoning_content` is what chat templates of reasoning models read; LLaMA-Factory finds it in the content."""
    row = rationale(text="So 7. ", reasoning_content="hm")
    [example] = mix([row], THINK)
    user, assistant = ROWS["messages"](example)["messages"]
    assert assistant == {"role": "assistant", "content": "So 7. ", "reasoning_content": "hm"}
    assert ROWS["trl"](example) == {"prompt": [user], "completion": [assistant]}
    inline = ROWS["llamafactory"](example)["messages"][1]["content"]
    assert inline == "<think>\nhm\n</think>\n\nSo 7."


def test_our_own_format_comes_back_as_it_was(tmp_path):
    """With everything."""
    examples = mix([rationale(text="So 7. ", reasoning_content="hm")], THINK)
    export(examples, tmp_path / "out.jsonl")
    assert list(read_records(tmp_path / "out.jsonl", Example)) == examples


def test_weights_that_a_format_does_not_carry_are_said(tmp_path, capsys):
    """Not dropped in silence; Parquet keeps them."""
    row = Example(id="e", prompt="Q", target=" A", task="cot", weight=0.5)
    export([row], tmp_path / "o.jsonl", "trl")
    assert "1 of 1 examples have a weight that trl does not carry" in capsys.readouterr().err
    export([row], tmp_path / "o.parquet", "parquet")
    assert capsys.readouterr().err == ""
    assert pq.read_table(tmp_path / "o.parquet").column("weight").to_pylist() == [0.5]


def test_lone_surrogates_survive_as_escapes(tmp_path):
    """A teacher's broken text is no reason to lose the others; Parquet, which cannot hold it, says so."""
    row = Example(id="e", prompt="Q \ud800", target=" A", task="cot")
    export([row], tmp_path / "o.jsonl", "trl")
    assert json.loads((tmp_path / "o.jsonl").read_text())["prompt"] == "Q \ud800"
    with pytest.raises(DataError, match=r"o.parquet: these examples cannot be written as Parquet"):
        export([row], tmp_path / "o.parquet", "parquet")


@pytest.mark.parametrize(
    ("format", "path", "message"),
    [
        ("tfrecord", "x.jsonl", "potstill, trl, messages, llamafactory, parquet"),
        ("parquet", "x.jsonl", "parquet is written into a name that ends in .parquet"),
        ("llamafactory", "x.json", "llamafactory is written into a folder"),
    ],
)
def test_a_wrong_format_or_name_is_said_before_anything_is_written(tmp_path, format, path, message):
    """With what is allowed."""
    with pytest.raises(ConfigError, match=message):
        export(examples_of(), tmp_path / path, format)
    assert list(tmp_path.iterdir()) == []


def test_a_parquet_file_of_nothing_is_refused():
    """It would have no columns."""
    with pytest.raises(DataError, match="there are no examples to write"):
        parquet_bytes([], "x.parquet")
