"""Sampling against fakes and against a real server over HTTP, with its books as witness."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from importlib import resources

import pytest

from potstill.errors import BudgetError, ConfigError, DataError, RefusedError, TeacherError, TooManyFailures
from potstill.files import read_records, write_records
from potstill.rationales.sampling import sample, sample_to_file
from potstill.recipe.teachers import BudgetConfig, SampleConfig, TeacherConfig
from potstill.records import Problem, Rationale
from potstill.streams import collect
from potstill.teachers.base import Completion
from potstill.teachers.fakes import FakeTeacher
from potstill.teachers.ledger import Ledger

PROBLEMS = [Problem(id=f"p{i}", question=f"What is {i} + 1?", answer=f"{i + 1}") for i in range(20)]
ZERO_SHOT = SampleConfig(n=3, template="zero_shot")


def teacher_of(server, **changes):
    settings = {"base_url": server.base_url, "model": "m", "api_key_env": None, "seed": 7, "timeout_s": 20.0}
    return TeacherConfig(**{**settings, **changes})


def into(out, teacher, config=ZERO_SHOT, problems=PROBLEMS, ledger=None, **options):
    """Sample into a file with a ledger beside it; returns (counts, rows)."""

    async def run():
        with Ledger(ledger or out.with_name("ledger.db")) as books:
            return await sample_to_file(problems, teacher, config, out, ledger=books, **options)

    return asyncio.run(run()), list(read_records(out, Rationale))


def keys(rows):
    return sorted((row.problem_id, row.kind, row.index) for row in rows)


def planned(problems=PROBLEMS, n=3, kinds=("cot",)):
    return sorted((p.id, kind, i) for p in problems for kind in kinds for i in range(n))


async def test_every_index_ends_as_one_rationale_that_knows_its_problem():
    """With request, author, usage and finish as the teacher gave them."""
    teacher = FakeTeacher(lambda request, index: f"{request.problem_id} {index}", author="fake-1")
    rows = await collect(sample(PROBLEMS, teacher, ZERO_SHOT.model_copy(update={"kinds": ("cot", "answer")})))
    assert keys(rows) == planned(kinds=("answer", "cot"))
    assert all(row.text == f"{row.problem_id} {row.index}" for row in rows)
    assert all(row.problem is PROBLEMS[int(row.problem_id[1:])] for row in rows)
    assert {(row.author, row.finish, row.usage["completion_tokens"]) for row in rows} == {("fake-1", "stop", 2)}
    assert len({row.id for row in rows}) == len(rows)
    assert len({row.request for row in rows}) == 40


def test_it_can_be_read_with_a_plain_for():
    """From a script or a notebook."""
    assert len(list(sample(PROBLEMS[:2], FakeTeacher(lambda *_: "t"), SampleConfig(n=2)))) == 4


async def test_what_is_done_is_skipped():
    """Resuming by (problem, kind, index)."""
    teacher = FakeTeacher(lambda *_: "t")
    done = {("p0", "cot", 0), ("p0", "cot", 1), ("p1", "cot", 0)}
    rows = await collect(sample(PROBLEMS[:2], teacher, SampleConfig(n=2), done=done))
    assert keys(rows) == [("p1", "cot", 1)]
    assert [indices for _, indices in teacher.calls] == [(1,)]


async def test_one_problems_failure_stops_no_other():
    """A bug in one row becomes that row's recorded error."""

    def write(request, index):
        if request.problem_id == "p3":
            message = "surrogates not allowed"
            raise ValueError(message)
        return "t"

    config = SampleConfig(n=2, max_failed_frac=0.1)
    rows = await collect(sample(PROBLEMS, FakeTeacher(write), config))
    failed = [row for row in rows if row.finish == "error"]
    assert keys(rows) == planned(n=2)
    assert [(row.problem_id, row.text, row.reason) for row in failed] == [
        ("p3", "", "ValueError: surrogates not allowed")
    ] * 2


async def test_too_many_failures_are_said_at_the_end():
    """Every row has been yielded by then."""

    def write(request, index):
        return Completion(text="", finish="refused", reason="filter") if request.problem_id < "p12" else "t"

    rows = []
    with pytest.raises(TooManyFailures, match=r"12 of 60 rows have no text \(the last one: refused: filter\)"):
        async for row in sample(PROBLEMS, FakeTeacher(write), SampleConfig(n=3)):
            rows.append(row)
    assert keys(rows) == planned()


