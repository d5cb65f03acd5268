"""The miniature world of instructions: a task and up to a dozen clauses, whose true worth is computed from the text.

    "Write a short guide to sourdough bread. Use at most 120 words. Set it in a shared flat."

The first sentence is the task, drawn from domains, topics and verbs; each further sentence is a clause of one of eleven
kinds, one per action of the search (the twelfth, `new`, replaces the task). `read` finds them again, `worth` says how
good the text is. Which kinds suit which task is drawn once from a fixed hash: it can be found by trying, not guessed.

    quality     3.6, plus how well each clause suits the task; less for repetition, vagueness, clashes and bulk
    complexity  1.1, plus the weight of each kind, a repeated kind counting half, plus what two kinds do together
    coverage    1.0, plus 0.75 for each of six aspects that is touched, plus 0.5 for a rare topic

all cut to [1, 6]. A text is broken, and worth 0, when it is no task, contradicts itself, or asks for what nobody can
know. The world is a test bench for searches; it says nothing about real instructions.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

from potstill.records import child_seed

TERMS = ("quality", "diversity", "complexity")
"""What a judge scores; the second one's true value is `Worth.coverage`."""

DOMAINS: dict[str, tuple[str, ...]] = {
    "cooking": ("sourdough bread", "a lentil soup", "knife skills", "leftovers", "koji", "smoke points"),
    "gardening": ("tomato plants", "a small pond", "pruning", "compost", "grafting", "seed dormancy"),
    "history": ("the printing press", "medieval guilds", "railways", "city walls", "whaling logs", "tally sticks"),
    "astronomy": ("moon phases", "comets", "telescopes", "the seasons", "eclipses of Io", "stellar parallax"),
    "programming": ("sorting", "unit tests", "version control", "caching", "bloom filters", "clock skew"),
    "travel": ("night trains", "packing light", "a city walk", "border crossings", "salt roads", "ferry timetables"),
    "music": ("the violin", "reading rhythm", "choirs", "tuning", "shape notes", "gamelan"),
    "sport": ("swimming", "warming up", "chess openings", "long runs", "fell running", "curling stones"),
}  # fmt: skip
N_COMMON = 4
"""Topics of a domain beyond so many are rare: seeds do not have them."""
VERBS = (
    "Write a short guide to {}", "Explain {} to a friend", "Compare two views of {}", "Summarise what matters about {}",
    "Plan a first lesson on {}", "List common mistakes with {}", "Tell a story about {}", "Argue for {}",
)  # fmt: skip
KNOWN_TERMS = {
    "cooking": ("Maillard reaction", "deglazing", "hydration", "umami"),
    "gardening": ("mulch", "rootstock", "photoperiod", "leaf mould"),
    "history": ("primary source", "periodisation", "tithe", "charter"),
    "astronomy": ("parsec", "ecliptic", "albedo", "redshift"),
    "programming": ("invariant", "complexity class", "side effect", "idempotence"),
    "travel": ("open jaw", "interchange", "layover", "rail pass"),
    "music": ("syncopation", "overtone", "cadence", "temperament"),
    "sport": ("cadence drill", "tempo run", "zugzwang", "periodised training"),
}
CLAUSES: dict[str, tuple[str, ...]] = {
    "goals": tuple(
        f"The goal is to {goal}, and a sub-goal is to {part}"
        for goal, part in (
            ("win over a sceptic", "name one risk"), ("save an hour a week", "avoid waste"),
            ("prepare a decision", "show both sides"), ("teach a beginner", "remove one fear"),
        )
    ),
    "constraints": (
        "Use at most 80 words", "Use at most 150 words", "Use at least 300 words", "Write without any lists",
        "Name no brand", "Use only short sentences",
    ),
    "requirements": tuple(
        f"Also give {part}" for part in ("a title", "a glossary", "a checklist", "three questions", "a short summary")
    ),
    "skills": tuple(
        f"Use {skill} to get there" for skill in ("an analogy", "an estimate", "a classification", "a counterexample")
    ),
    "reasoning": tuple(
        f"First find {first}, then derive from it {second}"
        for first, second in (
            ("the main cause", "what follows"), ("the scarcest thing", "an order of steps"),
            ("two cases", "when each holds"), ("what can go wrong", "how to notice it"),
        )
    ),
    "domain": tuple(f"Use the term {term} correctly" for terms in KNOWN_TERMS.values() for term in terms),
    "life": tuple(
        f"Set it in {place}" for place in ("a family kitchen", "a shared flat", "a school day", "a wet weekend")
    ),
    "real_world": tuple(
        f"Make it usable in {place}" for place in ("a city library", "a repair shop", "a small farm", "a night class")
    ),
    "emotion": tuple(
        f"I feel {mood} about this, so respect that" for mood in ("nervous", "proud", "tired", "curious")
    ),
    "input_format": tuple(
        f"Work from this table: {cells}"
        for cells in ("day | hours; Mon | 3; Tue | 5", "item | cost; A | 4; B | 9", "year | count; 1 | 7; 2 | 12")
    ),
    "output_format": ("Answer as a numbered list", "Answer as a table", "Answer as a letter", "Answer as a dialogue"),
}  # fmt: skip
CHECKED = ("constraints", "output_format")
"""Kinds of clause that a program can check in an answer, as far as it can any."""
VAGUE = ("Be thorough and so on", "Mind various aspects", "Do it in a good way")
UNKNOWABLE = (
    "Quote what the reader said about it this morning", "Base it on the minutes of our last meeting",
    "Use the results of the survey that is still running", "Give the exact number of people who think of it today",
)  # fmt: skip
"""Sound well and cannot be answered: no surface gate finds them."""
ASPECTS = {
    "goals": "purpose", "constraints": "form", "requirements": "form", "skills": "reasoning", "reasoning": "reasoning",
    "domain": "knowledge", "life": "setting", "real_world": "purpose", "emotion": "tone", "input_format": "form",
    "output_format": "form",
}  # fmt: skip
WEIGHTS = {
    "goals": 0.45, "constraints": 0.45, "requirements": 0.4, "skills": 0.65, "reasoning": 0.85, "domain": 0.7,
    "life": 0.3, "real_world": 0.4, "emotion": 0.3, "input_format": 0.55, "output_format": 0.35,
}  # fmt: skip
BULK = 5
"""Clauses beyond so many cost quality."""
_SENTENCE = re.compile(r"[^.]+\.")


