"""From verified predictions to marks: which problem each path of a system got right.

    predictions (Rationale + Verdict) ──grade──► Graded: (split, path) -> Marks ──► potstill.evaluation.scoring

A path is one way to take a system's answer: `answer`, `cot` and `pot` are its greedy texts of that kind, `vote` is the
majority over its sampled ones (`vote@K` over K of them), `routed` the greedy text of the kind that the student itself
would have begun with, `surer` the greedy text that it finds likelier, by a margin fitted in training. Of a student that
writes both views of a chain of thought, `cot` is the positive one, `negative` the other, and `views` their common
answer, or else that of which it was surer (`potstill.students.joining`). Two paths are no
answers of their own but say what the others are worth: `oracle` is right where any greedy text is, `agreed` abstains
(unscored) where the greedy texts of different kinds differ. Nothing here judges a text
(`potstill.rationales.verification` does) or averages.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from potstill.errors import DataError
from potstill.messages import say
from potstill.rationales.ways import place_of
from potstill.recipe.evaluation import EvaluateConfig
from potstill.recipe.rationales import SandboxConfig, VerifyConfig
from potstill.records import Problem, Rationale, Status, Verdict
from potstill.students.joining import joined
from potstill.students.routing import routed, surer
from potstill.students.voting import vote

PATHS = ("cot", "negative", "views", "pot", "answer", "routed", "surer", "vote")
"""Ways to answer, in order of preference where two systems share no path."""
CHOICES: Mapping[str, Callable[[Sequence[Rationale]], Rationale | None]] = {"routed": routed, "surer": surer}
BOUNDS = ("oracle", "agreed")
ABSTAINED = "ABSTAINED"
MAX_MISSING_FRAC = 0.05


@dataclass(slots=True)
class Marks:
    """What one run of one system got on one split by one path."""

    right: dict[str, float] = field(default_factory=dict)
    """Problem id -> 1, 0, or NaN (unscored); every problem of the split, in their order."""
    statuses: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    """Problems without any prediction; their mark is NaN."""
    ties: int = 0
    """Votes in which the tie rules decided."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Where a kind was chosen (routed, surer, or the winner of a vote over several kinds), or a view: how often which.
    """
    answers: dict[str, str] = field(default_factory=dict)
    """Problem id -> the normalised answer that was read, where one was."""


@dataclass(slots=True)
class Graded:
    """One run of one system, graded."""

    marks: dict[tuple[str, str], Marks]
    """(split, path) -> marks; a split or path without a single prediction is not there."""
    parents: dict[str, str]
    """Problem id -> the problem that it was derived from, where it was."""
    golds: dict[str, str] = field(default_factory=dict)
    """Problem id -> its gold answer, of the problems that were derived and those that they were derived from."""

    def groups(self, ids: Sequence[str]) -> list[str]:
        """Return each problem's family: its parent's id, or its own."""
        return [self.parents.get(pid, pid) for pid in ids]

    def families(self, split: str, path: str) -> dict[str, list[str]]:
        """Return parent id -> the ids of its perturbations in `split` and of itself, from whichever split it is in."""
        graded = {pid for (_, of_path), marks in self.marks.items() if of_path == path for pid in marks.right}
        found: dict[str, list[str]] = {}
        for pid in self.marks[split, path].right:
            if parent := self.parents.get(pid):
                found.setdefault(parent, [parent] if parent in graded else []).append(pid)
        return found

    def pairs(self, split: str, path: str) -> list[tuple[str, str]]:
        """Return (original, derived) for every derived problem of `split` whose original is graded too."""
        families = self.families(split, path).items()
        return [(parent, pid) for parent, ids in families for pid in ids if pid != parent and parent in ids]

    def right(self, path: str) -> dict[str, float]:
        """Return problem id -> mark over all splits."""
        return {pid: mark for (_, of), marks in self.marks.items() if of == path for pid, mark in marks.right.items()}


def grade(
    rationales: Iterable[Rationale],
    problems: Iterable[Problem],
    config: EvaluateConfig | None = None,
    *,
    verify: VerifyConfig | None = None,
    sandbox: SandboxConfig | None = None,
    system: str = "predictions",
) -> Graded:
    """Mark every problem of the evaluated splits by every path that the predictions offer.

    Args:
        rationales: Predictions of one run; those without a verdict are verified first.
        problems: The problems that should have been answered; `config.splits` selects among them; where it is not
            given and no problem is in its default, all are evaluated.

    Raises:
        DataError: More than 5 % of a split have no prediction, none has one, or two runs are mixed in one.
    """
    config, problems = config or EvaluateConfig(), list(problems)
    wanted = {problem.id: problem for problem in problems if problem.split in config.splits}
    if not wanted and "splits" not in config.model_fields_set:  # a file of one's own mostly names no split
        wanted = {problem.id: problem for problem in problems}
    if not wanted:
        found = ", ".join(sorted({problem.split for problem in problems})) or "none"
        message = (
            f"{system}: no problem is in the splits {', '.join(config.splits)}; splits found: {found}; "
            "set evaluate.splits to some of them"
        )
        raise DataError(message)
    answers = _by_path(_verified(rationales, wanted, verify, sandbox), system)
    parents = {problem.id: problem.parent_id for problem in wanted.values() if problem.parent_id}
    kin = parents.keys() | set(parents.values())
    golds = {id_: problem.answer for id_, problem in wanted.items() if id_ in kin and problem.answer is not None}
    graded = Graded({}, parents, golds)
    for split in dict.fromkeys(problem.split for problem in wanted.values()):
        ids = [problem.id for problem in wanted.values() if problem.split == split]
        for path in (*PATHS, *BOUNDS, *(f"vote@{count}" for count in config.curve)):
            marks = _mark(ids, path, answers, config)
            if marks.missing < len(ids):
                graded.marks[split, path] = marks
                _require_nearly_all(marks, f"{system}, split {split}, path {path}")
    if not graded.marks:
        message = f"{system}: none of the {len(wanted)} problems has a prediction; run `infer` on these problems first"
        raise DataError(message)
    return graded


def _verified(
    rationales: Iterable[Rationale],
    problems: Mapping[str, Problem],
    config: VerifyConfig | None,
    sandbox: SandboxConfig | None,
) -> list[Rationale]:
    """Return the predictions on `problems`, each with a verdict."""
    ours = [rationale for rationale in rationales if rationale.problem_id in problems]
    unjudged = [rationale for rationale in ours if rationale.verdict is None]
    if not unjudged:
        return ours
    from potstill.rationales.verification import verify

    judged = {rationale.id: rationale for rationale in verify(unjudged, problems, config, sandbox=sandbox)}
    return [judged.get(rationale.id, rationale) for rationale in ours]


def _by_path(rationales: Iterable[Rationale], system: str) -> dict[tuple[str, str], list[Rationale]]:
    """Return (problem id, path) -> its predictions; `vote` holds all that were sampled."""
    seen: dict[tuple[str, str, int], str] = {}
    answers: dict[tuple[str, str], list[Rationale]] = {}
    for rationale in rationales:
        key = place_of(rationale)
        known = seen.get(key)
        if known == rationale.id:
            continue
        if known is not None:
            message = (
                f"{system}: problem {key[0]!r} has two predictions of kind {key[1]} and index {key[2]} "
                f"({known} and {rationale.id}); give the predictions of several runs as several seeds"
            )
            raise DataError(message)
        seen[key] = rationale.id
        slim = replace(rationale, text="", reasoning_content=None, problem=None)
        for path in _paths_of(rationale):
            answers.setdefault((rationale.problem_id, path), []).append(slim)
    return {key: held for key, held in answers.items() if key[1] != "vote" or _may_vote(held)}


def _may_vote(held: list[Rationale]) -> bool:
    """One text of each kind is no vote: greedy texts of a teacher that nobody marked as such."""
    return len(held) > 1 and any(row.index > 0 or row.meta.get("path") == "sampled" for row in held)


def _paths_of(rationale: Rationale) -> list[str]:
    """Say which paths a prediction belongs to; without a mark, index 0 stands for its kind and all may vote."""
    marked, own = rationale.meta.get("path"), "negative" if rationale.view == "negative" else rationale.kind
    if marked == "greedy":
        return [own]
    if marked == "sampled":
        return ["vote"]
    return [own, "vote"] if rationale.index == 0 else ["vote"]


Answers = Mapping[tuple[str, str], list[Rationale]]
"""(problem id, kind or `vote`) -> its predictions: the greedy one of the kind, or all that were sampled."""


def _mark(ids: Sequence[str], path: str, answers: Answers, config: EvaluateConfig) -> Marks:
    marks = Marks()
    for pid in ids:
        verdict = _answered(pid, path, answers, config, marks)
        if verdict is None:
            marks.right[pid] = math.nan
            marks.missing += 1
            continue
        if verdict.reason == ABSTAINED:
            marks.statuses[ABSTAINED] += 1
            marks.right[pid] = math.nan
            continue
        marks.statuses[verdict.status.value] += 1
        if verdict.answer is not None:
            marks.answers[pid] = verdict.answer
        marks.right[pid] = float(verdict.correct) if verdict.scored else math.nan
    return marks


def _answered(pid: str, path: str, answers: Answers, config: EvaluateConfig, marks: Marks) -> Verdict | None:
    """Return the verdict of what a path answers to a problem; `None`: it was not asked, or cannot be taken."""
    greedy = [held[0] for kind in ("cot", "pot") if (held := answers.get((pid, kind)))]
    if path.startswith("vote"):
        return _voted(answers.get((pid, "vote"), []), path.partition("@")[2], greedy, config, marks)
    if path == "views":
        both = [held[0] for view in ("cot", "negative") if (held := answers.get((pid, view)))]
        joint = joined(both) if len(both) > 1 else None
        marks.kinds.update([str(joint.view)] if joint is not None else [])
        return _verdict(joint) if joint is not None else None
    if path in CHOICES:
        chosen = CHOICES[path](greedy)
        marks.kinds.update([chosen.kind] if chosen is not None else [])
        return _verdict(chosen) if chosen is not None else None
    if path in BOUNDS:
        return _bound(path, [_verdict(row) for row in greedy]) if len(greedy) > 1 else None
    held = answers.get((pid, path))
    return _verdict(held[0]) if held else None


def _bound(path: str, verdicts: Sequence[Verdict]) -> Verdict:
    """Return the best of the verdicts (oracle), or their common one (agreed)."""
    if path == "oracle":
        return max(verdicts, key=lambda verdict: (verdict.correct, not verdict.scored))
    answers = {verdict.answer for verdict in verdicts}
    if len(answers) == 1 and None not in answers:
        return verdicts[0]
    return Verdict(rationale_id=verdicts[0].rationale_id, status=Status.UNVERIFIED, reason=ABSTAINED)


def _voted(
    sampled: list[Rationale], count: str, greedy: list[Rationale], config: EvaluateConfig, marks: Marks
) -> Verdict | None:
    """Return the verdict of the answer that wins the vote; without any answer, that of the first path."""
    held = _first_paths(sampled, int(count)) if count else sampled
    if not held:
        return None
    result = vote(held, by=config.vote_by, tie=config.tie, weights=config.vote_weights, greedy=greedy)
    marks.ties += result.tied
    if result.answer is None:
        return _verdict(min(held, key=lambda path: (path.index, path.kind)))
    if result.winner is not None and len({path.kind for path in held}) > 1:
        marks.kinds[result.winner.kind] += 1
    winners = [verdict for path in held if (verdict := _verdict(path)).answer == result.answer]
    # The same answer may have been checked on one path and not on another (our check timed out): the check counts.
    return next((verdict for verdict in winners if verdict.scored), winners[0])


def _first_paths(sampled: Sequence[Rationale], count: int) -> list[Rationale]:
    """Return the first paths, as many of each kind; none where there are too few, or the kinds do not divide them."""
    kinds = sorted({path.kind for path in sampled})
    if not kinds or count % len(kinds):
        return []
    each = count // len(kinds)
    parts = [sorted((p for p in sampled if p.kind == kind), key=lambda p: p.index)[:each] for kind in kinds]
    return [path for part in parts for path in part] if all(len(part) == each for part in parts) else []


def _verdict(rationale: Rationale) -> Verdict:
    if rationale.verdict is None:
        return Verdict(rationale_id=rationale.id, status=Status.UNVERIFIED, reason="not_checked")
    return rationale.verdict


def _require_nearly_all(marks: Marks, where: str) -> None:
    if not marks.missing:
        return
    found = f"{where}: {marks.missing} of {len(marks.right)} problems have no prediction"
    if marks.missing > MAX_MISSING_FRAC * len(marks.right):
        message = f"{found}; at most {MAX_MISSING_FRAC:.0%} may be missing: finish `infer` for this system first"
        raise DataError(message)
    say("evaluate", f"{found}; they are counted as unscored")
