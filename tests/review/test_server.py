"""The review over real requests: pages, decisions, and who may ask."""

import asyncio
import json
import re
from html.parser import HTMLParser

import aiohttp
import pytest
from hostile import TEXTS
from small_runs import opened, write_lines, write_run

from potstill.errors import ConfigError, DataError
from potstill.review import decisions
from potstill.review.indexing import index_once
from potstill.review.queries import item
from potstill.review.server import Review, serving


class Markup(HTMLParser):
    """What a browser would see: tags, their attributes, and text."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


async def test_the_list_shows_what_was_written_and_what_is_known(run):
    """Verdict, author, kind, drop and text of each record."""
    async with opened(run) as (_, reader):
        status, page = await reader.get("/")
    text = " ".join(Markup(page).text)
    assert status == 200
    for part in (
        "3 and 4 is 7.",
        "✓ right answer: 7",
        "✗ wrong answer: 12",
        "dropped: wrong",
        "big",
        "CoT",
        "3 records",
    ):
        assert part in text


async def test_a_rationale_is_shown_with_its_problem_its_votes_and_the_others(run):
    """Side by side, programs with colours and with what running them gave."""
    async with opened(run) as (review, reader):
        _, page = await reader.get("/item/" + str(number(review, "r-p1-cot-0")))
    text = " ".join("".join(Markup(page).text).split())
    for part in (
        "Ann has 3 red apples and 4 green ones",
        "gold answer: 7",
        "7 1×",
        "12 1×",
        "running it gave 7",
        "What the teacher wrote (2 beside)",
    ):
        assert part in text
    assert '<span class="t-comment"># apples</span>' in page


async def test_predictions_stand_beside_each_other_before_and_after(run):
    """The student before training comes first."""
    async with opened(run) as (review, reader):
        _, page = await reader.get("/item/" + str(number(review, "p2")))
    assert page.index("Hm.") < page.index("It is 7.")


async def test_an_examples_target_is_marked(run):
    """The prompt carries no loss; a forced beginning is underlined."""
    async with opened(run) as (review, reader):
        _, page = await reader.get("/item/" + str(number(review, "e1")))
    assert "A:<mark><u> Think.</u> 3 and 4 is 7.</mark>" in page
    assert f'href="/item/{number_of(run, "r-p1-cot-0")}"' in page


async def test_a_changed_problem_is_shown_as_a_difference_with_its_family(run):
    """Word by word, and whether the answer changed."""
    async with opened(run) as (review, reader):
        _, page = await reader.get("/item/" + str(number(review, "p3")))
    assert "<del>4</del><ins>9</ins>" in page
    assert '<del>7</del><ins>12</ins> <span class="soft">changed</span>' in page
    assert "Its family: 2 problems" in page


@pytest.mark.parametrize("kind", ["cot", "pot"])
async def test_fifty_hostile_texts_are_text(tmp_path, kind):
    """On the list, on their own pages, in the editor and in a comparison no tag or handler of theirs appears."""
    folder = write_run(tmp_path / "hostile", TEXTS)
    rows = [{**json.loads(line), "kind": kind} for line in (folder / "rationales.jsonl").read_text().splitlines()]
    write_lines(folder / "rationales.jsonl", rows)
    async with opened(folder) as (review, reader):
        numbers = [row[0] for row in review.index.execute("SELECT n FROM items WHERE stage = 'rationales'")]
        pages = [
            await reader.get("/"),
            await reader.get("/?page=2"),
            *[await reader.get(f"/item/{n}") for n in numbers[::5]],
        ]
        pages += [await reader.get(f"/item/{n}/edit") for n in numbers[::5]]
        found = [row[0] for row in review.index.execute("SELECT id FROM items WHERE stage = 'rationales'")]
    assert len(found) == len(TEXTS) + 1
    for status, page in pages:
        seen = Markup(page)
        assert status == 200
        assert not seen.tags & {"img", "svg", "iframe", "style", "math", "base", "object"}
        assert page.count("<script") == 1
        assert [
            name for name, value in seen.attributes if name.startswith("on") or str(value).startswith("javascript:")
        ] == []
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)


async def test_a_long_text_is_cut_and_can_be_seen_whole(tmp_path):
    """A million characters are not sent with every list."""
    folder = write_run(tmp_path / "long", ["x" * 1_000_000])
    async with opened(folder) as (review, reader):
        n = number(review, "r-p1-cot-0")
        sizes = [len((await reader.get(path))[1]) for path in ("/", f"/item/{n}", f"/item/{n}?whole=1")]
    assert sizes[0] < 60_000
    assert sizes[1] < 60_000
    assert sizes[2] > 1_000_000


async def test_every_page_forbids_scripts_but_its_own_and_other_hosts(run):
    """By a policy on every answer, refusals too."""
    async with opened(run) as (_, reader):
        for path in ("/", "/compare", "/item/99999", "/nowhere", "/static/review.js"):
            async with reader.session.get(reader.base + path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'; script-src 'self'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_only_who_has_the_token_may_ask(run):
    """Neither a page nor a decision without it."""
    async with opened(run) as (review, reader), aiohttp.ClientSession() as stranger:
        for path in ("/", "/?token=wrong", "/static/review.js"):
            async with stranger.get(reader.base + path) as answer:
                assert answer.status == 403
                assert "apples" not in await answer.text()
        async with stranger.post(f"{reader.base}/decide?token={review.token}", data={"n": 1}) as answer:
            assert answer.status == 403
        cookies = [c for c in reader.session.cookie_jar if c.key.startswith("potstill_token")]
        assert [(c["samesite"], c["httponly"]) for c in cookies] == [("Strict", True)]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80", ""])
async def test_a_foreign_host_is_refused(run, host):
    """A name elsewhere that points to this machine opens nothing."""
    async with opened(run) as (_, reader):
        status, text = await reader.get("/", headers={"Host": host})
    assert status in (400, 421)
    assert "apples" not in text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://127.0.0.1"},
    ],
)
async def test_another_page_cannot_decide(run, headers):
    """Even with the cookie."""
    async with opened(run) as (_, reader):
        status, _ = await reader.post("/decide", {"n": "1", "action": "accept"}, headers=headers)
    assert status == 403
    assert not (run / decisions.FILE).exists()


async def test_a_decision_is_on_disk_before_it_is_confirmed(run):
    """With who, when and why; the list shows it, and it can be taken back."""
    async with opened(run) as (review, reader):
        row = row_of(review, "r-p1-cot-0")
        answer = await reader.decide(row, "reject", reason="guessed")
        assert answer == {"n": row["n"], "state": "rejected", "words": "✗ rejected"}
        (made,) = decisions.rows_of(run)
        assert (made["by"], made["reason"], made["record"], made["stage"]) == (
            "Ada",
            "guessed",
            "r-p1-cot-0",
            "rationales",
        )
        assert made["at"].endswith("Z")
        assert "✗ rejected" in (await reader.get("/"))[1]
        assert (await reader.post("/undo"))[0] == 303
        assert "✗ rejected" not in (await reader.get("/"))[1]


async def test_two_servers_on_one_run_see_each_others_decisions(run):
    """Each at its next page, and a dispute is shown as one."""
    async with opened(run) as (first, ada), opened(run, "Bo") as (_, bo):
        row = row_of(first, "r-p1-cot-0")
        await ada.decide(row, "accept")
        assert "✓ accepted" in (await bo.get("/"))[1]
        assert (await bo.decide(row, "reject"))["state"] == "disputed"
        assert "⚑ disputed" in (await ada.get("/"))[1]


async def test_nobody_undoes_the_decision_of_another(run):
    """The message says whose can be."""
    async with opened(run) as (review, ada), opened(run, "Bo") as (_, bo):
        await ada.decide(row_of(review, "r-p1-cot-0"), "accept")
        (made,) = decisions.rows_of(run)
        status, page = await bo.post("/undo", {"undoes": made["id"]})
    assert status == 400
    assert "Bo has no decision to take back" in page


async def test_a_reviewer_without_a_name_is_asked_for_one(run):
    """Nothing is written; with a name given on the page it is."""
    async with opened(run, reviewer="") as (review, reader):
        row = row_of(review, "r-p1-cot-0")
        answer = await reader.decide(row, "accept")
        assert "a decision needs the name of who made it" in answer["error"]
        assert not (run / decisions.FILE).exists()
        await reader.post("/name", {"name": "Zoë <b>", "next": "/"})
        await reader.decide(row, "accept")
        assert "Zoë &lt;b&gt;" in (await reader.get("/"))[1]
    assert [made["by"] for made in decisions.rows_of(run)] == ["Zoë <b>"]


async def test_an_edit_stands_beside_what_the_model_wrote(run):
    """Shown as a difference; an empty one is refused."""
    before = (run / "rationales.jsonl").read_bytes()
    async with opened(run) as (review, reader):
        row = row_of(review, "r-p1-cot-0")
        assert "the edited text is empty" in (await reader.decide(row, "edit", text=" \n"))["error"]
        assert (await reader.decide(row, "edit", text="3 and 4 is seven."))["state"] == "edited"
        _, page = await reader.get(f"/item/{row['n']}")
        assert "<del>7</del><ins>seven</ins>" in page
        assert "only the teacher&#x27;s rationales can be edited" not in page
        other = await reader.decide(row_of(review, "scotd-p2"), "edit", text="x")
    assert "only the teacher's rationales can be edited" in other["error"]
    assert (run / "rationales.jsonl").read_bytes() == before


async def test_a_page_older_than_the_run_decides_nothing(run):
    """A record that is another one by now is not judged by mistake."""
    async with opened(run) as (review, reader):
        row = {**dict(row_of(review, "r-p1-cot-0")), "id": "another"}
        assert "another record than the page showed" in (await reader.decide(row, "accept"))["error"]
        assert (
            "not known; expected one of accept" in (await reader.decide(row_of(review, "r-p1-cot-0"), "drop"))["error"]
        )


async def test_nothing_leads_out_of_the_review(run):
    """Where to go on after a decision is a path of its own."""
    async with opened(run) as (_, reader):
        for path in ("//evil.example", "http://evil.example", "/\\evil.example", "javascript:1"):
            async with reader.session.post(
                reader.base + "/name", data={"name": "A", "next": path}, allow_redirects=False
            ) as answer:
                assert answer.headers["Location"] == "/"


async def test_a_run_that_is_still_being_written_is_shown_as_far_as_it_is_read(run):
    """The first page does not wait for the index."""
    review = Review(run, "Ada")
    review.port = 1
    assert any("Still reading the run: 0 %" in said for said in review.notices())
    review.index.close()


async def test_the_index_follows_a_growing_run(run, monkeypatch):
    """Without a restart."""
    monkeypatch.setattr("potstill.review.indexing.POLL_S", 0.05)
    async with opened(run, index=False) as (_, reader):
        with (run / "rationales.jsonl").open("a") as file:
            file.write(json.dumps({"id": "late", "problem_id": "p1", "kind": "cot", "text": "written later"}) + "\n")
        for _ in range(200):
            if "written later" in (await reader.get("/"))[1]:
                break
            await asyncio.sleep(0.05)
        assert "written later" in (await reader.get("/"))[1]


async def test_a_run_that_holds_nothing_yet_is_shown(run):
    """Its first files may be there and empty; nothing is being read then."""
    for path in run.rglob("*.jsonl"):
        path.write_text("")
    async with opened(run) as (_, reader):
        status, page = await reader.get()
        assert status == 200
        assert "Nothing passes these filters" in page
        assert "Still reading" not in page


async def test_lines_that_cannot_be_shown_are_told(run):
    """With the place of the first."""
    with (run / "rationales.jsonl").open("a") as file:
        file.write("{broken\n")
    async with opened(run) as (_, reader):
        assert "1 line of rationales.jsonl cannot be shown; the first: rationales.jsonl:4" in (await reader.get("/"))[1]


async def test_a_port_in_use_is_one_message(run):
    """It names the option."""
    async with opened(run) as (review, _):
        with pytest.raises(ConfigError, match=rf"review: port {review.port} cannot be used .* another with --port"):
            async with serving(Review(run), review.port):
                pass


async def test_filters_work_before_their_values_are_counted(run):
    """A run that is still being read can be filtered already."""
    async with opened(run) as (review, reader):
        review.index.execute("DELETE FROM facets")
        status, page = await reader.get("/?status=WRONG&order=next")
        assert status == 200
        assert "3 times 4 is 12." in page
        assert "Still reading the run: 100 %" in page


async def test_a_wrong_filter_is_one_message(run):
    """On a page, not a stack trace."""
    async with opened(run) as (_, reader):
        status, page = await reader.get("/?order=best")
    assert status == 400
    assert "order: got &#x27;best&#x27;; expected one of file, next" in page


async def test_a_comparison_goes_from_pair_to_pair_to_its_result(run):
    """The sources are on none of its pages until the result."""
    async with opened(run) as (_, reader):
        _, page = await reader.get("/compare")
        assert 'value="untrained"' in page
        async with reader.session.post(reader.base + "/compare", data={"a": "scotd", "b": "untrained"}) as answer:
            address, page = answer.url.path, await answer.text()
        for _ in range(2):
            assert "scotd" not in page
            assert "untrained" not in page
            first = page.index("It is 7.") < page.index("Hm.")
            problem = re.search(r'name="problem" value="([^"]+)"', page)[1]
            data = {"problem": problem, "choice": "first" if first else "second"}
            async with reader.session.post(reader.base + address, data=data) as answer:
                page, end = await answer.text(), answer.url.path
        assert end == f"{address}/result"
        assert "scotd and untrained" in page
        result = json.loads((await reader.get(f"{address}/result.json"))[1])
    assert (result["rate"], result["judged_pairs"], result["raters"]) == (1.0, 2, {"Ada": {"a": 2}})


async def test_calibration_and_history_are_pages_and_json(run):
    """A decision made in the random order counts."""
    async with opened(run) as (review, reader):
        _, page = await reader.get("/?order=calibration")
        assert 'name="queue" value="calibration"' in page
        await reader.decide(row_of(review, "r-p1-cot-0"), "accept", queue="calibration")
        found = json.loads((await reader.get("/calibration.json"))[1])
        assert [(row["kind"], row["right_accepted"]) for row in found] == [("cot", 1)]
        assert "chains of thought" in (await reader.get("/calibration"))[1]
        _, page = await reader.get("/decisions")
    assert "accept rationales" in page


def test_a_folder_that_is_no_run_is_said(tmp_path):
    """Before a port is opened."""
    with pytest.raises(DataError, match="give a run directory"):
        Review(tmp_path)


def number(review, id):
    return row_of(review, id)["n"]


def number_of(folder, id):
    review = Review(folder)
    found = number(review, id)
    review.index.close()
    return found


def row_of(review, id):
    (n,) = review.index.execute("SELECT n FROM items WHERE id = ?", (id,)).fetchone()
    return item(review.index, n)


def test_the_index_is_made_from_the_command_line_too(run):
    """`index_once` leaves nothing running."""
    index_once(run)
    assert (run / ".review" / "index.sqlite").exists()
