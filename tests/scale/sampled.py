"""What the tests of the cluster sample: small recipes, and the endpoint's own log as witness."""

import json
from collections import Counter

from potstill.recipe.reading import build_recipe
from potstill.records import Problem

ROOM = 8


def recipe_for(url, folder, *, n=4, kinds=("cot",), **changes):
    """A recipe that asks an endpoint with a seed, so that every engine is sent the same texts."""
    teacher = {"base_url": url, "model": "m", "api_key_env": None, "max_concurrency": ROOM, "seed": 1}
    tables = {
        "problems": {"source": "unused.jsonl"},
        "teachers": {**teacher, **changes.pop("teachers", {})},
        "sample": {"n": n, "kinds": list(kinds), "template": "zero_shot"},
        "ledger": str(folder / "ledger.sqlite"),
    }
    return build_recipe({**tables, **changes})


def questions(count):
    """Problems that need no file."""
    return [
        Problem(
            id=f"q{i}",
            question=f"What is {i} + {i}?",
            answer=str(2 * i),
            answer_type="number",
            source="t",
            split="train",
        )
        for i in range(count)
    ]


def lines(path):
    """The lines of a file, sorted."""
    return sorted(path.read_text(encoding="utf-8").splitlines())


def billed(log):
    """Body -> how often the endpoint billed it, by its own log."""
    counts = Counter()
    for line in log.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        counts[row["key"]] += row["billed"] > 0
    return counts
