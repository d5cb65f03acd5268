"""The review in a real browser: Chromium of the distribution, driven by Playwright; skipped where either is missing."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from hostile import TEXTS
from small_runs import rationale, write_lines, write_run

from potstill.review import decisions
from potstill.review.indexing import index_once

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
PAIRS, PREFERRED = 16, 11
"""Pairs of the comparison, and those of them in which the scripted rater prefers the student's text."""


@pytest.fixture(scope="module")
def chromium():
    """One browser for the tests of this module; it is gone before an asynchronous test runs."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Desk:
    """A review in a process of its own, and windows onto it, each with cookies of its own."""

    def __init__(self, browser, folder):
        index_once(folder)
        command = [sys.executable, "-m", "potstill", "review", str(folder), "--no-browser"]
        self.folder, self.browser, self.troubles = folder, browser, []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().split()[0]
        self.base = self.address.split("/?")[0]
        self.windows = []

    def window(self, name="Ada", **options):
        """Open the address that was printed, and give a name."""
        window = self.browser.new_context(**options)
        window.set_default_timeout(60_000)
        self.windows.append(window)
        page = window.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: self.troubles.append(f"dialog {dialog.message}"))
        page.on(
            "request",
            lambda asked: self.troubles.append(asked.url) if not asked.url.startswith((self.base, "data:")) else None,
        )
        page.goto(self.address)
        if name:
            page.fill("#name", name)
            page.click("text=Begin")
            page.wait_for_selector("#undo")
        return page

    def close(self):
        for window in self.windows:
            window.close()
        self.process.terminate()
        self.process.communicate(timeout=60)

    def made(self):
        return [(row["by"], row["action"], row.get("record")) for row in decisions.rows_of(self.folder)]


@pytest.fixture
def desk(chromium, run):
    """The small run's review."""
    opened = Desk(chromium, run)
    yield opened
    opened.close()
    assert opened.process.returncode == 0
    assert opened.troubles == []


def test_the_printed_address_opens_the_list_and_the_token_leaves_the_address_bar(desk):
    """Nothing is asked of another host, and no script complains."""
    page = desk.window(name="")
    assert "token" not in page.url
    assert page.locator(".row").count() == 3
    page.select_option("select[name=status]", "WRONG")
    page.click("text=Show")
    page.wait_for_url("**status=WRONG**")
    assert page.locator(".excerpt").all_inner_texts() == ["3 times 4 is 12."]


def test_keys_read_accept_undo_and_edit(desk):
    """Without a mouse; what was decided is there after a reload."""
    page = desk.window()
    page.keyboard.press("/")
    page.keyboard.type("times")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=times**")
    assert page.locator(".row").count() == 1
    page.goto(desk.base)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.wait_for_selector(".row:nth-child(2) .state.rejected")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "record 3"
    assert page.inner_text("#said") == "✗ rejected. Saved."
    page.reload()
    assert page.inner_text(".row:nth-child(2) .state") == "✗ rejected"
    page.keyboard.press("u")
    page.wait_for_selector(".row:nth-child(2) .state:not(.rejected)", state="attached")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("article.main")
    page.keyboard.press("e")
    page.wait_for_selector("textarea")
    page.fill("textarea", "3 and 4 is 7, so 7.")
    page.press("textarea", "Control+Enter")
    page.wait_for_selector("article.main")
    page.keyboard.press("k")
    page.wait_for_selector(".side.main .difference ins")
    assert [made[1] for made in desk.made()] == ["reject", "undo", "edit"]


def test_deciding_on_a_records_page_goes_on_to_the_next(desk):
    """With the reason that was typed."""
    page = desk.window()
    page.click(".row:nth-child(1) > a")
    page.wait_for_selector("article.main")
    page.keyboard.press("w")
    page.keyboard.type("clear and short")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.wait_for_selector("h1:text('Rationale 1')")
    (row,) = decisions.rows_of(desk.folder)
    assert (row["action"], row["reason"], row["record"]) == ("accept", "clear and short", "r-p1-cot-0")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1


