"""The recipes for real models: what they would ask for is known before anything is sent."""

import json
from pathlib import Path

import pytest

from potstill.cli import main
from potstill.recipe.reading import load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
ROWS = {
    "snli": {"premise": "Two men talk number {n}.", "hypothesis": "People talk.", "answer": "entailment"},
    "reviews": {"text": "I liked film number {n} a lot and would see it again.", "answer": "positive"},
    "boolq": {
        "passage": "River number {n} runs to the sea.",
        "question": "does river {n} reach the sea",
        "answer": "yes",
    },
    "csqa": {"question": "Where do you sleep in house {n}?", "options": ["bed", "road", "oven"], "answer": "(a)"},
}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_recipe_for_real_models_can_be_planned(name, tmp_path, monkeypatch, capsys):
    """Edits by one teacher, votes by two of other families, samples of both views of all that may be kept."""
    monkeypatch.chdir(tmp_path)
    path = RECIPES / f"counterfactual_{name}.yaml"
    for at, (split, source) in enumerate(load_recipe(path).problems.splits.items()):
        lines = [
            json.dumps({key: value.format(n=10 * at + n) if isinstance(value, str) else value
                        for key, value in ROWS[name].items()}) + "\n"
            for n in range(4 if split == "train" else 2)
        ]  # fmt: skip
        Path(source.source).parent.mkdir(exist_ok=True)
        Path(source.source).write_text("".join(lines), encoding="utf-8")
    assert main(["run", str(path), "--dry-run", "--json", "--set", f"ledger={tmp_path / 'l.sqlite'}"]) == 0
    rows = json.loads(capsys.readouterr().out)
    asked = [(row["stage"], row["teacher"].split("/")[0], row["requests"]) for row in rows]
    assert asked[:3] == [
        ("counterfactual", "Qwen", 32), ("jury, at most", "meta-llama", 96), ("jury, at most", "mistralai", 64),
    ]  # fmt: skip
    assert ("sample counterfactuals, at most", "Qwen", 32) in asked
    assert all(row["prompt_tokens"] > 0 for row in rows)