async def test_a_hopeless_sampling_stops_early():
    """A teacher that gives nothing is not asked ten thousand times."""
    problems = [Problem(id=f"p{i}", question="q") for i in range(10_000)]
    teacher = FakeTeacher(lambda *_: Completion(text="", finish="error", reason="broken"))
    with pytest.raises(TooManyFailures, match="stopped early"):
        await collect(sample((p for p in problems), teacher, SampleConfig(n=1)))
    assert len(teacher.calls) < 1_000


async def test_the_users_error_is_raised_at_once():
    """A wrong key is no row's failure."""
    with pytest.raises(RefusedError, match="401"):
        await collect(sample(PROBLEMS, FakeTeacher(lambda *_: RefusedError("401", 401)), SampleConfig(n=1)))


async def test_a_reached_budget_lets_what_is_in_flight_arrive():
    """What has been paid for is yielded, then the error is raised."""

    class Slow(FakeTeacher):
        async def complete(self, request, indices):
            if request.problem_id == "p2":
                message = "budget reached"
                raise BudgetError(message)
            await asyncio.sleep(0.05)
            return await super().complete(request, indices)

    rows = []
    teacher = Slow(lambda *_: "t")
    teacher_config = TeacherConfig(base_url="http://localhost", max_concurrency=1)
    with pytest.raises(BudgetError, match="budget reached"):
        async for row in sample(PROBLEMS, teacher, SampleConfig(n=1), teacher_config=teacher_config):
            rows.append(row)
    assert {"p0", "p1"} <= {row.problem_id for row in rows}
    assert len(rows) == len(teacher.calls) < len(PROBLEMS)


async def test_at_most_so_many_calls_run_at_once_and_leaving_early_cancels_them():
    """Never a task per row of the data set."""
    running = most = 0

    class Counting(FakeTeacher):
        async def complete(self, request, indices):
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(0.001)
                return await super().complete(request, indices)
            finally:
                running -= 1

    problems = [Problem(id=f"p{i}", question="q") for i in range(1_000)]
    teacher_config = TeacherConfig(base_url="http://localhost", max_concurrency=4)
    stream = aiter(sample(problems, Counting(lambda *_: "t"), SampleConfig(n=1), teacher_config=teacher_config))
    for _ in range(50):
        await anext(stream)
    await stream.aclose()
    assert (most, running) == (16, 0)


def test_a_teacher_configuration_is_opened_with_the_users_ledger(teacher_server):
    """The second time everything comes from it."""
    server = teacher_server()
    for _ in range(2):
        rows = list(sample(PROBLEMS[:3], teacher_of(server), ZERO_SHOT))
        assert keys(rows) == planned(PROBLEMS[:3])
    assert server.stats()["billed_completions"] == 9


def test_a_file_holds_one_line_per_index_and_a_second_run_does_nothing(teacher_server, tmp_path):
    """Not a request, not a byte."""
    server, out = teacher_server(), tmp_path / "out.jsonl"
    counts, rows = into(out, teacher_of(server))
    assert keys(rows) == planned()
    assert (counts["rationales"], counts["failed"], counts["finish_stop"]) == (60, 0, 60)
    assert counts["completion_tokens"] == sum(row.usage["completion_tokens"] for row in rows)
    before = out.read_bytes()
    again, _ = into(out, teacher_of(server))
    assert out.read_bytes() == before
    assert (again["rationales"], again["requests"]) == (60, 0)
    assert server.stats()["requests"] == 60


def test_a_new_file_is_filled_from_the_ledger(teacher_server, tmp_path):
    """Same lines in another order, nothing bought."""
    server = teacher_server()
    _, first = into(tmp_path / "a.jsonl", teacher_of(server))
    counts, second = into(tmp_path / "b.jsonl", teacher_of(server))
    assert sorted(row.id for row in first) == sorted(row.id for row in second)
    assert (counts["from_ledger"], server.stats()["requests"]) == (60, 60)


