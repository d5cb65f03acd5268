"""Where rows come from."""

import gzip
import json

import pytest

from potstill.errors import DataError
from potstill.evaluation.sources import read_source, title
from potstill.recipe.problems import SourceConfig

ROWS = [{"question": "a?", "answer": "1"}, {"question": "b?", "answer": "2"}]


def jsonl(path, rows=ROWS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows_of(**config):
    return [row for _, row in read_source(SourceConfig(**config))]


def test_files_of_every_kind_hold_the_same_rows(tmp_path):
    """JSONL, JSON, CSV, TSV, Parquet and gzip."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    jsonl(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    (tmp_path / "a.csv").write_text("question,answer\na?,1\nb?,2\n")
    (tmp_path / "a.tsv").write_text("question\tanswer\na?\t1\nb?\t2\n")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.json", "a.csv", "a.tsv", "a.jsonl.gz", "a.parquet"):
        assert rows_of(source=str(tmp_path / name)) == ROWS


def test_several_files_are_read_in_order_and_patterns_by_name(tmp_path):
    """A list as it stands; `*` sorted."""
    b, a = jsonl(tmp_path / "b.jsonl", ROWS[1:]), jsonl(tmp_path / "a.jsonl", ROWS[:1])
    assert rows_of(source=[b, a]) == [ROWS[1], ROWS[0]]
    assert rows_of(source=str(tmp_path / "*.jsonl")) == ROWS
    with pytest.raises(DataError, match="no file matches"):
        rows_of(source=str(tmp_path / "*.csv"))


def test_a_folder_of_data_files_has_splits_by_name(tmp_path):
    """Also in `data/`, also in shards."""
    jsonl(tmp_path / "train.jsonl", ROWS)
    jsonl(tmp_path / "data" / "test-00000-of-00002.jsonl", ROWS[:1])
    jsonl(tmp_path / "data" / "test-00001-of-00002.jsonl", ROWS[1:])
    assert rows_of(source=str(tmp_path), split="test") == [{**row, "split": "test"} for row in ROWS]
    assert len(rows_of(source=str(tmp_path))) == 4
    with pytest.raises(DataError, match="no split 'dev'; found t"):
        rows_of(source=str(tmp_path), split="dev")


def test_a_saved_data_set_is_read_with_its_splits(tmp_path):
    """What `datasets` wrote with save_to_disk, one set or several splits."""
    datasets = pytest.importorskip("datasets")
    one = datasets.Dataset.from_list(ROWS)
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": one, "test": one.select([1])}).save_to_disk(tmp_path / "both")
    assert rows_of(source=str(tmp_path / "one")) == ROWS
    assert rows_of(source=str(tmp_path / "both"), split="test") == [{"split": "test", **ROWS[1]}]
    assert len(rows_of(source=str(tmp_path / "both"))) == 3


@pytest.mark.parametrize("name", ["gone.jsonl", "./gone", "/nowhere/gone", "data/gone.parquet.gz"])
def test_a_missing_file_is_not_looked_for_elsewhere(name):
    """A file name is never taken for the name of a data set on the hub."""
    with pytest.raises(DataError, match="no such file or folder"):
        rows_of(source=name)


def test_a_name_that_the_hub_cannot_give_is_a_data_error(monkeypatch):
    """Offline, or misspelled: one message with the name."""
    pytest.importorskip("datasets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read at import, from the environment
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="someone/no-such-set: not a file or folder here"):
        rows_of(source="someone/no-such-set")


def test_a_folder_without_data_says_so(tmp_path):
    """An empty folder, or one of other files."""
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="no data files in this folder"):
        rows_of(source=str(tmp_path))


def test_the_miniature_gives_the_sizes_asked_for():
    """One split by `limit`, or all of them by `options`; contrast items name their parents."""
    assert len(rows_of(source="miniature", split="test", limit=7, seed=1)) == 7
    sizes = {"train": 3, "dev": 2, "test": 4, "ood": 2, "contrast": 3}
    rows = rows_of(source="miniature", options=sizes)
    assert {name: sum(row["split"] == name for row in rows) for name in sizes} == sizes
    with pytest.raises(DataError, match="miniature: got valid; splits"):
        rows_of(source="miniature", split="valid")
    with pytest.raises(DataError, match=r"miniature: got .*tests"):
        rows_of(source="miniature", options={"tests": 3})


@pytest.mark.parametrize(
    ("source", "name"), [("a/b/svamp.jsonl.gz", "svamp"), ("org/set", "set"), (("x/q_*.csv", "y"), "q_")]
)
def test_a_source_has_a_short_name(source, name):
    """The `source` of problems that bring none."""
    assert title(SourceConfig(source=source)) == name


def test_a_name_is_loaded_by_datasets_with_its_options(tmp_path):
    """What is no file or folder goes to `load_dataset`; dates and the like become text that JSON can hold."""
    pytest.importorskip("datasets")
    path = jsonl(tmp_path / "rows.jsonl", [{"question": "a?", "when": "2020-01-02T03:04:05"}])
    [row] = rows_of(source="json", split="train", options={"data_files": path})
    assert (row["question"], row["split"]) == ("a?", "train")
    assert json.loads(json.dumps(row))["when"].startswith("2020-01-02")


def test_the_labels_world_is_asked_for_by_name():
    """It has splits of its own, `extra` among them, and fields; an unknown world is refused."""
    rows = rows_of(source="miniature", split="extra", limit=5, seed=1, options={"world": "labels"})
    assert [set(row["fields"]) for row in rows] == [{"diary", "note"}] * 5
    with pytest.raises(DataError, match=r"world 'moon' in problems\.options; expected one of ring, labels"):
        rows_of(source="miniature", options={"world": "moon"})
