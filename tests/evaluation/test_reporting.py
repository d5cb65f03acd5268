"""The report: one page that is complete, safe, offline and honest about what it is."""

import html.parser
import json
import re

import pytest

from potstill.errors import DataError
from potstill.evaluation.page.gathering import gather
from potstill.evaluation.reporting import headline, render, report
from potstill.files import write_records
from potstill.records import Problem, Rationale, Verdict

HOSTILE = (
    "<script>alert(1)</script>",
    "</p></div><img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "[click](javascript:alert(1))",
    '" onmouseover="alert(1)',
    "<!-- --><iframe src='https://example.com'></iframe>",
    "\u202egnp.exe",
    "nul\x00 bell\x07 escape\x1b[31m",
    "\ud800 lone surrogate",
    "&lt;already&gt; $main ${title} $",
    "a" + "\u0301" * 5000,
    "x" * 1_000_000,
)
ALLOWED_TAGS = frozenset(
    re.findall(
        r"\w+",
        """html head meta title style body a header main footer section article nav h1 h2 h3 h4 p span small div
        dl dt dd figure figcaption ul li b table thead tbody tr th td details summary pre
        code svg desc g line rect circle polyline polygon text tspan""",
    )
)


class Reader(html.parser.HTMLParser):
    """Collects tags and attributes, and checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open = set(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_a_report_shows_the_whole_run(made_run):
    """Headline, funnel, accuracy, curves, examples, cost, what was run and how to repeat it."""
    folder = made_run()
    path = report(folder)
    page = path.read_text(encoding="utf-8")
    assert path == folder / "report.html"
    assert len(page) < 1_000_000
    assert re.findall(r'<section id="(\w+)"', page) == [
        "headline", "funnel", "teacher", "accuracy", "n", "students", "pairs", "scores", "failures", "training",
        "cost", "run", "repeat",
    ]  # fmt: skip
    assert page.count("<svg") > 10


def test_the_headline_is_the_scored_difference(made_run):
    """The number on top is the one in scores.json, with its interval, p and n."""
    folder = made_run()
    pair = headline(gather(folder))
    rows = json.loads((folder / "scores.json").read_text())["comparisons"]
    (expected,) = [
        r for r in rows if (r["a"], r["b"], r["split"], r["metric"]) == ("scotd", "answer_only", "test", "accuracy")
    ]
    assert (pair.difference, pair.p, pair.n) == (expected["difference"], expected["p"], expected["n"])
    page = report(folder).read_text()
    assert f'<p class="effect">{100 * pair.difference:+.1f}<small>points</small></p>' in page


@pytest.mark.parametrize("kind", ["made_run", "mixed_run"])
def test_every_row_of_the_scores_is_in_the_report(request, kind):
    """Nothing scored is left out of the table, and the interval stands beside it."""
    folder = request.getfixturevalue(kind)(seeds=2)
    page = report(folder).read_text()
    for row in json.loads((folder / "scores.json").read_text())["scores"]:
        if row["seed"] is None:
            assert f"{100 * row['value']:.1f}" in page
            assert f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]" in page


@pytest.mark.parametrize("kind", ["made_run", "mixed_run"])
def test_the_page_asks_nothing_of_anywhere(request, kind):
    """No script, no link out, no image, no font, and a policy that would forbid them."""
    page = report(request.getfixturevalue(kind)()).read_text()
    reader = read(page)
    assert reader.tags <= ALLOWED_TAGS
    assert "default-src 'none'" in page
    targets = [value for name, value in reader.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert all(value.startswith("#") for value in targets)
    assert not re.search(r"url\(|@import|https?://", page)


def test_what_a_model_wrote_is_text(tmp_path):
    """Hostile rationales, questions and names are shown, and nothing in them becomes markup."""
    problems, rationales, verdicts, drops = [], [], [], []
    for at, text in enumerate(HOSTILE):
        problems.append(Problem(id=f"p{at}", question=f"{text[:3000]} question", answer=text[:300]))
        rationales.append(Rationale(id=f"r{at}", problem_id=f"p{at}", kind="cot", text=text, author=text[:100]))
        verdicts.append(Verdict(rationale_id=f"r{at}", status="WRONG", answer=text[:500]))
    write_records(tmp_path / "problems.jsonl", problems)
    write_records(tmp_path / "rationales.jsonl", rationales)
    write_records(tmp_path / "verdicts.jsonl", verdicts)
    write_records(tmp_path / "dropped.jsonl", drops)
    title = json.dumps("<script>alert(2)</script> $main")
    (tmp_path / "recipe.yaml").write_text(f"report: {{title: {title}, examples: 40}}\nmethod: <b>\n")
    page = report(tmp_path).read_text(encoding="utf-8")
    reader = read(page)
    assert reader.tags <= ALLOWED_TAGS
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "[U+202E]gnp.exe" in page
    assert "998,400 more characters" in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", page)
    assert "\u0301" * 5 not in page
    assert len(page) < 200_000
    twin = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "# \\<script\\>alert(2)" in twin
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", twin)


@pytest.mark.parametrize(
    "name",
    ["problems.jsonl", "rationales.jsonl", "verdicts.jsonl", "dropped.jsonl", "manifest.json", "recipe.yaml",
     "scores.json"],
)  # fmt: skip
def test_any_one_file_may_be_absent(made_run, name):
    """A section without data is left out; the rest is there."""
    folder = made_run()
    (folder / name).unlink()
    read(report(folder).read_text())


def test_a_run_that_has_only_begun_has_a_report(tmp_path):
    """It says that there are no scores yet."""
    (tmp_path / "manifest.json").write_text('{"schema_version": 1, "stages": {}}')
    page = report(tmp_path).read_text()
    assert "No scores yet" in page
    assert re.findall(r'<section id="(\w+)"', page) == ["headline", "run", "repeat"]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    """The message says what a run directory is."""
    with pytest.raises(DataError, match=r"no manifest\.json, recipe\.yaml or scores\.json in it; give a run directory"):
        report(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        report(tmp_path / "nowhere")


def test_a_miniature_says_so_everywhere(made_run):
    """On top, under every figure, at the end; a real run says it nowhere."""
    folder = made_run()
    page = report(folder).read_text()
    assert page.count("not evidence for the paper") == 2 + page.count("<figcaption")
    recipe = (folder / "recipe.yaml").read_text().replace("miniature", "real")
    (folder / "recipe.yaml").write_text(recipe)
    assert "not evidence" not in report(folder).read_text()


def test_an_interval_around_zero_is_called_no_difference(made_run):
    """The sentence says no more than the interval does."""
    folder = made_run()
    rows = json.loads((folder / "scores.json").read_text())
    for row in rows["comparisons"]:
        row.update(difference=0.01, low=-0.05, high=0.07, p=0.7)
    (folder / "scores.json").write_text(json.dumps(rows))
    assert "The interval includes zero: this run does not show a difference." in report(folder).read_text()


def test_a_second_report_of_the_same_run_is_the_same(made_run):
    """Examples are chosen by a hash."""
    facts = gather(made_run())
    assert render(facts) == render(gather(facts.folder))


def test_secrets_in_headers_are_not_shown(made_run):
    """A resolved recipe may hold a header that grants access."""
    folder = made_run()
    text = (folder / "recipe.yaml").read_text().replace("headers: {}", "headers:\n    Authorization: Bearer abc123")
    assert "abc123" in text
    (folder / "recipe.yaml").write_text(text)
    assert "abc123" not in report(folder).read_text()


def test_a_run_of_mixed_distillation_opens_with_mixed_against_the_ensemble(mixed_run):
    """By vote, with the number of paths; every system is first shown by its vote where it has one."""
    folder = mixed_run()
    facts = gather(folder)
    pair = headline(facts)
    assert (pair.a, pair.b, pair.split, pair.path) == ("mixed", "ensemble", "test", "vote")
    page = report(folder).read_text()
    assert "potstill · Mixed Distillation" in page
    assert "<h2>Mixed against ensemble</h2>" in page
    assert "by a vote over 4 paths each; an ensemble of two students with one skill each" in page
    assert "SCoTD, N = 12 (vote): " in page
    assert re.findall(r'<section id="(\w+)"', page) == [
        "headline", "funnel", "teacher", "skills", "ways", "accuracy", "students", "pairs", "scores", "failures",
        "cost", "run", "repeat",
    ]  # fmt: skip


def test_a_vote_is_not_drawn_beside_single_answers(mixed_run):
    """In a run about SCoTD the ensemble, which only votes, is no bar among greedy answers, and the page says so."""
    folder = mixed_run()
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("method: mixed_distillation", "method: scotd"))
    page = report(folder).read_text()
    (words,) = re.findall(r"<title>Percent of test problems right</title><desc>([^<]*)</desc>", page)
    assert "mixed (CoT): " in words
    assert "ensemble" not in words
    assert "Votes are not shown beside single answers; ensemble: see all scores." in page


@pytest.mark.parametrize("name", ["problems.jsonl", "recipe.yaml", "predictions/mixed.jsonl", "verdicts/pot.jsonl"])
def test_a_mixed_run_may_lack_any_one_file(mixed_run, name):
    """The page is made of what is there."""
    folder = mixed_run()
    (folder / name).unlink()
    read(report(folder).read_text())


def test_a_program_that_a_model_wrote_is_text(mixed_run):
    """Markup inside a program is shown, not interpreted."""
    folder = mixed_run()
    for path in (folder / "predictions/mixed.jsonl", folder / "rationales.jsonl"):
        path.write_text(path.read_text().replace("return jars", "return '</code></pre><script>alert(1)</script>'"))
    page = report(folder).read_text()
    assert read(page).tags <= ALLOWED_TAGS
    assert "&lt;/code&gt;&lt;/pre&gt;&lt;script&gt;" in page