def test_an_added_row_buys_one_and_a_changed_system_prompt_buys_all(teacher_server, tmp_path):
    """And the texts of the old prompt are set aside, not lost."""
    server, out = teacher_server(), tmp_path / "out.jsonl"
    config = ZERO_SHOT.model_copy(update={"n": 1})
    into(out, teacher_of(server), config)
    more = [*PROBLEMS, Problem(id="new", question="What is new?")]
    _, rows = into(out, teacher_of(server), config, more)
    assert keys(rows) == planned(more, n=1)
    assert server.stats()["billed_completions"] == 21
    _, rows = into(out, teacher_of(server), config.model_copy(update={"system": "Be brief."}), more)
    assert keys(rows) == planned(more, n=1)
    assert server.stats()["billed_completions"] == 42
    assert len(list(read_records(tmp_path / "out.superseded.jsonl", Rationale))) == 21
    assert server.stats()["dup_requests"] == 0


def test_a_higher_cap_buys_only_what_was_cut(teacher_server, tmp_path):
    """A text that ended by itself stays; `length` is recorded as such."""
    server, out = teacher_server(p_length=0.4), tmp_path / "out.jsonl"
    _, rows = into(out, teacher_of(server, max_tokens=100))
    cut = Counter(row.finish for row in rows)["length"]
    assert 0 < cut < 60
    server.config(p_length=0.0)
    _, rows = into(out, teacher_of(server, max_tokens=200))
    assert keys(rows) == planned()
    assert {row.finish for row in rows} == {"stop"}
    assert server.stats()["billed_completions"] == 60 + cut


@pytest.mark.parametrize("n_mode", ["honour", "ignore", "reject"])
def test_several_choices_per_request_are_topped_up(teacher_server, tmp_path, n_mode):
    """Whatever the server makes of n, every index has its line and nothing is bought twice."""
    server = teacher_server(n_mode=n_mode)
    _, rows = into(tmp_path / "out.jsonl", teacher_of(server, n=3))
    assert keys(rows) == planned()
    assert server.stats()["dup_requests"] == 0
    assert server.stats()["billed_completions"] == 60


def test_every_row_ends_under_faults(teacher_server, tmp_path):
    """The issue's mix: each row with a text or a reason, and only what broke on the way was bought again."""
    server = teacher_server(
        p_429=0.05, p_500=0.03, p_trunc=0.02, p_drop=0.02, p_html=0.01, p_empty=0.01, slow=0.03, slow_s=0.2,
        retry_after=0.01,
    )  # fmt: skip
    problems = [Problem(id=f"p{i}", question=f"What is {i}?") for i in range(150)]
    counts, rows = into(tmp_path / "out.jsonl", teacher_of(server), ZERO_SHOT.model_copy(update={"n": 2}), problems)
    stats = server.stats()
    assert keys(rows) == planned(problems, n=2)
    assert all(row.text or row.reason for row in rows)
    assert counts["failed"] == stats["faults"].get("empty", 0)
    assert stats["dup_requests"] == stats["faults"]["drop"] + stats["faults"]["trunc"]
    assert set(stats["faults"]) >= {"429", "500", "trunc", "drop"}


def test_failed_rows_are_kept_with_their_reason_and_count_when_run_again(teacher_server, tmp_path):
    """Empty answers were paid for: they are not bought again unless asked for, and the limit still counts them."""
    server, out = teacher_server(p_empty=1.0), tmp_path / "out.jsonl"
    for _ in range(2):
        with pytest.raises(TooManyFailures, match="60 of 60 rows"):
            into(out, teacher_of(server))
        rows = list(read_records(out, Rationale))
        assert keys(rows) == planned()
        assert {(row.finish, row.text, bool(row.reason)) for row in rows} == {("empty", "", True)}
    assert server.stats()["billed_completions"] == 60
    server.config(p_empty=0.0)
    counts, rows = into(out, teacher_of(server), ZERO_SHOT.model_copy(update={"retry_failed": True}))
    assert (counts["failed"], keys(rows), server.stats()["billed_completions"]) == (0, planned(), 120)