@dataclass(frozen=True, slots=True)
class Task:
    """What the first sentence asks for."""

    domain: str
    topic: str
    verb: int

    @property
    def text(self) -> str:
        """The sentence, without its full stop."""
        return VERBS[self.verb].format(self.topic)

    @property
    def is_rare(self) -> bool:
        """Whether no seed is about this topic."""
        return DOMAINS[self.domain].index(self.topic) >= N_COMMON


@dataclass(frozen=True, slots=True)
class Instruction:
    """A text, read: sentences that the grammar does not know are kept as `unknown`."""

    task: Task | None
    clauses: tuple[tuple[str, str], ...]
    """(kind, sentence) in order."""
    vague: int = 0
    unknowable: int = 0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Worth:
    """The truth about a text: three terms in [1, 6], and why it is broken, if it is."""

    quality: float
    complexity: float
    coverage: float
    broken: str = ""

    @property
    def true_score(self) -> float:
        """The mean of the three; 0 where the text is broken."""
        return 0.0 if self.broken else (self.quality + self.complexity + self.coverage) / 3


def seeds(count: int, seed: int) -> list[str]:
    """Return `count` different seed instructions, a third of them with one clause; at most 256 tasks are plain.

    Raises:
        ValueError: More are asked for than the grammar has tasks.
    """
    tasks = [
        Task(domain, topic, verb)
        for domain, topics in DOMAINS.items() for topic in topics[:N_COMMON] for verb in range(len(VERBS))
    ]  # fmt: skip
    if count > len(tasks):
        message = f"{count} seed instructions asked for; the grammar has {len(tasks)} tasks"
        raise ValueError(message)
    rng = random.Random(child_seed("instructions", seed))
    found = []
    for task in rng.sample(tasks, count):
        kind = rng.choice(list(CLAUSES)) if rng.random() < 1 / 3 else None
        found.append(render(task.text, [rng.choice(CLAUSES[kind])] if kind else []))
    return found


def tests(count: int, seed: int) -> list[str]:
    """Return `count` instructions on rare topics that no seed is about: two clauses, one of them on form or length."""
    tasks = [
        Task(domain, topic, verb)
        for domain, topics in DOMAINS.items() for topic in topics[N_COMMON:] for verb in range(len(VERBS))
    ]  # fmt: skip
    rng = random.Random(child_seed("test instructions", seed))
    found = list[str]()
    while len(found) < count:
        kind = rng.choice([kind for kind in CLAUSES if kind not in CHECKED])
        clauses = [rng.choice(CLAUSES[kind]), rng.choice(CLAUSES[rng.choice(CHECKED)])]
        text = render(rng.choice(tasks).text, clauses)
        found += [text] if text not in found else []
    return found


