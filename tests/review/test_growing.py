"""Evolved instructions are shown in the tree that they grew in."""

import asyncio

from small_runs import opened, write_lines, write_run

from potstill.review.entries import tree_entries

NODES = [
    {"text": "Write about rain.", "parent": None, "action": None, "refused": "", "value": 6.0, "scores": None},
    {"text": "Write a poem about rain.", "parent": 0, "action": "form", "refused": "", "value": 9.0, "visits": 2,
     "scores": {"quality": 4.0, "diversity": 2.0, "complexity": 3.0, "votes": 2.0}},
    {"text": "Write a poem about <b>rain</b>.", "parent": 1, "action": "markup", "refused": "low_quality",
     "value": 5.0, "scores": {"quality": 1.0, "diversity": 2.0, "complexity": 2.0, "votes": 2.0}},
    {"text": "Write about rain.", "parent": 0, "action": "copy", "refused": "copy", "value": None, "scores": None},
    {"text": "", "parent": 0, "action": "late", "refused": "no_text", "value": None, "scores": None},
]  # fmt: skip
KEPT = {"id": "kept", "question": "Write a poem about rain.", "parent_id": "seed",
        "meta": {"evolution": {"root_id": "seed", "node": 1}}}  # fmt: skip


def test_each_instruction_is_one_entry_with_what_became_of_it():
    """The seed is a problem; what the judge and what a rule refused are told apart; near the floor comes first."""
    found = list(tree_entries({"seed_id": "seed", "nodes": NODES}, floor=2.5))
    assert [(one.id, one.status) for one in found] == [
        ("seed#1", "PASSED"), ("seed#2", "LOW"), ("seed#3", "REFUSED"), ("seed#4", "REFUSED"),
    ]  # fmt: skip
    assert [round(one.priority, 2) for one in found] == [0.4, 0.4, 0.0, 0.0]


def test_a_page_shows_the_change_the_scores_and_the_tree(tmp_path):
    """What a model wrote stays text; what was kept is marked, and leads to the tree."""
    folder = write_run(tmp_path / "run")
    write_lines(folder / "problems.jsonl", [{"id": "seed", "question": "Write about rain."}, KEPT])
    write_lines(folder / "trees.jsonl", [{"seed_id": "seed", "calls": 4, "stop": "calls", "nodes": NODES}])

    async def look():
        async with opened(folder) as (review, reader):
            rows = {row["id"]: row["n"] for row in review.index.execute("SELECT id, n FROM items")}
            pages = [(await reader.get(f"/item/{rows[id]}"))[1] for id in ("seed#2", "seed#4", "kept")]
            return rows, pages, (await reader.get("/?stage=instructions&order=next"))[1]

    rows, (page, empty, kept), listed = asyncio.run(look())
    assert "&lt;</ins>b<ins>" in page or "<ins>&lt;b&gt;</ins>" in page
    assert "<b>rain" not in page
    assert "quality 1.00 · diversity 2.00 · complexity 2.00 · mean of 2 votes" in page
    assert page.count('aria-current="true"') == 1
    assert "<mark>kept</mark>" in page
    assert "(no text: no_text)" in empty
    assert f"/item/{rows['seed#1']}" in kept
    assert "judged too low: 5.00" in listed
