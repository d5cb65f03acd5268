"""A run's examples and student as folders for the Hub: what the cards say, and that the libraries read them."""

import json

import pytest
import yaml

from potstill.cli import main
from potstill.errors import ConfigError, DataError
from potstill.evaluation.publishing import Terms, public, publish, write_cards
from potstill.files import read_records
from potstill.records import Example
from potstill.run import run

RECIPE = """
problems:
  splits:
    train: {source: miniature, split: train, limit: 8}
    test: {source: miniature, split: test, limit: 8}
teachers: {base_url: miniature, headers: {x-team: secret}}
sample: {n: 2}
train: {max_steps: 2, problems_per_step: 4, rationales_per_problem: 2}
infer: {max_new_tokens: 24}
evaluate: {bootstrap: 100, compare: [[scotd, teacher]]}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of one arm, beside its teacher."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "r.yaml").write_text(RECIPE + f"ledger: {folder / 'ledger.db'}\n")
    run(folder / "r.yaml", folder / "mine")
    return folder / "mine"


@pytest.fixture(scope="module")
def published(finished, tmp_path_factory):
    """Both folders of the trained arm."""
    out = tmp_path_factory.mktemp("out")
    terms = Terms(data_license="cc-by-4.0", model_license="apache-2.0", teacher_terms="may be used for training")
    return publish(finished, out, terms=terms) | {"out": out}


def front_matter(card):
    return yaml.safe_load(card.split("---")[1])


def test_the_data_set_is_read_by_its_card(finished, published, tmp_path):
    """`load_dataset` on the folder, without being told the format: every example, none left out."""
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(str(published["out"] / "dataset"), split="train", cache_dir=str(tmp_path))
    examples = list(read_records(finished / "examples" / "scotd.jsonl", Example))
    assert list(rows["id"]) == [example.id for example in examples]
    assert list(rows["completion"]) == [example.target for example in examples]
    assert published["examples"] == len(examples) > 0


def test_the_data_card_holds_the_numbers_of_the_run(finished, published):
    """Counts as the manifest has them, licences as given, scores with interval and n, and the recipe."""
    card = (published["out"] / "dataset" / "README.md").read_text()
    counts = {
        stage: found["counts"]
        for stage, found in json.loads((finished / "manifest.json").read_text())["stages"].items()
    }
    right, dropped = counts["verify"]["CORRECT"], counts["filter"]["dropped"]
    assert front_matter(card)["license"] == "cc-by-4.0"
    assert f"| Examples | {published['examples']} (cot {published['examples']}) of " in card
    assert f"| Written by | miniature-teacher {published['examples']} |" in card
    assert "| Terms of the teacher | may be used for training |" in card
    assert "| Sampled | 16 rationales, 0 without text |" in card
    assert f"CORRECT {right}" in card
    assert f"| Left out | {dropped} (" in card
    [score] = [s for s in json.loads((finished / "scores.json").read_text())["scores"]
               if (s["system"], s["path"], s["metric"]) == ("scotd", "cot", "accuracy")][:1]  # fmt: skip
    assert (
        f"| test | cot | accuracy | {score['value']:.3f} | [{score['low']:.3f}, {score['high']:.3f}] wilson | 8 | 0 |"
        in card
    )
    assert "- scotd − teacher on test, cot, accuracy:" in card
    assert yaml.safe_load(card.split("```yaml")[1].split("```")[0])["sample"]["n"] == 2


def test_nothing_of_this_machine_is_published(finished, published):
    """No key, header, ledger or path; the same recipe otherwise."""
    for name in ("dataset", "model"):
        card = (published["out"] / name / "README.md").read_text()
        assert "secret" not in card
        assert str(finished.parent) not in card
        assert "OPENAI_API_KEY" not in card
    kept = {"problems": {"source": "/home/me/svamp.jsonl"}, "teachers": [{"model": "m", "proxy": "p"}], "ledger": "l"}
    assert public(kept) == {"problems": {"source": "svamp.jsonl"}, "teachers": [{"model": "m"}]}


def test_the_model_folder_is_the_student_with_a_card_of_its_scores(finished, published):
    """Everything that the student's own folder has, and what training alone could not know."""
    model, student = published["out"] / "model", finished / "students" / "scotd"
    assert {path.name for path in model.iterdir()} == {path.name for path in student.iterdir()}
    card = (model / "README.md").read_text()
    head = front_matter(card)
    assert (head["license"], head["pipeline_tag"]) == ("apache-2.0", "text-generation")
    assert "| test | cot | accuracy |" in card
    assert "| Teacher | miniature-teacher" in card
    assert "license" not in front_matter((student / "README.md").read_text()), "a run does not know it"


def test_a_students_folder_has_a_card_of_the_runs_scores(finished):
    """Written when the run was evaluated; a second time it is the same, and nothing of this machine is in it."""
    card = (finished / "students" / "scotd" / "README.md").read_text(encoding="utf-8")
    scored = json.loads((finished / "scores.json").read_text())["scores"]
    (row,) = [r for r in scored if (r["system"], r["path"], r["split"]) == ("scotd", "cot", "test") and r["n"]][:1]
    assert f"| {row['value']:.3f} | [{row['low']:.3f}, {row['high']:.3f}] {row['by']} | {row['n']} |" in card
    assert "- scotd − teacher on test" in card
    assert "| Teacher | miniature |" in card
    assert "rationales_per_problem: 2" in card
    assert "secret" not in card
    assert str(finished) not in card
    assert write_cards(finished) == []


def test_what_is_not_given_is_unknown(finished, tmp_path, capsys):
    """From the command line, in another format; the cards say so."""
    assert main(["export", str(finished), "--out", str(tmp_path / "o"), "--format", "llamafactory", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    card = (tmp_path / "o" / "dataset" / "README.md").read_text()
    assert front_matter(card)["license"] == "unknown"
    assert "| Terms of the teacher | unknown |" in card
    info = json.loads((tmp_path / "o" / "dataset" / "data" / "dataset_info.json").read_text())
    lines = (tmp_path / "o" / "dataset" / "data" / info["train"]["file_name"]).read_text().splitlines()
    assert len(lines) == found["examples"]


def test_a_dry_run_writes_nothing(finished, tmp_path, capsys):
    """It says what would be."""
    assert main(["export", str(finished), "--out", str(tmp_path / "o"), "--dry-run"]) == 0
    assert " examples of scotd" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_system_must_be_one_of_the_run(finished, tmp_path):
    """Those that were mixed are named."""
    with pytest.raises(ConfigError, match="holds no system 'mixed'; name one with --system: scotd"):
        publish(finished, tmp_path, system="mixed")
    with pytest.raises(DataError, match="is not a run directory"):
        publish(tmp_path, tmp_path / "o")
    assert main(["export", str(finished)]) == 1
    assert list(tmp_path.iterdir()) == []