def render(task: str, clauses: list[str]) -> str:
    """Return the text: sentences with full stops."""
    return " ".join(f"{sentence}." for sentence in (task, *clauses))


@cache
def read(text: str) -> Instruction:
    """Return what the sentences say; a first sentence that is no task leaves `task` empty."""
    sentences = [sentence.strip()[:-1] for sentence in _SENTENCE.findall(text)]
    rest = _SENTENCE.sub("", text).strip()
    task = _tasks().get(sentences[0]) if sentences else None
    kinds = _kinds()
    clauses, others = [], []
    for sentence in sentences[1:]:
        if sentence in kinds:
            clauses.append((kinds[sentence], sentence))
        else:
            others.append(sentence)
    vague, unknowable = sum(s in VAGUE for s in others), sum(s in UNKNOWABLE for s in others)
    unknown = [s for s in others if s not in VAGUE and s not in UNKNOWABLE]
    return Instruction(task, tuple(clauses), vague, unknowable, tuple(unknown + ([rest] if rest else [])))


@cache
def worth(text: str) -> Worth:
    """Return the true quality, complexity and coverage of a text, and whether it is broken."""
    found = read(text)
    kinds = [kind for kind, _ in found.clauses]
    distinct = sorted(set(kinds))
    pairs = [(a, b) for at, a in enumerate(distinct) for b in distinct[at + 1 :]]
    quality = 3.6 - 0.5 * (len(kinds) - len(distinct)) - 0.4 * found.vague - 0.4 * max(0, len(kinds) - BULK)
    quality += sum(_suits(found.task, kind, sentence) for kind, sentence in found.clauses) if found.task else 0.0
    quality -= 0.5 * sum(_together(a, b) < -0.6 for a, b in pairs)
    complexity = 1.1 + sum(WEIGHTS[kind] * (0.5 if kind in kinds[:at] else 1) for at, kind in enumerate(kinds))
    complexity += 0.4 * sum(_together(a, b) > 0.6 for a, b in pairs)
    coverage = 1.0 + 0.75 * len({ASPECTS[kind] for kind in kinds}) + (0.5 if found.task and found.task.is_rare else 0)
    return Worth(_cut(quality), _cut(complexity), _cut(coverage), _broken(found))


def word_limits(found: Instruction) -> tuple[int, int]:
    """Return (at least, at most) words that the clauses demand."""
    limits = [re.match(r"Use at (least|most) (\d+) words", sentence) for _, sentence in found.clauses]
    least = [int(limit[2]) for limit in limits if limit and limit[1] == "least"]
    most = [int(limit[2]) for limit in limits if limit and limit[1] == "most"]
    return max(least, default=0), min(most, default=10**6)


def _broken(found: Instruction) -> str:
    sentences = {sentence for _, sentence in found.clauses}
    forms = {sentence for kind, sentence in found.clauses if kind == "output_format"}
    least, most = word_limits(found)
    if found.task is None or found.unknown:
        return "unreadable"
    if found.unknowable:
        return "unknowable"
    if least > most or len(forms) > 1 or {"Write without any lists", "Answer as a numbered list"} <= sentences:
        return "contradiction"
    return ""


def _suits(task: Task, kind: str, sentence: str) -> float:
    fit = 0.6 * _drawn("domain", task.domain, kind) + 0.45 * _drawn("verb", str(task.verb), kind)
    if kind == "domain":
        known = any(sentence == f"Use the term {term} correctly" for term in KNOWN_TERMS[task.domain])
        return fit + (0.4 if known else -0.9)
    return fit + 0.3 * _drawn("topic", task.topic, sentence)


def _together(a: str, b: str) -> float:
    return _drawn("together", a, b)


@cache
def _drawn(*parts: str) -> float:
    """Return a number in [-1, 1) that belongs to `parts` for ever."""
    return child_seed("miniature instructions", *parts) / 2**30 - 1


def _cut(value: float) -> float:
    return min(6.0, max(1.0, value))


@cache
def _tasks() -> dict[str, Task]:
    tasks = [Task(domain, topic, verb) for domain, topics in DOMAINS.items() for topic in topics for verb in range(8)]
    return {task.text: task for task in tasks}


@cache
def _kinds() -> dict[str, str]:
    return {sentence: kind for kind, sentences in CLAUSES.items() for sentence in sentences}
