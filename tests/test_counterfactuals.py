"""The stage: what becomes of every edit that is asked for, on disk, over kills and budgets."""

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from toy_reviews import KINDS, Books, edited, judged, recipe, reply, review, serving

import potstill as ps
from potstill.cli import main
from potstill.counterfactuals import counterfactual_files, plan_counterfactuals, without_made
from potstill.errors import BudgetError, ConfigError, TooManyFailures
from potstill.files import read_rows, write_records
from potstill.juries import Judged, observed, reviewed, worth
from potstill.pipeline import run_recipe
from potstill.recipe.counterfactual import CounterfactualConfig
from potstill.records import Problem
from potstill.review import decisions
from potstill.run import Run
from potstill.teachers.fakes import FakeTeacher

REVIEWS = [review(number) for number in range(8)]


@pytest.fixture
def books():
    """Return the books of a fresh server."""
    return Books()


@pytest.fixture
def url(books):
    """Return the address of the toy server."""
    with serving(books) as address:
        yield address


def make(url, folder, items=REVIEWS, name="made", **more):
    """Run the stage on files."""
    return counterfactual_files(recipe(url, folder, **more), items, folder / f"{name}.jsonl", run=name)


def test_every_edit_ends_with_one_reason(url, books, tmp_path):
    """Right ones are kept, the others counted; each candidate and each drop is on record."""
    made = make(url, tmp_path)
    assert made.counts["candidates"] == 32
    assert Counter(one.reason for one in made.candidates) == {
        "kept": 8, "unflipped": 8, "not_minimal": 8, "unparseable": 8,
    }  # fmt: skip
    assert Counter(drop.reason for drop in made.drops) == {"unflipped": 8, "not_minimal": 8, "unparseable": 8}
    assert {row["reason"] for _, row in read_rows(tmp_path / "made.jsonl")} == {
        "kept", "unflipped", "not_minimal", "unparseable",
    }  # fmt: skip
    assert made.counts["pairs"] == {"bad to good": 4, "good to bad": 4}


def test_a_counterfactual_is_a_problem_with_its_origin(url, tmp_path):
    """Its question is put together anew, its label is the target, its parent the original."""
    made = make(url, tmp_path)
    first = next(problem for problem in made.problems if problem.parent_id == "r0")
    assert first.question == "Review: The soup at table 0 was awful and we sat by the window all evening.\nGood or bad?"
    assert (first.answer, first.labels, first.split) == ("bad", ("good", "bad"), "train")
    told = first.meta["counterfactual"]
    assert told["edits"] == [["tasty", "awful"]]
    assert {key: told[key] for key in ("role", "field", "kind", "from", "to", "pair", "author", "edited_tokens")} == {
        "role": "counterfactual", "field": "text", "kind": "attribute", "from": "good", "to": "bad", "pair": "r0",
        "author": "editor", "edited_tokens": 1,
    }  # fmt: skip
    assert told["votes"] == {"bad": 5}


def test_jurors_never_see_the_original_or_the_target(url, books, tmp_path):
    """What they are sent names the edited text and both labels."""
    make(url, tmp_path, [REVIEWS[0]])
    sent = [prompt for prompt in books.prompts if "Read one item" in prompt]
    flipped = [prompt for prompt in sent if "awful" in prompt]
    assert len(flipped) == 5
    assert not any("tasty" in prompt for prompt in flipped)
    assert not any("label:" in prompt or "Goal" in prompt or "r0" in prompt for prompt in sent)
    assert {prompt.index("- good") < prompt.index("- bad") for prompt in sent} == {True, False}


def test_votes_that_change_nothing_are_not_bought(url, books, tmp_path):
    """Two of five against end the sitting."""
    make(url, tmp_path)
    assert books.models == {"editor": 32, "juror": 8 * 5 + 8 * 2}


def test_a_second_call_asks_for_nothing_and_leaves_the_same_bytes(url, books, tmp_path):
    """Whatever the concurrency was."""
    make(url, tmp_path)
    before, asked = (tmp_path / "made.jsonl").read_bytes(), len(books.prompts)
    make(url, tmp_path)
    make(url, tmp_path, name="again", counterfactual={"at_once": 1})
    assert len(books.prompts) == asked
    assert (tmp_path / "made.jsonl").read_bytes() == before == (tmp_path / "again.jsonl").read_bytes()


