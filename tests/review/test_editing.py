"""What people decided flows back: edits are verified, filter and mix honour decisions and count them."""

import json

import pytest

from potstill.errors import ConfigError, DataError
from potstill.pipeline import run_recipe
from potstill.rationales.filtering import edits, keep, require_kept
from potstill.recipe.rationales import FilterConfig
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.review import decisions
from potstill.review.editing import verdict_on
from potstill.review.indexing import Indexer
from potstill.students.mixing import mix

RECIPE = """
problems: {source: PROBLEMS, answer_type: number}
teachers: {replay: REPLAYED, model: big}
sample: {n: 3}
evaluate: {teacher: false, splits: [train]}
filter: {decontaminate: []}
"""


def judged(name, state=None, found=Status.CORRECT, /, **review):
    """Return a verified rationale with what reviewers came to."""
    meta = {"review": {"state": state, "by": ["Ada"], "reason": "", **review}} if state else {}
    verdict = Verdict(rationale_id=name, status=found, answer="7")
    return Rationale(
        id=name, problem_id="p", kind="cot", text="3 and 4 is 7. The answer is 7", verdict=verdict, meta=meta
    )


ROWS = [
    judged("plain"), judged("accepted", "accepted"), judged("rejected", "rejected"), judged("disputed", "disputed"),
    judged("edited", "edited", Status.WRONG, text="3 + 4 = 7. The answer is 7", status="CORRECT", answer="7"),
    judged("badly edited", "edited", text="The answer is 9", status="WRONG", answer="9"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (FilterConfig(), ["plain", "accepted", "rejected", "disputed", "badly edited"]),
        (FilterConfig(review="exclude_rejected"), ["plain", "accepted", "badly edited"]),
        (FilterConfig(review="accepted_only"), ["accepted", "badly edited"]),
        (FilterConfig(review="accepted_only", use_edits=True), ["accepted", "edited"]),
        (FilterConfig(review="accepted_only", keep="all"), ["accepted", "edited", "badly edited"]),
    ],
)
def test_the_filter_honours_what_people_decided(config, kept):
    """And says why it left out the others."""
    found, drops = keep(ROWS, config)
    assert [row.id for row in found] == kept
    assert {row.id for row in found} | {drop.id for drop in drops} == {row.id for row in ROWS}
    if config.review == "accepted_only":
        assert {drop.id: drop.reason for drop in drops if drop.id in ("plain", "rejected", "disputed")} == {
            "plain": "not_accepted", "rejected": "rejected_in_review", "disputed": "disputed_in_review"
        }  # fmt: skip


def test_an_edit_takes_the_place_of_the_text_with_its_own_verdict():
    """And is counted; without `use_edits` the model's text stays."""
    found, _ = keep(ROWS, FilterConfig(use_edits=True))
    texts = {row.id: row.text for row in found}
    assert texts["edited"] == "3 + 4 = 7. The answer is 7"
    assert edits(found) == {"edited_in_review": 1}
    assert edits(keep(ROWS, FilterConfig())[0]) == {}


def test_examples_are_made_of_the_edited_text():
    """A program or chain that a person repaired is learnt as repaired."""
    problem = Problem(id="p", question="How many?", answer="7", answer_type="number")
    config = FilterConfig(review="accepted_only", use_edits=True)
    targets = {e.rationale_id: e.target for e in mix(ROWS, problems=[problem], filter=config)}
    assert targets == {
        "accepted": " 3 and 4 is 7. So the answer is: 7", "edited": " 3 + 4 = 7. So the answer is: 7"
    }  # fmt: skip


def test_nothing_accepted_is_one_message():
    """It says how to go on."""
    kept, drops = keep([judged("plain")], FilterConfig(review="accepted_only"))
    with pytest.raises(
        DataError, match=r"none of 1 rationales is kept \(1 not_accepted\); accept some with `potstill review"
    ):
        require_kept(kept, drops)


def test_files_without_decisions_are_refused_where_decisions_count():
    """Silently keeping everything would be worse."""
    with pytest.raises(ConfigError, match=r"no decision came with the rationales; .* give --recipe FILE --run DIR"):
        mix([judged("plain")], filter=FilterConfig(review="exclude_rejected"))


@pytest.mark.parametrize(
    ("text", "status", "answer"),
    [("It is 7. The answer is 7", "CORRECT", "7"), ("The answer is 8", "WRONG", "8"), ("Hm.", "NO_ANSWER", None)],
)
def test_an_edit_is_verified_as_the_run_verifies(run, text, status, answer):
    """By the same rules as the teacher's texts."""
    rows = [json.loads(line) for line in (run / "problems.jsonl").read_text().splitlines()]
    (run / "problems.jsonl").write_text("".join(json.dumps({**row, "answer_type": "number"}) + "\n" for row in rows))
    indexer = Indexer(run)
    indexer.catch_up()
    row = indexer.index.execute("SELECT * FROM items WHERE id = 'r-p1-cot-0'").fetchone()
    assert verdict_on(run, indexer.index, row, text) == {"status": status, "answer": answer}


def test_a_run_honours_decisions_when_it_goes_on(tmp_path):
    """From `review.jsonl` into dropped.jsonl, the examples and the manifest's counts; an undo restores all."""
    problems, replayed = tmp_path / "problems.jsonl", tmp_path / "replayed.jsonl"
    problems.write_text('{"id": "p", "question": "3 and 4?", "answer": "7"}\n')
    rows = [
        {"problem_id": "p", "kind": "cot", "text": f"Way {n}. The answer is 7", "author": "big", "index": n}
        for n in range(3)
    ]
    replayed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.replace("PROBLEMS", str(problems)).replace("REPLAYED", str(replayed)))
    run = tmp_path / "run"

    def examples():
        run_recipe(recipe, run, until="mix", overrides=["filter.review=exclude_rejected", "filter.use_edits=true"])
        made = [json.loads(line)["target"] for line in (run / "examples" / "scotd.jsonl").read_text().splitlines()]
        return sorted(target.split(".")[0].strip() for target in made)

    assert examples() == ["Way 0", "Way 1", "Way 2"]
    ids = [json.loads(line)["id"] for line in (run / "rationales.jsonl").read_text().splitlines()]
    about = {"by": "Ada", "stage": "rationales", "job": ""}
    rejected = decisions.append(run, {**about, "action": "reject", "record": ids[0], "reason": "circular"})
    decisions.append(
        run,
        {
            **about,
            "action": "edit",
            "record": ids[1],
            "text": "New way. The answer is 7",
            "status": "CORRECT",
            "answer": "7",
        },
    )
    assert examples() == ["New way", "Way 2"]
    (drop,) = [json.loads(line) for line in (run / "dropped.jsonl").read_text().splitlines()]
    assert (drop["id"], drop["reason"], drop["detail"]) == (ids[0], "rejected_in_review", "Ada: circular")
    counts = json.loads((run / "manifest.json").read_text())["stages"]["filter"]["counts"]
    assert (counts["dropped_rejected_in_review"], counts["edited_in_review"]) == (1, 1)
    decisions.append(run, {"by": "Ada", "action": "undo", "undoes": rejected["id"]})
    assert examples() == ["New way", "Way 0", "Way 2"]
