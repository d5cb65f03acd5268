"""The stage `evolve` as a user runs it: the shipped recipe over HTTP, killed, resumed, planned."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from potstill.cli import main
from potstill.errors import ConfigError
from potstill.evaluation.page.gathering import gather
from potstill.evaluation.page.trees import search_trees
from potstill.files import read_records
from potstill.generators.selection import is_learnt_from, strategies_of
from potstill.generators.treefiles import read_trees
from potstill.instructions import evolving_teachers, merged
from potstill.purchases import plan_evolved
from potstill.recipe.reading import load_recipe, parse_recipe
from potstill.records import Drop, Example, Problem, Rationale, Verdict
from potstill.teachers.ledger import summarise

DEMO = str(Path(__file__).resolve().parents[1] / "recipes" / "evolve_demo.yaml")
TWO = "teachers: [{base_url: http://127.0.0.1:9/v1, model: a}, {base_url: http://127.0.0.1:9/v1, model: b, weight: 0}]"


def run(folder, ledger, *extra):
    """Run the demo's first stages in this process."""
    return main(["run", DEMO, "--run", str(folder), "--quiet", "--until", "filter",
                 "--set", f"ledger={ledger}", "--set", "problems.splits.train.limit=4",
                 "--set", "problems.splits.test.limit=3", "--set", "evolve.calls=8",
                 "--set", "evolve.compare=[]", *extra])  # fmt: skip


@pytest.fixture(scope="module")
def evolved(tmp_path_factory):
    """A finished run up to the filter."""
    folder = tmp_path_factory.mktemp("evolved")
    assert run(folder / "run", folder / "ledger.sqlite") == 0
    return folder


def test_a_run_leaves_instructions_trees_actions_and_checked_responses(evolved):
    """Seeds and what is kept of their trees are problems; each has one response and one verdict."""
    folder = evolved / "run"
    problems = list(read_records(folder / "problems.jsonl", Problem))
    kept = list(read_records(folder / "evolved.jsonl", Problem))
    trees = dict(read_trees(folder / "trees.jsonl"))
    seeds = [p for p in problems if p.split == "train" and "evolution" not in p.meta]
    assert list(trees) == [p.id for p in seeds]
    assert {tree.calls for tree in trees.values()} == {8}
    assert [p.id for p in problems if "evolution" in p.meta] == [p.id for p in kept]
    assert {p.parent_id for p in kept} <= {p.id for p in problems}
    rationales = list(read_records(folder / "rationales.jsonl", Rationale))
    assert [r.problem_id for r in rationales] and {r.problem_id for r in rationales} == {p.id for p in [*seeds, *kept]}
    verdicts = list(read_records(folder / "verdicts.jsonl", Verdict))
    assert {v.status for v in verdicts} <= {"CORRECT", "WRONG", "UNVERIFIED"}
    assert len(json.loads((folder / "actions.json").read_text(encoding="utf-8"))["actions"]) == 12
    counts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["stages"]["evolve"]["counts"]
    dropped = [drop for drop in read_records(folder / "dropped.jsonl", Drop) if drop.stage == "evolve"]
    assert (counts["seeds"], counts["calls"], counts["kept"]) == (4, 32, len(kept))
    assert sum(value for name, value in counts.items() if name.startswith("dropped_")) == len(dropped)


def test_what_is_kept_can_change_without_asking_anything(evolved, tmp_path):
    """Only the responses to other instructions are new; seeds can be left to the search alone."""
    ledger = evolved / "ledger.sqlite"
    before = summarise(ledger)["requests"]
    options = ["--set", "evolve.per_seed=1", "--set", "evolve.ladders=false", "--set", "evolve.keep_seeds=false"]
    assert run(tmp_path / "fewer", ledger, *options) == 0
    kept = list(read_records(tmp_path / "fewer" / "evolved.jsonl", Problem))
    assert len(kept) <= 4
    assert summarise(ledger)["requests"] == before
    rationales = list(read_records(tmp_path / "fewer" / "rationales.jsonl", Rationale))
    assert {r.problem_id for r in rationales} == {p.id for p in kept}