def test_another_jury_or_filter_buys_only_what_is_new(url, books, tmp_path):
    """The edits stay."""
    make(url, tmp_path)
    asked = books.models["editor"]
    made = make(url, tmp_path, counterfactual={"jury": {"votes": 7}, "banned": ["awful"]})
    assert books.models["editor"] == asked
    assert Counter(one.reason for one in made.candidates)["banned_text"] == 4
    assert made.counts["kept"] == 4


def test_a_budget_ends_the_stage_and_a_larger_one_goes_on(url, books, tmp_path):
    """Nothing is bought twice."""
    small = {"budget": {"tokens": 2000}, "counterfactual": {"at_once": 2}}
    with pytest.raises(BudgetError):
        make(url, tmp_path, **small)
    done = len((tmp_path / "made.jsonl").read_text().splitlines())
    assert 0 < done < 32
    assert make(url, tmp_path).counts["kept"] == 8
    assert set(books.bodies.values()) == {1}


def test_a_killed_process_is_resumed_without_buying_anything_twice(url, books, tmp_path):
    """What it leaves is what an unbroken one leaves."""
    write_records(tmp_path / "in.jsonl", REVIEWS)
    made = ["counterfactual", "--problems", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    made += ["--base-url", url, "--model", "editor", "--jury", "juror", "--ledger", str(tmp_path / "l.sqlite")]
    made += ["--set", f"counterfactual.kinds=[{','.join(KINDS)}]", "--set", "teachers.0.seed=0"]
    made += ["--set", "teachers.1.seed=0", "--set", "counterfactual.at_once=4", "--quiet"]
    made += ["--set", "counterfactual.signature_frac=1"]
    books.stop_after = 40
    process = subprocess.Popen([sys.executable, "-m", "potstill", *made])
    try:
        assert books.stopped.wait(60)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "out.jsonl").exists()
    books.stop_after = None
    assert main(made) == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 8
    assert sum(books.models.values()) - (32 + 56) <= 4, "only what was in flight when it was killed"
    assert max(books.bodies.values()) <= 2


def test_a_teacher_that_answers_prose_stops_the_stage(tmp_path):
    """With exit code 3, and every reply on record."""
    wanted = r"32 of 32 requests brought no readable edit \(32 unparseable\)"
    with serving(Books(edit=lambda prompt: "It was not good.")) as url, pytest.raises(TooManyFailures, match=wanted):
        make(url, tmp_path)
    assert len((tmp_path / "made.jsonl").read_text().splitlines()) == 32


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (reply(("delicious", "awful")), "span_not_found"),
        (reply(("tasty", "awful"), edited="The soup was cold."), "declared_text_differs"),
        (reply(("tasty", "tasty")), "unchanged"),
        (reply(("tasty", "a bit")), "unread_votes"),
        (reply(("tasty", "awful, in a word: [blank]")), "banned_text"),
        (json.dumps({"status": "impossible", "edits": []}), "impossible"),
    ],
)
def test_a_bad_edit_is_refused_by_its_reason(tmp_path, text, reason):
    """Each is a candidate on record, none is kept."""
    with serving(Books(edit=lambda prompt: text)) as url:
        made = make(url, tmp_path, [REVIEWS[0]], counterfactual={"kinds": ["attribute"]})
    assert [one.reason for one in made.candidates] == [reason]
    assert made.problems == []


def test_a_jury_that_never_agrees_keeps_nothing_and_says_so(tmp_path):
    """Every refusal has the votes with it."""
    labels = iter(["good", "bad"] * 1000)
    with serving(Books(judge=lambda prompt: json.dumps({"label": next(labels)}))) as url:
        made = make(url, tmp_path, counterfactual={"at_once": 1})
    assert made.counts["kept"] == 0
    assert made.counts["judged"] == 16
    assert all(one.votes for one in made.candidates if one.jury)


def test_the_writer_judges_only_where_nobody_else_can(url, books, tmp_path, capsys):
    """And that is said, and in the counts."""
    made = make(url, tmp_path, jurors=())
    assert made.counts["writer_judges"] is True
    assert "editor judges its own edits" in capsys.readouterr().err
    assert make(url, tmp_path, name="other").counts["writer_judges"] is False


def test_invariants_keep_the_label_in_as_many_words(url, tmp_path):
    """They are kept beside the counterfactuals, and must not flip."""
    made = make(url, tmp_path, counterfactual={"roles": ["counterfactual", "invariant"], "kinds": ["attribute"]})
    assert made.counts["kept_invariant"] == made.counts["kept_counterfactual"] == 8
    one = next(problem for problem in made.problems if problem.meta["counterfactual"]["role"] == "invariant")
    assert one.answer == one.meta["counterfactual"]["from"] == one.meta["counterfactual"]["to"]
    assert one.meta["counterfactual"]["votes"] == {one.answer: 5}