def test_errors_are_asked_for_again_by_the_next_run(teacher_server, tmp_path):
    """A server that was broken and is mended."""
    server, out = teacher_server(), tmp_path / "out.jsonl"
    teacher = teacher_of(server, max_retries=0)
    into(out, teacher, problems=PROBLEMS[:10])
    server.config(p_500=1.0)
    with pytest.raises(TooManyFailures, match="30 of 60"):
        into(out, teacher)
    assert keys(read_records(out, Rationale)) == planned()
    server.config(p_500=0.0)
    counts, rows = into(out, teacher)
    assert (counts["failed"], keys(rows)) == (0, planned())
    assert server.stats()["dup_requests"] == 0


def test_a_budget_stops_and_resumes(teacher_server, tmp_path):
    """What was bought is in the file; a higher budget buys the rest, once."""
    server, out = teacher_server(), tmp_path / "out.jsonl"
    teacher = teacher_of(server, max_concurrency=2, max_tokens=60)
    with pytest.raises(BudgetError):
        into(out, teacher, budget=BudgetConfig(tokens=2_000), run="r")
    bought = list(read_records(out, Rationale))
    assert 0 < len(bought) < 60
    assert len(bought) == server.stats()["billed_completions"]
    _, rows = into(out, teacher, budget=BudgetConfig(tokens=2_000_000), run="r")
    assert keys(rows) == planned()
    assert (server.stats()["billed_completions"], server.stats()["dup_requests"]) == (60, 0)


def test_a_kill_loses_nothing_and_buys_at_most_what_was_in_flight_twice(teacher_server, tmp_path):
    """SIGKILL of the group at two moments, then a run to the end; two teachers; the server's books are the witness."""
    server, out = teacher_server(latency=0.02), tmp_path / "out.jsonl"
    script = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from potstill.rationales.sampling import sample_to_file
        from potstill.recipe.teachers import SampleConfig, TeacherConfig
        from potstill.records import Problem
        from potstill.teachers.ledger import Ledger
        url, folder = sys.argv[1], Path(sys.argv[2])
        problems = [Problem(id=f"p{i}", question=f"What is {i}?") for i in range(200)]
        each = {"base_url": url, "api_key_env": None, "seed": 7, "max_concurrency": 4}
        teachers = [(TeacherConfig(model=name, weight=weight, **each), None) for name, weight in (("a", 2), ("b", 1))]
        config = SampleConfig(n=2, template="zero_shot")
        async def run():
            with Ledger(folder / "ledger.db") as ledger:
                await sample_to_file(problems, teachers, config, folder / "out.jsonl", ledger=ledger)
        asyncio.run(run())
        """
    )
    command = [sys.executable, "-c", script, server.base_url, str(tmp_path)]
    kills = 0
    for bought in (40, 220):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        while server.stats()["billed_completions"] < bought and process.poll() is None:
            time.sleep(0.005)
        if process.poll() is None:
            kills += 1
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    problems = [Problem(id=f"p{i}", question="") for i in range(200)]
    assert kills == 2
    assert keys(read_records(out, Rationale)) == planned(problems, n=2)
    assert server.stats()["dup_requests"] <= 2 * 2 * 8


def test_a_replay_needs_no_ledger(tmp_path):
    """Recorded rationales go the same way, and resume."""
    recorded = [
        Rationale(id=f"{p.id}-{i}", problem_id=p.id, kind="cot", text=f"{p.id}.{i}", index=i, author="old")
        for p in PROBLEMS
        for i in range(3)
    ]
    write_records(tmp_path / "recorded.jsonl", recorded)
    teacher, out = TeacherConfig(replay=str(tmp_path / "recorded.jsonl")), tmp_path / "out.jsonl"
    for _ in range(2):
        asyncio.run(sample_to_file(PROBLEMS, teacher, ZERO_SHOT, out, ledger=None))
        rows = list(read_records(out, Rationale))
        assert keys(rows) == planned()
        assert all(row.text == f"{row.problem_id}.{row.index}" for row in rows)


def test_a_replay_gives_what_is_recorded_and_no_failure_for_the_rest(tmp_path, capsys):
    """Problems with fewer recordings than n are no failed rows; none at all means that the ids differ."""
    recorded = [
        Rationale(id=f"r{i}-{k}", problem_id=f"p{i}", kind="pot", text="t", index=k, author="old")
        for i in range(4)
        for k in range(i)
    ]
    write_records(tmp_path / "recorded.jsonl", recorded)
    teacher = TeacherConfig(replay=str(tmp_path / "recorded.jsonl"))
    config = SampleConfig(n=2, kinds=("pot",))
    asyncio.run(sample_to_file(PROBLEMS[:4], teacher, config, tmp_path / "out.jsonl", ledger=None))
    found = keys(read_records(tmp_path / "out.jsonl", Rationale))
    assert found == [("p1", "pot", 0), ("p2", "pot", 0), ("p2", "pot", 1), ("p3", "pot", 0), ("p3", "pot", 1)]
    assert "5 of 8 rationales are recorded" in capsys.readouterr().err
    with pytest.raises(DataError, match="holds no pot rationale for any of the problems"):
        asyncio.run(sample_to_file(PROBLEMS[5:], teacher, config, tmp_path / "b.jsonl", ledger=None))


def test_a_kind_that_the_template_lacks_is_said_before_anything_is_written(tmp_path):
    """A template of one's own may hold one kind only."""
    template, out = tmp_path / "mine.yaml", tmp_path / "out" / "o.jsonl"
    shipped = resources.files("potstill.rationales").joinpath("templates/zero_shot.yaml").read_text()
    template.write_text(shipped.partition("\npot:")[0] + "\n")
    config = SampleConfig(kinds=("pot",), template=str(template))
    with pytest.raises(ConfigError, match="no section 'pot'"):
        asyncio.run(sample_to_file(PROBLEMS, TeacherConfig(base_url="http://localhost:9/v1"), config, out, ledger=None))
    assert not out.parent.exists()


