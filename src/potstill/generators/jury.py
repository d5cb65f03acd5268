"""A blind jury: several readers see an edited item and the label set, nothing else, and say which label it has.

    edited item + labels ──order drawn per vote──► messages ──► juror ──► Vote ──► accepted, or why not

What a juror is asked is a function of the edited item, the label set and the number of the vote alone: the original,
its label and the wanted label cannot reach it. Votes that cannot be read count as votes for no label. Once enough votes
against have been cast, the rest is not asked for.

A judge that is shown the claimed label agrees with it (Nguyen et al. 2024, arXiv:2405.00722), and the one that wrote an
edit is the worst to judge it ("Truth or Twist", arXiv:2505.13972): so jurors are blind and, where there are several
teachers, of another model family than the writer.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from potstill.generators.editing import item_block, label_line
from potstill.generators.evolving import failure_of, read_object, read_template
from potstill.generators.filters import Finding
from potstill.generators.targets import LETTERS, Task, labels_of
from potstill.recipe.counterfactual import JuryConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import Problem, child_seed
from potstill.teachers.base import Completion, Message


@dataclass(frozen=True, slots=True)
class Vote:
    """What one juror said."""

    juror: str
    label: str | None = None
    """`None`: it could not be read; see `fault`."""
    confidence: float | None = None
    ambiguous: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)
    """Of multiple choice: label -> how likely it is right by itself."""
    fault: str = ""
    """unparseable, no_such_label, refused, empty, error or truncated."""


def family_of(teacher: TeacherConfig, families: Mapping[str, str]) -> str:
    """Return the family of a teacher's model: as the recipe says, else the first letters of the model's name.

    >>> family_of(TeacherConfig(base_url="http://localhost/v1", model="Qwen/Qwen2.5-72B-Instruct"), {})
    'qwen'
    """
    if teacher.author in families:
        return families[teacher.author]
    name = (teacher.model or teacher.local or teacher.author).rstrip("/").rpartition("/")[2].lower()
    found = re.match(r"[a-z]+", name)
    return found[0] if found else name


def jurors_for(
    writer: TeacherConfig, teachers: Sequence[TeacherConfig], families: Mapping[str, str]
) -> list[TeacherConfig]:
    """Return the default jurors: teachers of another family than the writer, else all others, else the writer."""
    own = family_of(writer, families)
    others = [teacher for teacher in teachers if teacher != writer and teacher.replay is None]
    return [teacher for teacher in others if family_of(teacher, families) != own] or others or [writer]


def order(labels: Sequence[str], item: str, number: int, seed: int = 0) -> list[str]:
    """Return the labels in the order in which a vote shows them: drawn from what the juror sees, and the vote."""
    return random.Random(child_seed(seed, "jury", item, sorted(labels), number)).sample([*labels], len(labels))


def jury_messages(problem: Problem, task: Task, shown: Sequence[str]) -> tuple[Message, ...]:
    """Return what asks for the label of an item.

    Args:
        problem: The edited item; its answer, parent and meta are not looked at.
        shown: The labels in the order of this vote; options are lettered anew in it.
    """
    words, labels = read_template("jury"), labels_of(problem, task.definitions)
    is_choice = problem.answer_type == "choice"
    if is_choice:
        lines = [f"({LETTERS[at]}) {labels[label]}" for at, label in enumerate(shown)]
    else:
        lines = [label_line(label, labels[label]) for label in shown]
    content = words["choices" if is_choice else "labels"].format(
        task=task.about or "Answer the question about the item.", labels="\n".join(lines), item=item_block(problem)
    )
    return ({"role": "system", "content": words["system"]}, {"role": "user", "content": content})


def read_vote(completion: Completion, problem: Problem, shown: Sequence[str], juror: str) -> Vote:
    """Return a vote as it was cast; one that cannot be read has no label."""
    if failure := failure_of(completion):
        return Vote(juror, fault=failure.reason)
    found = read_object(completion.text)
    if found is None or "label" not in found:
        return Vote(juror, fault="unparseable")
    names = _names(problem, shown)
    label = names.get(_folded(found["label"]))
    if label is None:
        return Vote(juror, fault="no_such_label")
    confidence = found.get("confidence")
    return Vote(
        juror,
        label,
        float(confidence) if isinstance(confidence, int | float) and _is_share(confidence) else None,
        found.get("ambiguous") is True,
        _scores(found.get("scores"), names),
    )


def _scores(given: Any, names: Mapping[str, str]) -> dict[str, float]:
    rows = given.items() if isinstance(given, Mapping) else ()
    return {names[_folded(name)]: float(value) for name, value in rows if _folded(name) in names and _is_share(value)}


def _names(problem: Problem, shown: Sequence[str]) -> dict[str, str]:
    """Return every spelling under which a juror may name a label: as shown; an option by its letter or its text."""
    names = {_folded(label): label for label in shown}
    if problem.answer_type == "choice":
        texts = labels_of(problem)
        names = {_folded(texts[label]): label for label in shown}
        names |= {LETTERS[at]: label for at, label in enumerate(shown)}
        names |= {f"{LETTERS[at]}) {_folded(texts[label])}": label for at, label in enumerate(shown)}
    return names


def _folded(label: Any) -> str:
    text = {True: "yes", False: "no"}.get(label, str(label)) if isinstance(label, bool) else str(label)
    return " ".join(text.casefold().split()).strip("().:\"' ")


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def is_lost(votes: Sequence[Vote], target: str, config: JuryConfig) -> bool:
    """Whether no further votes can make the target accepted."""
    against = sum(vote.label != target for vote in votes)
    return against > config.votes - config.needed


def verdict(
    votes: Sequence[Vote], problem: Problem, target: str, original: str, config: JuryConfig,
    families: Mapping[str, str] | None = None,
) -> Finding:  # fmt: skip
    """Return whether the votes say that an item has the wanted label, and if not, what they say.

    Reasons: unread_votes, unflipped (they say the original label), other_label, no_majority, ambiguous,
    family_disagrees (the jurors of one family mostly say something else), rival_option.

    Args:
        families: Juror -> model family.
    """
    counts = Counter(vote.label for vote in votes if vote.label is not None)
    n = max(1, len(votes))
    ambiguous = sum(vote.ambiguous for vote in votes) / n
    metrics = {
        "agreement": round(counts[target] / n, 4),
        "ambiguous": round(ambiguous, 4),
        "n_votes": float(len(votes)),
    }
    detail = ", ".join(f"{count} {label}" for label, count in counts.most_common()) or "no vote could be read"

    def refused(reason: str) -> Finding:
        return Finding(False, reason, metrics, detail)

    if counts[target] < config.needed:
        return refused(_dissent(counts, votes, target, original))
    if ambiguous > config.ambiguous:
        return refused("ambiguous")
    if _family_disagrees(votes, target, families or {}):
        return refused("family_disagrees")
    if problem.answer_type == "choice":
        scores = option_scores(votes, labels_of(problem))
        rival = max((score for label, score in scores.items() if label != target), default=0.0)
        metrics |= {"option": round(scores[target], 4), "rival": round(rival, 4)}
        if scores[target] < config.option or rival > config.rival:
            return refused("rival_option")
    return Finding(True, "", metrics, detail)


def _dissent(counts: Counter[str], votes: Sequence[Vote], target: str, original: str) -> str:
    unread = sum(vote.label is None for vote in votes)
    others = Counter({label: count for label, count in counts.items() if label != target})
    if not others or unread > others.most_common(1)[0][1]:
        return "unread_votes" if unread else "no_majority"
    label, count = others.most_common(1)[0]
    if count <= counts[target]:
        return "no_majority"
    return "unflipped" if label == original else "other_label"


def _family_disagrees(votes: Sequence[Vote], target: str, families: Mapping[str, str]) -> bool:
    """Whether most votes of one family name another label than the target."""
    by_family: dict[str, list[bool]] = {}
    for vote in votes:
        by_family.setdefault(families.get(vote.juror, vote.juror), []).append(vote.label == target)
    return len(by_family) > 1 and any(2 * sum(said) < len(said) for said in by_family.values())


def option_scores(votes: Sequence[Vote], labels: Mapping[str, str]) -> dict[str, float]:
    """Return how likely each option is right by itself: the mean over the votes that could be read.

    A vote without scores gives its confidence (1 where it says none) to its label and shares the rest.
    """
    read = [vote for vote in votes if vote.label is not None]
    return {label: fmean(_score(vote, label, len(labels)) for vote in read) if read else 0.0 for label in labels}


def _score(vote: Vote, label: str, n_labels: int) -> float:
    if label in vote.scores:
        return vote.scores[label]
    sure = 1.0 if vote.confidence is None else vote.confidence
    return sure if label == vote.label else (1 - sure) / max(1, n_labels - 1)