def test_what_repeats_an_evaluation_problem_is_refused(url, tmp_path):
    """The edit, where the original does not."""
    text = REVIEWS[0].fields["text"].replace("tasty", "awful")
    test = replace(review(50), id="t", split="test", question=f"Review: {text}\nGood or bad?", fields={"text": text},
                   meta={"family": "t"})  # fmt: skip
    problems = [replace(problem, meta={"family": problem.id}) for problem in REVIEWS]
    made = counterfactual_files(recipe(url, tmp_path), problems, tmp_path / "made.jsonl", run="r", evaluated=[test])
    assert [one.problem_id for one in made.candidates if one.reason == "contaminated"] == ["r0"]
    assert made.counts["kept"] == 7


def test_problems_that_cannot_be_edited_are_left_out_and_counted(url, tmp_path):
    """A label set of one, no label; what is edited goes on."""
    odd = [review(20, labels=("good",)), review(21, answer=None)]
    made = make(url, tmp_path, [*REVIEWS, *odd])
    assert made.counts["left_out_one_label"] == made.counts["left_out_no_answer"] == 1
    assert made.counts["kept"] == 8


def test_a_field_that_does_not_exist_is_said_before_anything_is_asked(url, books, tmp_path):
    """With the fields that there are."""
    with pytest.raises(ConfigError, match="'title' is a field of no problem; they have text"):
        make(url, tmp_path, problems={"source": "given", "editable": ["title"]})
    assert books.prompts == []


def test_the_plan_counts_what_is_asked_for_at_most(url, books, tmp_path):
    """Without sending anything."""
    rows, kept = plan_counterfactuals(recipe(url, tmp_path), REVIEWS)
    assert [(row["stage"], row["teacher"], row["requests"]) for row in rows] == [
        ("counterfactual", "editor", 32), ("jury, at most", "juror", 160),
    ]  # fmt: skip
    assert kept == 8
    assert books.prompts == []


def test_the_python_call_streams_counterfactuals():
    """With any teacher and jury; what is kept is a problem like any other."""
    answers = {"You edit": edited, "Read one": judged}

    def answer(request, index):
        text = "\n".join(message["content"] for message in request.messages)
        return answers[text[:8]](text)

    config = CounterfactualConfig(kinds=("attribute",), signature_frac=1)
    made = list(ps.counterfactual(REVIEWS, FakeTeacher(answer), config, jury=[FakeTeacher(answer, author="j")]))
    assert [problem.parent_id for problem in made] == [problem.id for problem in REVIEWS]
    assert made[0].meta["counterfactual"]["votes"] == {"bad": 5}


def programs(prompt):
    """A teacher of word problems: an edit of a number, and programs."""
    if "You edit dataset items" in prompt:
        return json.dumps({"status": "ok", "edits": [{"field": "question", "old": "3 bags", "new": "5 bags"}]})
    return f"bags = {re.search(r'has ([0-9]+) bags', prompt)[1]}\nans = bags * 4"


def test_the_answer_of_an_edited_word_problem_is_computed(tmp_path):
    """By programs that are run, of jurors who solve the original."""
    problem = Problem(id="w", question="Ann has 3 bags of 4 apples. How many apples has she?", answer="12",
                      answer_type="number", meta={"gold_program": "ans = 3 * 4"})  # fmt: skip
    wrong = replace(problem, id="x", answer="13", question="Bob has 3 bags of 4 pears. How many pears has he?")
    with serving(Books(edit=programs)) as url:
        made = make(url, tmp_path, [problem, wrong], counterfactual={"kinds": ["quantity"]})
    assert [(one.parent_id, one.answer) for one in made.problems] == [("w", "20")]
    kept = next(one for one in made.candidates if one.reason == "kept")
    assert Counter(vote.juror for vote in kept.votes) == {"juror": 5, "the original's program": 1}
    assert [one.reason for one in made.candidates if one.problem_id == "x"] == ["original_unsolved"]