def test_two_problems_with_one_id_are_refused_before_anything_is_sent(teacher_server, tmp_path):
    """One line per (problem, index) could not hold."""
    server = teacher_server()
    with pytest.raises(DataError, match="'p0' occurs twice"):
        into(tmp_path / "out.jsonl", teacher_of(server), problems=[PROBLEMS[0], PROBLEMS[0]])
    assert server.stats()["requests"] == 0


def test_an_output_that_is_no_jsonl_file_is_refused_before_anything_is_sent(teacher_server, tmp_path):
    """The name says so, or the content."""
    server = teacher_server()
    (tmp_path / "problems.jsonl").write_text(json.dumps({"id": "p0", "question": "q"}) + "\n")
    with pytest.raises(ConfigError, match="ends in"):
        into(tmp_path / "out.csv", teacher_of(server))
    with pytest.raises(DataError, match=r"problems.jsonl:1"):
        into(tmp_path / "problems.jsonl", teacher_of(server))
    assert server.stats()["requests"] == 0


def test_an_endpoint_that_cannot_be_reached_leaves_no_file_behind(tmp_path):
    """An empty file would look like a result; a file that was there before stays."""
    out = tmp_path / "out.jsonl"
    teacher = TeacherConfig(base_url="http://127.0.0.1:9/v1", model="m", api_key_env=None)
    for was_there in (False, True):
        with pytest.raises(TeacherError, match="cannot be reached"):
            into(out, teacher)
        assert out.exists() == was_there
        out.touch()


