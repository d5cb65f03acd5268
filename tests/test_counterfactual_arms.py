"""Counterfactual Distillation from problems to scores, on a loopback teacher: all arms of one recipe in one run."""

import json
from collections import Counter

import pytest
import yaml
from toy_labels import counterfactual, invariant, label_server, original, written

from potstill.cli import main
from potstill.files import read_records
from potstill.records import Drop, Example, Problem, Rationale, to_dict

ARMS = {
    "cf_cot": {"mix": {"roles": ["original"], "views": ["positive"]}, "infer": {"views": ["positive"]}},
    "counterfactual": {},
    "cf_control_originals": {"mix": {"roles": ["original", "extra"]}},
    "cf_control_shuffled": {"mix": {"counterfactuals": "shuffled"}},
    "cf_control_label_preserving": {"mix": {"roles": ["original", "invariant"]}},
    "cf_control_no_rationale": {"mix": {"counterfactuals": "answer"}},
    "cf_control_positive_only": {"mix": {"views": ["positive"]}, "infer": {"views": ["positive"]}},
}
STUDENT = {"model_type": "llama", "vocab_size": 300, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
           "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256}  # fmt: skip


def write(path, problems):
    rows = [{**to_dict(p), "split": p.split} for p in problems]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def recipe(tmp_path):
    """A recipe over edited problems that are there already; returns (path, function that writes it with changes)."""
    train = [original(i) for i in range(6)]
    tested = [original(i, split="test") for i in range(20, 24)]
    edits = [counterfactual(p) for p in train] + [invariant(p) for p in train]
    contrast = [counterfactual(p) for p in tested]
    everything = [*train, *edits, *(original(i, split="extra") for i in range(10, 13)), *tested]
    everything += [Problem(**{**{f: getattr(p, f) for f in p.__slots__}, "split": "contrast"}) for p in contrast]
    write(tmp_path / "all.jsonl", everything)

    def make(books, **changes):
        splits = {name: {"source": str(tmp_path / "all.jsonl"), "split": name}
                  for name in ("train", "extra", "test", "contrast")}  # fmt: skip
        table = {
            "task": "labels",
            "ledger": str(tmp_path / "ledger.db"),
            "problems": {"splits": splits},
            "teachers": {"base_url": books.url, "model": "m", "api_key_env": None, "seed": 1},
            "sample": {"n": 1, "views": ["positive", "negative"], "splits": ["train", "extra"]},
            "filter": {"decontaminate": [], "support": {}},
            "mix": {"roles": ["original", "counterfactual"], "prefixes": {"positive": " For:", "negative": " No:"}},
            "student": {"model": "scratch", "config": STUDENT},
            "train": {"max_steps": 2, "problems_per_step": 4, "rationales_per_problem": 2, "pairs_together": True,
                      "pair_margin": {"weight": 0.1}},
            "infer": {"views": ["positive", "negative"], "max_new_tokens": 4},
            "evaluate": {"splits": ["test", "contrast"], "teacher": False, "bootstrap": 100,
                         "compare": [["counterfactual", "cf_control_originals"]]},
            "arms": ARMS,
            **changes,
        }  # fmt: skip
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(table))
        return str(path)

    return make


def test_all_arms_of_one_recipe_learn_from_one_sampling(recipe, tmp_path):
    """Each from its own problems, views and targets; nothing is bought twice; every arm has a row for every metric."""
    run = tmp_path / "run"
    with label_server() as books:
        path = recipe(books)
        assert main(["run", path, "--run", str(run), "--quiet"]) == 0
        sent = len(books.prompts)
        assert main(["run", path, "--run", str(run), "--quiet"]) == 0
        assert len(books.prompts) == sent
    assert books.bought_twice == 0
    problems = {p.id: p for p in read_records(run / "problems.jsonl", Problem)}
    learnt = {arm: list(read_records(run / f"examples/{arm}.jsonl", Example)) for arm in ARMS}
    ends = {arm: Counter(_what(problems[e.group]) for e in rows) for arm, rows in learnt.items()}
    assert ends["cf_cot"] == {"original": 6}
    assert ends["counterfactual"] == ends["cf_control_shuffled"] == {"original": 12, "counterfactual": 12}
    assert ends["cf_control_originals"] == {"original": 12, "extra": 6}
    assert ends["cf_control_label_preserving"] == {"original": 12, "invariant": 12}
    assert ends["cf_control_no_rationale"] == {"original": 12, "counterfactual": 6}
    assert ends["cf_control_positive_only"] == {"original": 6, "counterfactual": 6}
    scores = json.loads((run / "scores.json").read_text())
    found = {(row["system"], row["path"], row["metric"]) for row in scores["scores"] if row["split"] == "contrast"}
    for arm in ARMS:
        for metric in ("accuracy", "contrast_consistency", "sensitivity"):
            assert (arm, "cot", metric) in found
    assert ("counterfactual", "views", "sensitivity") in found
    assert {row["metric"] for row in scores["comparisons"]} == {"accuracy", "contrast_consistency", "sensitivity"}


def test_a_rationale_that_supports_nothing_is_left_out(recipe, tmp_path):
    """As its reader says, with the reason counted; the reader's replies are kept, and bought once."""

    def write_some(prompt):
        is_vague = "north price rises on day 0" in prompt and "rules it out" not in prompt
        return "It is what it is. So the answer is: up" if is_vague else written(prompt)

    run = tmp_path / "run"
    with label_server(write=write_some) as books:
        path = recipe(books)
        assert (
            main(["run", path, "--run", str(run), "--quiet", "--set", "arms={}", "--set", "evaluate.compare=[]"]) == 0
        )
    drops = Counter(d.reason for d in read_records(run / "dropped.jsonl", Drop))
    rationales = {r.id: r for r in read_records(run / "rationales.jsonl", Rationale)}
    [vague_id] = [d.id for d in read_records(run / "dropped.jsonl", Drop) if d.reason == "unsupported"]
    assert rationales[vague_id].text.startswith("It is what it is.")
    assert drops["unsupported"] == 1
    counts = json.loads((run / "manifest.json").read_text())["stages"]["filter"]["counts"]
    assert (counts["unsupported"], counts["read"]) == (1, counts["supported"] + 1)


def _what(problem):
    said = problem.meta.get("counterfactual")
    return said["role"] if said else "extra" if problem.split == "extra" else "original"