def test_rivals_on_the_same_calls_stand_beside_the_search_and_leave_nothing_in_the_data(evolved, tmp_path):
    """Their trees are kept apart; the report draws a line for each; what is kept is the same without them."""
    options = ["--set", "evolve.compare=[best_of_n]", "--until", "evolve"]
    assert run(tmp_path / "run", evolved / "ledger.sqlite", *options) == 0
    trees = dict(read_trees(tmp_path / "run" / "trees" / "best_of_n.jsonl"))
    assert {node.depth for tree in trees.values() for node in tree.nodes} == {0, 1}
    assert {tree.calls for tree in trees.values()} == {8}
    for name in ("evolved.jsonl", "trees.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (evolved / "run" / name).read_bytes()
    counts = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["stages"]["evolve"]["counts"]
    assert counts["compared_best_of_n"]["calls"] == counts["calls"] == 32
    page = search_trees(gather(tmp_path / "run"))
    assert ">beam</text>" in page and ">best_of_n</text>" in page


def test_a_killed_run_resumes_to_the_same_instructions_and_pays_nothing_twice(evolved, tmp_path):
    """SIGKILL in the middle of the trees; the ledger has every answer once."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "potstill", "run", DEMO, "--run", str(tmp_path / "run"), "--quiet", "--until",
               "evolve", "--set", f"ledger={tmp_path / 'l.sqlite'}", "--set", "problems.splits.train.limit=4",
               "--set", "problems.splits.test.limit=3", "--set", "evolve.calls=8", "--set", "evolve.compare=[]",
               "--set", "teachers.requests_per_minute=3000", "--set", "teachers.max_concurrency=2"]  # fmt: skip
    with subprocess.Popen(command, env=environment) as process:
        for _ in range(2000):
            time.sleep(0.02)
            if process.poll() is not None or bought(tmp_path / "l.sqlite") >= 12:
                break
        process.send_signal(signal.SIGKILL)
    had = bought(tmp_path / "l.sqlite")
    assert had >= 12
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    for name in ("evolved.jsonl", "trees.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (evolved / "run" / name).read_bytes()
    assert summarise(tmp_path / "l.sqlite")["duplicates"] <= 2


def bought(ledger):
    """Return how many completions a ledger holds by now."""
    try:
        return summarise(ledger)["completions"]
    except Exception:  # noqa: BLE001 - not made yet
        return 0


def test_calls_tokens_and_money_are_known_beforehand(evolved):
    """Rewriting calls are an upper bound, prompts and judgements a near estimate; the price makes money of them."""
    options = [
        "evolve.calls=8",
        "evolve.compare=[best_of_n]",
        "teachers.price={input: 1, output: 1}",
        f"ledger={evolved / 'none.sqlite'}",
    ]
    seeds = [p for p in read_records(evolved / "run" / "problems.jsonl", Problem) if "evolution" not in p.meta]
    found = plan_evolved(load_recipe(DEMO, options), {"train": [p for p in seeds if p.split == "train"]})
    rows = {row["stage"]: row for row in found}
    spent = json.loads((evolved / "run" / "manifest.json").read_text(encoding="utf-8"))["stages"]["evolve"]["counts"]
    planned = {key: rows["evolve"][key] + rows["judge"][key] for key in ("requests", "prompt_tokens")}
    assert rows["evolve"]["requests"] == rows["evolve (best_of_n)"]["requests"] == spent["calls"] == 32
    assert planned["requests"] == pytest.approx(spent["requests"], rel=0.25)
    assert planned["prompt_tokens"] == pytest.approx(spent["prompt_tokens"], rel=0.35)
    assert all(row["max_money"] > 0 for row in rows.values())
    assert rows["sample evolved"]["requests"] == pytest.approx(spent["kept"], rel=0.35)


def test_files_alone_need_no_recipe(evolved, tmp_path, capsys):
    """The `instruction` column is known; the same call again asks nothing; other rules do not mix with these trees."""
    seeds = [p.question for p in read_records(evolved / "run" / "problems.jsonl", Problem) if p.split == "train"][:2]
    path = tmp_path / "seeds.csv"
    path.write_text("instruction,input\n" + "".join(f'"{text}",\n' for text in seeds), encoding="utf-8")
    command = ["evolve", "--problems", str(path), "--base-url", "miniature", "--calls", "6", "--quiet", "--json",
               "--out", str(tmp_path / "out.jsonl"), "--ledger", str(tmp_path / "l.sqlite")]  # fmt: skip
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["seeds"], first["calls"]) == (2, 12)
    text = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 0
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == text
    assert main([*command, "--strategy", "random"]) == 1
    assert "these trees were grown by other rules" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("evolve: {teacher: c}", "evolve.teacher: 'c' is no teacher of this recipe; it has a, b"),
        ("evolve: {judge: {teacher: c}}", "evolve.judge.teacher: 'c' is no teacher"),
    ],
)
def test_a_teacher_is_named_by_its_name(table, message):
    """Who rewrites and who judges may be two."""
    with pytest.raises(ConfigError, match=message):
        evolving_teachers(parse_recipe(f"method: idea_mcts\nproblems: {{source: x.jsonl}}\n{TWO}\n{table}"))
    both = parse_recipe(f"method: idea_mcts\nproblems: {{source: x.jsonl}}\n{TWO}\nevolve: {{judge: {{teacher: b}}}}")
    assert [teacher.model for teacher in evolving_teachers(both)] == ["a", "b"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{weights: {beauty: 1}}", "'beauty' is not scored; known terms: quality"),
        ("{weights: {novelty: 1}}", "at least one of quality, diversity, complexity"),
        ("{strategy: mcts}", "'beam', 'tree', 'published', 'random' or 'best_of_n'"),
        ("{branches: 3}", "did you mean 'branch'"),
    ],
)
def test_a_wrong_table_is_one_message(table, message):
    """Before anything is read."""
    with pytest.raises(ConfigError, match=message):
        parse_recipe(f"method: idea_mcts\nproblems: {{source: x.jsonl}}\nevolve: {table}")


def test_what_compared_strategies_keep_can_be_learnt_from_by_students_of_their_own(evolved, tmp_path):
    """Each arm has the instructions of one strategy, or the seeds alone, and none more than the recipe allows."""
    folder, ledger = tmp_path / "run", evolved / "ledger.sqlite"
    arms = "arms={seeds: {mix: {evolved: seeds}}, random: {mix: {evolved: random}}, beam: {mix: {evolved: beam}}}"
    options = ["evolve.compare=[random]", "evolve.keep_compared=true", "evolve.most=5", arms]
    assert run(folder, ledger, "--until", "mix", *(word for one in options for word in ("--set", one))) == 0
    problems = {p.id: p for p in read_records(folder / "problems.jsonl", Problem)}
    found = {}
    for arm in ("seeds", "random", "beam"):
        groups = {example.group for example in read_records(folder / f"examples/{arm}.jsonl", Example)}
        found[arm] = {strategies_of(problems[group]) for group in groups}
        assert len(groups) <= 5
    assert found["seeds"] == {()}
    assert all("random" in names for names in found["random"])
    assert all("beam" in names for names in found["beam"])


def test_an_instruction_that_two_strategies_found_is_one_problem_of_both():
    """It is asked once and learnt from in both arms; the seeds' arm does not learn from it."""
    ours, theirs = (
        Problem(id="a", question="x", meta={"evolution": {"strategy": name, "value": value}})
        for name, value in (("beam", 9.0), ("random", 8.0))
    )
    (both,) = merged([ours], [theirs])
    assert strategies_of(both) == ("beam", "random")
    assert both.meta["evolution"]["value"] == 9.0
    assert [is_learnt_from(both, name) for name in (None, "beam", "random", "tree", "seeds")] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert is_learnt_from(Problem(id="s", question="x"), "seeds")