def test_two_reviewers_at_once_see_each_other(desk):
    """And a dispute is shown to both."""
    ada, bo = desk.window("Ada"), desk.window("Bo")
    for page, key in ((ada, "a"), (bo, "r")):
        page.keyboard.press("j")
        page.keyboard.press(key)
        page.wait_for_selector(".row:nth-child(1) .state:not(:empty)")
    ada.reload()
    assert ada.inner_text(".row:nth-child(1) .state") == bo.inner_text(".row:nth-child(1) .state") == "⚑ disputed"
    assert desk.made() == [("Ada", "accept", "r-p1-cot-0"), ("Bo", "reject", "r-p1-cot-0")]


def test_without_a_name_nothing_is_saved_and_the_page_says_why(desk):
    """In the place that a screen reader announces."""
    page = desk.window(name="")
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.wait_for_selector("#said:not(:empty)")  # the page's policy forbids what waits for an expression
    assert "a decision needs the name of who made it" in page.inner_text("#said")
    assert desk.made() == []
    desk.troubles.clear()  # the browser notes the refusal


def test_pages_fit_a_phone_and_follow_the_dark_scheme(desk):
    """Nothing is wider than the screen, every field has a label, and every page one heading of the first level."""
    page = desk.window(viewport={"width": 360, "height": 740}, color_scheme="dark")
    for path in (
        "/", "/item/4?stage=rationales", "/item/4/edit", "/compare", "/calibration", "/decisions", "/?stage=examples",
    ):  # fmt: skip
        page.goto(desk.base + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert page.locator("h1").count() == 1, path
        fields = "document.querySelectorAll('input:not([type=hidden]), select, textarea')"
        assert page.evaluate(f"[...{fields}].filter(field => !field.labels.length).length") == 0, path
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"


def test_a_scripted_raters_known_preference_comes_out(chromium, tmp_path):
    """Blind, by keys, over all pairs: the rate is the rater's, and its interval holds it; two systems, one rater."""
    folder = write_run(tmp_path / "compared")
    problems = [{"id": f"q{n}", "question": f"Question {n}?", "answer": "1", "split": "test"} for n in range(PAIRS)]
    write_lines(folder / "problems.jsonl", problems)
    for job in ("untrained", "scotd"):
        marks = [f"mark-{'good' if (n < PREFERRED) == (job == 'scotd') else 'bad'}" for n in range(PAIRS)]
        rows = [rationale(f"q{n}", 0, marks[n], id=f"{job}{n}", author=job) for n in range(PAIRS)]
        write_lines(folder / "predictions" / f"{job}.jsonl", rows)
        write_lines(
            folder / "verdicts" / f"{job}.jsonl",
            [{"rationale_id": row["id"], "status": "CORRECT", "answer": "1"} for row in rows],
        )
    desk = Desk(chromium, folder)
    page = desk.window()
    page.goto(f"{desk.base}/compare")
    page.select_option("select[name=a]", "scotd")
    page.select_option("select[name=b]", "untrained")
    page.check("input[name=only_right]")
    page.click("main form button")
    seen = set()
    for number in range(PAIRS):
        page.wait_for_selector(f"text=Pair {number + 1} of {PAIRS}.")
        assert not re.search("scotd|untrained", page.content())
        texts = page.locator(".pair .written").all_inner_texts()
        seen.add(texts[0])
        page.keyboard.press(str(1 + texts.index("mark-good")))
    page.wait_for_selector(".figure")
    result = json.loads(page.evaluate("fetch(location.pathname + '.json').then(r => r.text())"))
    desk.close()
    assert desk.troubles == []
    assert len(seen) == 2, "sides were shuffled"
    assert (result["rate"], result["judged_pairs"]) == (PREFERRED / PAIRS, PAIRS)
    assert result["low"] < PREFERRED / PAIRS < result["high"]


MINIATURE = """
problems:
  splits:
    train: {{source: miniature, split: train, limit: 8}}
    test: {{source: miniature, split: test, limit: 24}}
teachers: {{base_url: miniature}}
ledger: {ledger}
sample: {{n: 2}}
train: {{max_steps: 3, problems_per_step: 4, rationales_per_problem: 2}}
infer: {{max_new_tokens: 32}}
evaluate: {{bootstrap: 100}}
arms: {{untrained: {{train: null}}, scotd: {{}}}}
"""


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """A finished run of the miniature: its teacher, a student, and that student before training."""
    folder = tmp_path_factory.mktemp("miniature")
    (folder / "recipe.yaml").write_text(MINIATURE.format(ledger=folder / "ledger.sqlite"))
    command = [sys.executable, "-m", "potstill", "run", str(folder / "recipe.yaml"), "--run", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # Playwright holds this thread's loop
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize(("better", "worse", "wins"), [("teacher", "scotd", 19), ("scotd", "untrained", 15)])
def test_a_raters_preference_among_the_miniatures_teacher_and_students_is_found(
    chromium, miniature, better, worse, wins
):
    """A scripted rater prefers one source on so many of 24 problems; equal texts are no difference; all by keys."""
    texts = {
        name: {
            row["problem_id"]: row["text"].strip() for row in read_lines(miniature / "predictions" / f"{name}.jsonl")
        }
        for name in (better, worse)
    }
    questions = {row["question"]: row["id"] for row in read_lines(miniature / "problems.jsonl")}
    desk = Desk(chromium, miniature)
    page = desk.window()
    page.goto(f"{desk.base}/compare")
    page.select_option("select[name=a]", better)
    page.select_option("select[name=b]", worse)
    page.click("main form button")
    favoured, marks = set(sorted(texts[better])[:wins]), []
    for number in range(24):
        page.wait_for_selector(f"text=Pair {number + 1} of 24.")
        problem = questions[page.inner_text("p.question")]
        shown = [squeezed(text) for text in page.locator(".pair .written").all_inner_texts()]
        good, bad = squeezed(texts[better][problem]), squeezed(texts[worse][problem])
        assert sorted(shown) == sorted((good, bad))
        marks.append(0.5 if good == bad else float(problem in favoured))
        page.keyboard.press("0" if good == bad else str(1 + shown.index(good if problem in favoured else bad)))
    truth = sum(marks) / 24
    page.wait_for_selector(".figure")
    result = json.loads(page.evaluate("fetch(location.pathname + '.json').then(r => r.text())"))
    desk.close()
    assert desk.troubles == []
    assert (result["judged_pairs"], result["rate"]) == (24, pytest.approx(truth))
    assert result["low"] <= truth <= result["high"]
    assert 0.2 < result["first_chosen"] < 0.8, "the sides were drawn"


def read_lines(path):
    """Return the rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def squeezed(text):
    """Return a text without white space, which a page may lay out anew, as long as a page shows it."""
    return "".join(text.split())


def test_hostile_texts_do_nothing_in_a_browser(chromium, tmp_path):
    """No script of theirs runs, no other host is asked, and they are seen as text."""
    desk = Desk(chromium, write_run(tmp_path / "hostile", TEXTS))
    page = desk.window()
    page.goto(f"{desk.base}/?stage=rationales&order=shortest")
    text = page.inner_text("main")
    assert "javascript:window.broken=1" in text
    for number in (1, 4, 9, 14, 20):
        page.goto(f"{desk.base}/?stage=rationales")
        page.click(f".row:nth-child({number}) > a")
        page.wait_for_selector("article.main")
        assert page.evaluate("window.broken") is None
        assert TEXTS[number - 1] in page.inner_text("article.main")
        page.keyboard.press("e")
        page.wait_for_selector("textarea")
        assert page.input_value("textarea") == TEXTS[number - 1]
    desk.close()
    assert desk.troubles == []