def test_progress_counts_every_row_and_a_bare_template_is_pointed_out(teacher_server, tmp_path, monkeypatch):
    """Piped: a last line with the totals; `scotd` without demonstrations says what it lacks."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    into(tmp_path / "out.jsonl", teacher_of(teacher_server()), ZERO_SHOT.model_copy(update={"template": "scotd"}))
    assert "60/60 (100%)" in err.getvalue()
    assert "shows its form by demonstrations" in err.getvalue()


def test_the_embedded_teacher_answers_in_the_form_that_is_asked_for(teacher_server, tmp_path):
    """The real procedural teacher over HTTP, few-shot and zero-shot."""
    from potstill.miniature import teacher

    server = teacher_server(canned=0)
    _, rows = into(tmp_path / "out.jsonl", teacher_of(server), SampleConfig(n=1))
    assert {row.text for row in rows} == {teacher.UNREAD}


def several(server, *weights, **changes):
    """Teachers a, b, … of these weights on one server, each with a seed of its own."""
    return [
        (teacher_of(server, model=name, weight=weight, seed=at, **changes), None)
        for at, (name, weight) in enumerate(zip("abcd", weights, strict=False))
    ]


def test_several_teachers_share_each_problems_samples_by_weight(teacher_server, tmp_path):
    """One line per index, each with its author; no text twice; the counts tell the teachers apart."""
    server, out = teacher_server(), tmp_path / "out.jsonl"
    counts, rows = into(out, several(server, 2, 1))
    assert keys(rows) == planned()
    assert Counter(row.author for row in rows) == {"a": 40, "b": 20}
    assert len({(row.request, row.meta["draw"]) for row in rows}) == 60
    bought = {name: (own["requests"], own["completion_tokens"]) for name, own in counts["teachers"].items()}
    assert bought["a"][0] == 40 and bought["b"][0] == 20
    assert sum(tokens for _, tokens in bought.values()) == counts["completion_tokens"]
    again, same = into(out, several(server, 2, 1))
    assert (again["requests"], [row.id for row in same]) == (0, [row.id for row in rows])


def test_another_weight_buys_only_what_nobody_has_bought(teacher_server, tmp_path):
    """In the ledger a sample is a teacher's own: what a smaller share leaves over waits there for a larger one."""
    server, out = teacher_server(), tmp_path / "out.jsonl"
    into(out, several(server, 2, 1))
    counts, rows = into(out, several(server, 1, 2))
    assert Counter(row.author for row in rows) == {"a": 20, "b": 40}
    assert (keys(rows), counts["requests"]) == (planned(), 20)
    assert len({(row.request, row.meta["draw"]) for row in rows}) == 60
    assert into(out, several(server, 2, 1))[0]["requests"] == 0
    alone, rows = into(out, several(server, 2)[0][0])
    assert (alone["requests"], keys(rows)) == (20, planned())
    assert len({(row.request, row.meta.get("draw", row.index)) for row in rows}) == 60
    assert server.stats()["dup_requests"] == 0


def test_teachers_share_one_budget(teacher_server, tmp_path):
    """What one spends the other cannot."""
    server = teacher_server()
    with pytest.raises(BudgetError, match="of 1000 used"):
        into(tmp_path / "out.jsonl", several(server, 1, 1, max_tokens=60), budget=BudgetConfig(tokens=1000), run="r")
    assert server.stats()["billed_tokens"] <= 1000


def test_a_teacher_that_fails_takes_no_one_elses_rows(teacher_server, tmp_path):
    """Its own rows say why; the failure budget is that of all rows together."""
    good, bad = teacher_server(), teacher_server(p_500=1.0)
    teachers = [
        (teacher_of(good, model="good", weight=3), None),
        (teacher_of(bad, model="bad", max_retries=0), None),
    ]
    counts, rows = into(tmp_path / "out.jsonl", teachers, ZERO_SHOT.model_copy(update={"max_failed_frac": 0.3}))
    assert keys(rows) == planned()
    assert {(row.author, row.finish) for row in rows} == {("good", "stop"), ("bad", "error")}
    assert counts["failed"] == Counter(row.author for row in rows)["bad"] == 15


def test_recorded_authors_are_pooled_by_weight(tmp_path):
    """The same file once for each author; rows of another weight are set aside, not mistaken for today's."""
    recorded = [
        Rationale(id=f"{p.id}-{name}-{i}", problem_id=p.id, kind="cot", text=f"{name}{i}", index=i, author=name)
        for p in PROBLEMS
        for name in "xy"
        for i in range(3)
    ]
    write_records(tmp_path / "recorded.jsonl", recorded)
    out = tmp_path / "out.jsonl"
    for weights in ((1, 1), (2, 1), (1, 1)):
        pooled = [
            (TeacherConfig(replay=str(tmp_path / "recorded.jsonl"), model=name, weight=weight), None)
            for name, weight in zip("xy", weights, strict=True)
        ]
        asyncio.run(sample_to_file(PROBLEMS, pooled, ZERO_SHOT, out, ledger=None))
        rows = list(read_records(out, Rationale))
        assert keys(rows) == planned()
        assert Counter(row.author for row in rows)["x"] == 60 * weights[0] / sum(weights)
        assert len({(row.problem_id, row.text) for row in rows}) == 60
