"""Which labels are aimed at: the label set of a problem, its definition in words, and a target for every problem.

    problems ──fitting──► those that can be edited, why others cannot ──asks──► (problem, target, role, kind of edit)

Pure. Every choice is made by a hash of the seed and the problem's id, so neither the order of the problems nor their
number moves it, but for the turns that even out the pairs (label, target).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from potstill.errors import ConfigError, shorten
from potstill.generators.edits import fields_of
from potstill.recipe.counterfactual import EDIT_KINDS, NUMBER_KINDS, CounterfactualConfig
from potstill.records import Drop, Problem, child_seed, content_id

YES_NO = {"yes": "the answer to the question is yes", "no": "the answer to the question is no"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
COMPUTED = "number"
"""The answer type whose targets are computed, not chosen."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is told of a kind of question, beside the problem itself."""

    about: str = ""
    editable: tuple[str, ...] = ()
    """Fields that may be edited; empty: all."""
    definitions: Mapping[str, str] | None = None
    """Label -> what it means."""
    form: str | None = None
    """`problems.question`."""

    def editable_of(self, problem: Problem) -> list[str]:
        """Return the fields of a problem that may be edited."""
        return [name for name in fields_of(problem) if not self.editable or name in self.editable]


@dataclass(frozen=True, slots=True)
class Ask:
    """One edit that is asked for."""

    problem: Problem
    target: str
    """The wanted label; empty for a word problem, whose new answer is computed."""
    role: str
    kind: str

    @property
    def id(self) -> str:
        """What names the candidate that it becomes."""
        return content_id("counterfactual", self.problem.id, self.role, self.target, self.kind)


def labels_of(problem: Problem, definitions: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the label set of a problem with what each label means; of a choice the letters with the option texts.

    Empty where answers are not of a closed set.
    """
    if problem.answer_type == "choice":
        return {f"({LETTERS[at]})": text for at, text in enumerate(problem.options)}
    known = definitions or {}
    if problem.answer_type == "yesno":
        return {label: known.get(label, words) for label, words in YES_NO.items()}
    return {label: known.get(label, "") for label in problem.labels}


def fitting(problems: Sequence[Problem], config: CounterfactualConfig, task: Task) -> tuple[list[Problem], list[Drop]]:
    """Return the problems that can be edited, and why others cannot; what was itself derived is passed over.

    Reasons: no_answer, not_editable_type, one_label, unknown_label, field_missing, has_target.

    Raises:
        ConfigError: A field that may be edited is in no problem, or a label that is aimed at is nobody's.
    """
    originals = [problem for problem in problems if is_original(problem)]
    _require_fields(originals, task)
    _require_labels(originals, config, task)
    kept, drops = list[Problem](), list[Drop]()
    for problem in originals:
        reason, detail = _unfit(problem, config, task)
        if reason:
            drops.append(Drop(stage="counterfactual", id=problem.id, reason=reason, detail=detail))
        else:
            kept.append(problem)
    return kept, drops


def is_counterfactual(problem: Problem) -> bool:
    """Whether this stage made a problem."""
    return "counterfactual" in problem.meta


def is_original(problem: Problem) -> bool:
    """Whether a problem was not derived from another one, neither here nor by people."""
    return problem.parent_id is None and not is_counterfactual(problem)


def _unfit(problem: Problem, config: CounterfactualConfig, task: Task) -> tuple[str, str]:
    if problem.answer is None:
        return "no_answer", "it has no label, so no other one can be aimed at"
    if not task.editable_of(problem):
        return "field_missing", f"it has {', '.join(fields_of(problem))}, none of {', '.join(task.editable)}"
    if problem.answer_type == COMPUTED:
        return "", ""
    labels = labels_of(problem)
    if not labels:
        return "not_editable_type", f"answers of type {problem.answer_type} are of no closed set"
    if len(labels) < 2:
        return "one_label", f"its only label is {next(iter(labels))}"
    if problem.answer not in labels:
        return "unknown_label", f"{problem.answer!r} is none of {', '.join(labels)}"
    if "counterfactual" in config.roles and not targets_of(problem, config):
        return "has_target", f"it has the label {problem.answer} already"
    return "", ""


def _require_fields(problems: Sequence[Problem], task: Task) -> None:
    found = list(dict.fromkeys(name for problem in problems for name in fields_of(problem)))
    for name in task.editable:
        if problems and name not in found:
            message = (
                f"problems.editable: {name!r} is a field of no problem; they have {shorten(', '.join(found))}; name "
                "one of these, or say with problems.question how a question is put together"
            )
            raise ConfigError(message)


def _require_labels(problems: Sequence[Problem], config: CounterfactualConfig, task: Task) -> None:
    known = list(dict.fromkeys(label for problem in problems for label in labels_of(problem)))
    for key, names in (("counterfactual.to", config.to), ("problems.definitions", tuple(task.definitions or ()))):
        for name in names:
            if known and name not in known:
                message = f"{key}: {name!r} is no label; known: {shorten(', '.join(known))}; name one of them"
                raise ConfigError(message)


def targets_of(problem: Problem, config: CounterfactualConfig) -> list[str]:
    """Return the labels that may be aimed at for one problem."""
    return [label for label in labels_of(problem) if label != problem.answer and (not config.to or label in config.to)]


def asks(problems: Sequence[Problem], config: CounterfactualConfig, *, seed: int = 0) -> Iterator[Ask]:
    """Yield the edits to ask for, problem by problem."""
    chosen = balanced(problems, config, seed=seed) if config.targets == "balanced" else None
    for problem in problems:
        for role in config.roles:
            for target in _aims(problem, role, config, chosen):
                for kind in kinds_for(problem, target, config, seed=seed):
                    yield Ask(problem, target, role, kind)


def _aims(problem: Problem, role: str, config: CounterfactualConfig, chosen: Mapping[str, str] | None) -> list[str]:
    if problem.answer_type == COMPUTED:
        return [""]
    if role == "invariant":
        return [str(problem.answer)]
    return targets_of(problem, config) if chosen is None else [chosen[problem.id]]


def balanced(problems: Sequence[Problem], config: CounterfactualConfig, *, seed: int = 0) -> dict[str, str]:
    """Return one target per problem, such that each label goes to its possible targets in turn."""
    found: dict[str, str] = {}
    turns: dict[tuple[str, str], int] = defaultdict(int)
    for problem in sorted(problems, key=lambda p: child_seed(seed, "turn", p.id)):
        targets = targets_of(problem, config)
        if problem.answer_type == COMPUTED or not targets:
            continue
        first = child_seed(seed, "first", problem.id) % len(targets)
        order = [*targets[first:], *targets[:first]]
        found[problem.id] = min(order, key=lambda target: turns[str(problem.answer), target])
        turns[str(problem.answer), found[problem.id]] += 1
    return found


def kinds_for(problem: Problem, target: str, config: CounterfactualConfig, *, seed: int = 0) -> list[str]:
    """Return the kinds of edit for one problem and target, all different while there are enough."""
    known = NUMBER_KINDS if problem.answer_type == COMPUTED else EDIT_KINDS
    usable = [kind for kind in config.kinds or known if kind in known] or list(known)
    order = sorted(usable, key=lambda kind: child_seed(seed, "kind", problem.id, target, kind))
    return order[: config.candidates]
