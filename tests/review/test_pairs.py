"""A counterfactual is shown as what was changed, with its judges, its views, and what was written for the original."""

import asyncio

from small_runs import opened, rationale, write_lines, write_run

FIELDS = {"premise": "A man sleeps.", "hypothesis": "He is awake <i>now</i>."}


def test_a_changed_problem_shows_its_fields_its_judges_and_its_views(tmp_path):
    """The field that was edited as a difference, the other unchanged."""
    folder = write_run(tmp_path / "run")
    edited = {**FIELDS, "hypothesis": "He is asleep <i>now</i>."}
    first = {"id": "o", "question": "A man sleeps. He is awake <i>now</i>.", "answer": "no", "fields": FIELDS}
    second = {"id": "c", "question": "A man sleeps. He is asleep <i>now</i>.", "answer": "yes", "fields": edited,
              "parent_id": "o"}  # fmt: skip
    write_lines(folder / "problems.jsonl", [first, second, {**second, "id": "worse", "split": "judged"}])
    write_lines(folder / "judgements" / "jury.jsonl", [
        {"problem_id": "c", "status": "CORRECT", "answer": "yes", "reason": "4 of 5 votes"},
        {"problem_id": "worse", "status": "WRONG", "answer": "no", "reason": "<script>"},
    ])  # fmt: skip
    rows = [rationale("c", at, f"text {at}", view=view) for at, view in enumerate(("positive", "negative"))]
    write_lines(folder / "rationales.jsonl", [*rows, rationale("o", 0, "of the first")])

    async def look():
        async with opened(folder) as (review, reader):
            n = {row["id"]: row["n"] for row in review.index.execute("SELECT id, n FROM items WHERE stage='problems'")}
            pages = [(await reader.get(f"/item/{n[id]}"))[1] for id in ("c", "worse")]
            listed = (await reader.get("/?stage=problems&status=WRONG"))[1]
            return n, pages, listed

    n, (page, worse), listed = asyncio.run(look())
    assert set(n) == {"o", "c", "worse"}
    assert '<dt>premise<span class="soft"> unchanged</span></dt>' in page
    assert "He is <del>awake</del><ins>asleep</ins> &lt;i&gt;now&lt;/i&gt;." in page
    assert "gold answer: <del>no</del><ins>yes</ins>" in page
    assert "✓ confirmed: yes" in page
    assert "4 of 5 votes" in page
    assert page.index("view: negative") < page.index("view: positive") < page.index("for the original")
    assert "✗ not confirmed: no" in worse
    assert "<script>" not in worse.replace('<script src="/static/review.js" defer="">', "")
    assert "1 record" in listed