def test_a_gold_set_says_how_often_the_jury_errs_and_corrects_for_it():
    """Rogan and Gladen's formula on counts that can be checked by hand."""
    gold = [Judged(True, True)] * 90 + [Judged(True, False)] * 10 + [Judged(False, True)] * 20
    gold += [Judged(False, False)] * 80
    found = worth(gold, (60, 100))
    assert found["sensitivity"]["value"] == 0.9
    assert found["specificity"]["value"] == 0.8
    assert found["flipped"]["value"] == pytest.approx((0.6 + 0.8 - 1) / (0.9 + 0.8 - 1))
    assert found["flipped"]["low"] < found["flipped"]["value"] < found["flipped"]["high"]
    assert worth([Judged(True, True)] * 5, (6, 10))["flipped"] is None


def test_the_command_makes_counterfactuals_of_a_file_and_measures_its_jury(url, tmp_path, capsys):
    """With the task's words, candidates and drops beside the output."""
    write_records(tmp_path / "in.jsonl", REVIEWS)
    common = ["--base-url", url, "--model", "editor", "--jury", "juror", "--ledger", str(tmp_path / "l.sqlite")]
    asking = ["counterfactual", "--problems", str(tmp_path / "in.jsonl"), *common]
    assert main([*asking, "--dry-run", "--json"]) == 0
    assert [row["stage"] for row in json.loads(capsys.readouterr().out)] == ["counterfactual", "jury, at most"]
    many = ["--set", "counterfactual.kinds=[attribute]", "--set", "counterfactual.signature_frac=1"]
    assert main([*asking, *many, "--out", str(tmp_path / "out.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 8
    assert sorted(path.name for path in tmp_path.glob("out*")) == [
        "out.candidates.jsonl", "out.dropped.jsonl", "out.jsonl",
    ]  # fmt: skip
    gold = [replace(REVIEWS[n], answer=label, meta={"accept": label == REVIEWS[n].answer}) for n in range(8)
            for label in ("good", "bad") if n or label == "good"]  # fmt: skip
    gold = [replace(one, id=f"g{at}") for at, one in enumerate(gold)]
    write_records(tmp_path / "gold.jsonl", gold)
    assert main(["counterfactual", "--gold", str(tmp_path / "gold.jsonl"), *common, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 15
    assert found["sensitivity"]["value"] == found["specificity"]["value"] == 1.0
    assert judged("text: tasty") != judged("text: cold")


def run_until(url, folder, **more):
    """Run a recipe up to the stage."""
    splits = {"train": REVIEWS, "test": [review(30), review(31)]}
    splits = {name: [replace(one, meta={"family": one.id}) for one in items] for name, items in splits.items()}
    for name, items in splits.items():
        write_records(folder / f"{name}.jsonl", items)
    source = {"splits": {name: {"source": str(folder / f"{name}.jsonl")} for name in splits}}
    made = recipe(url, folder, problems=source, **more)
    return run_recipe(made, folder / "run", until="counterfactual", force=True)


def test_in_a_run_they_join_the_problems_of_their_split_and_can_be_reviewed(url, books, tmp_path):
    """What was judged and not kept stands apart; a second pass is a no-op; without the table all are gone again."""
    run_until(url, tmp_path, counterfactual={"for_review": True})
    problems = [row for _, row in read_rows(tmp_path / "run" / "problems.jsonl")]
    assert Counter(row.get("split", "train") for row in problems) == {"train": 16, "test": 2, "judged": 8}
    claims = [row for _, row in read_rows(tmp_path / "run" / "judgements" / "jury.jsonl")]
    assert Counter(row["status"] for row in claims) == {"CORRECT": 8, "WRONG": 8}
    assert {row["problem_id"] for row in claims} <= {row["id"] for row in problems}
    assert len(list(read_rows(tmp_path / "run" / "counterfactuals.jsonl"))) == 8
    asked = len(books.prompts)
    run_until(url, tmp_path, counterfactual={"for_review": True})
    assert len(books.prompts) == asked
    for queue, row in (("calibration", claims[0]), ("calibration", claims[-1]), ("", claims[1])):
        said = {"action": "accept" if row["status"] == "CORRECT" else "reject", "by": "p", "stage": "problems"}
        decisions.append(tmp_path / "run", {**said, "record": row["problem_id"], "queue": queue})
    assert len(reviewed(tmp_path / "run")) == 2
    assert observed(tmp_path / "run") == (8, 16)
    files = Run(tmp_path / "run")
    left = without_made(files, {row.id: row for row in files.read("problems.jsonl", Problem)})
    assert len(left) == len(list(read_rows(tmp_path / "run" / "problems.jsonl"))) == 10
