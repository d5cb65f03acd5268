"""Write problems, and chains of thought and programs for them, from questions annotated with an equation.

    python scripts/write_equation_rationales.py --questions q_mawps_asdiv_a.jsonl.gz --out FOLDER

Nobody is asked: a procedural teacher reads the annotated equation. It writes `problems.jsonl` (splits train, dev, test)
and, for train alone, `rationales.jsonl` (a file for `teachers: {replay: ...}`). No equation of a test question is read;
its text is treated like any other. A run verifies the texts like any teacher's: programs are executed.

    text        lower case, no commas; quantities are named A, B, C ... in order of appearance, and listed behind the
                question, largest first: a student this small need not read digits to choose between them. Programs use
                the names: a problem's `definitions` stand before them when they run (docs/problems.md)
    dev         whole problem families of the training questions, by a hash, and one variant of each
    variants    of each training question, each a problem of the same family, with the answer computed anew:
                numbers   other ones, of as many digits; no part of the equation turns negative or broken
                names     other persons and places from the training questions
                things    other counted things
                beside    "12 apples" becomes "12 apples and 7 pears", sometimes asked of the pears
                among     sentences of another question stand between its own

The two last are made for what SVAMP varies (Patel et al. 2021: quantities that do not matter, another question
of the same story). A few dozen SVAMP questions had been looked at when they were written; no setting was chosen on any.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from potstill.rationales.families import families
from potstill.records import Problem, child_seed

NUMBER = re.compile(r"\d+(?:\.\d+)?")
NAMES = "ABCDEFGHIJKL"
OPERATORS = "+-*/"
TRIES = 200
DEV = 0.1
"""Share of the training families that become dev."""
_MEASURES = """
    dollars times hours minutes days weeks months years inches feet miles yards meters grams pounds cents lbs
    seconds kilometers gallons ounces liters tons degrees percent plus this his"""
MEASURES = frozenset(_MEASURES.split())
"""Words behind a number that no other thing is put in place of."""
_DATES = """
    january february march april may june july august september october november december monday tuesday
    wednesday thursday friday saturday sunday christmas halloween"""
DATES = frozenset(_DATES.split())


@dataclass(frozen=True, slots=True)
class Task:
    """A question with its quantities and its equation."""

    id: str
    words: tuple[str, ...]
    equation: tuple[str, ...]
    """Prefix form; quantities by position: `0`, `1`, constants as `=12`."""
    answer: str
    family: str = ""
    parent: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def places(self) -> list[int]:
        """Where the quantities stand among the words."""
        return [at for at, word in enumerate(self.words) if NUMBER.fullmatch(word)]

    @property
    def numbers(self) -> list[str]:
        """The quantities as written, in order of appearance."""
        return [self.words[at] for at in self.places]

    @property
    def asked_from(self) -> int:
        """Where the last sentence, the one that asks, begins."""
        ends = [at for at, word in enumerate(self.words[:-1]) if word in (".", "!")]
        return ends[-1] + 1 if ends else 0


def main() -> None:
    """Write both files and say how many rows of what."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=Path, required=True, help="q_mawps_asdiv_a.jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; it holds CC BY-NC text")
    parser.add_argument("--variants", type=int, default=4, help="of each training question")
    parser.add_argument("--phrasings", type=int, default=1, help="rationales of each kind for each problem")
    parser.add_argument(
        "--without", nargs="*", default=[], choices=list(CHANGES), help="kinds of variants to leave out"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = list(read_rows(args.questions))
    train, test = divided(rows)
    changes = {name: change for name, change in CHANGES.items() if name not in args.without}
    problems, taught = [*test], []
    for split, tasks in dev_split(train).items():
        varied = list(variants(tasks, changes, args.variants if split == "train" else 1, seed=args.seed))
        problems += [problem_row(task, split) for task in [*tasks, *varied]]
        taught += [*tasks, *varied] if split == "train" else []
    rationales = [row for task in taught for row in rationale_rows(task, args.phrasings, args.seed)]
    write(args.out / "problems.jsonl", problems)
    write(args.out / "rationales.jsonl", rationales)
    splits = dict(Counter(row["split"] for row in problems))
    sys.stdout.write(f"{len(problems)} problems {splits}, {len(rationales)} rationales in {args.out}\n")


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a compressed file."""
    for line in gzip.decompress(path.read_bytes()).decode("utf-8").splitlines():
        yield json.loads(line)


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def divided(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Task], list[dict[str, Any]]]:
    """Return the training tasks, and the test problems, of which only question and gold answer are read."""
    asked = [
        Task(row["id"], words_of(row["question"]), (), str(row["answer"])) for row in rows if row["split"] != "train"
    ]
    own = [row for row in rows if row["split"] == "train"]
    family = families(Problem(id=row["id"], question=row["question"], answer=str(row["answer"])) for row in own)
    found = [task for row in own if (task := read_task(row, family[row["id"]])) is not None]
    return found, [problem_row(task, "test") for task in asked]


def words_of(question: str) -> tuple[str, ...]:
    """Return the words of a question as the files write it: everything apart; here in lower case, without commas."""
    return tuple(word for word in question.lower().split() if word != ",")


def read_task(row: Mapping[str, Any], family: str) -> Task | None:
    """Return a training task; `None` where the annotated numbers are not those of the text (one question)."""
    words, equation = words_of(row["question"]), row["gold_equation_prefix"].split()
    task = Task(row["id"], words, tuple(map(symbol, equation)), str(row["answer"]), family)
    task.meta["capitals"], task.meta["small"] = capitals(row["question"].split())
    same = list(map(float, task.numbers)) == list(map(float, row["numbers"]))
    return task if same and len(task.numbers) <= len(NAMES) else None


def capitals(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words written with a capital within a sentence, and those without; of lower-case questions none.

    >>> capitals("How many has Joan ?".split())
    (['joan'], ['many', 'has'])
    """
    if not any(word[:1].isupper() for word in words):
        return [], []
    within = [word for before, word in pairwise(words) if word.isalpha() and before not in (".", "!", "?", ",")]
    return [w.lower() for w in within if w[0].isupper()], [w for w in within if w.islower()]


def symbol(word: str) -> str:
    """Return a word of an equation: an operator, a quantity by its position, a constant behind `=`.

    >>> [symbol(word) for word in "* number0 12.0".split()]
    ['*', '0', '=12']
    """
    if word in OPERATORS:
        return word
    return word.removeprefix("number") if word.startswith("number") else f"={plain(Fraction(word))}"


def dev_split(tasks: Sequence[Task]) -> dict[str, list[Task]]:
    """Return the tasks of whole families that a hash puts into dev, and the others."""
    found: dict[str, list[Task]] = {"train": [], "dev": []}
    for task in tasks:
        found["dev" if child_seed("dev", task.family) < DEV * 2**31 else "train"].append(task)
    return found


# Equations


def value(equation: Sequence[str], numbers: Sequence[str]) -> list[tuple[Fraction, str, Fraction, Fraction]]:
    """Return the steps of an equation in the order in which they are computed: left, operator, right, result.

    Raises:
        ZeroDivisionError: A step divides by zero.
    """
    steps: list[tuple[Fraction, str, Fraction, Fraction]] = []

    def read(rest: Iterator[str]) -> Fraction:
        word = next(rest)
        if word not in OPERATORS:
            return Fraction(word[1:] if word[0] == "=" else numbers[int(word)])
        left, right = read(rest), read(rest)
        result = {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}[word](right)
        steps.append((left, word, right, result))
        return result

    read(iter(equation))
    return steps


def plain(number: Fraction) -> str:
    """Return a number as one writes it: whole, or with at most four decimals."""
    if number.denominator == 1:
        return str(number.numerator)
    return f"{float(number):.4f}".rstrip("0").rstrip(".")


def is_sound(new: Task, old: Task) -> bool:
    """Return whether a new task's steps are as positive and as whole as the old one's."""
    try:
        steps = value(new.equation, new.numbers)
    except ZeroDivisionError:
        return False
    pairs = zip(steps, value(old.equation, old.numbers), strict=True)
    return all((a[3] > 0 or b[3] <= 0) and (a[3].denominator == 1 or b[3].denominator > 1) for a, b in pairs)


# Variants


def variants(tasks: Sequence[Task], changes: Mapping[str, Any], count: int, *, seed: int) -> Iterator[Task]:
    """Yield so many variants of every task, their answers computed anew; those that stay as they were are left out."""
    stock = Stock.of(tasks)
    for task in tasks:
        for number in range(count if task.equation[0] in OPERATORS else 0):
            rng = random.Random(child_seed("variant", seed, task.id, number))
            new = task
            for change, often in changes.values():
                new = change(new, stock, rng) if rng.random() < often else new
            if new.words != task.words:
                answer = plain(value(new.equation, new.numbers)[-1][3])
                yield replace(new, id=f"{task.id}.{number}", parent=task.id, answer=answer)


@dataclass(frozen=True, slots=True)
class Stock:
    """What variants are made of; all of it from the training questions."""

    names: tuple[str, ...]
    things: tuple[str, ...]
    """Counted things, in the plural."""
    tasks: tuple[Task, ...]

    @classmethod
    def of(cls, tasks: Sequence[Task]) -> Stock:
        """Return the names and things that occur in several questions."""
        big = Counter(word for task in tasks for word in task.meta["capitals"])
        small = {word for task in tasks for word in task.meta["small"]}
        followers = Counter(word for task in tasks for word in followed(task).values())
        names = (word for word, count in big.items() if count > 1 and len(word) > 2 and word not in small | DATES)
        things = (w for w, n in followers.items() if n > 2 and w[-1] == "s" and len(w) > 3 and w not in MEASURES)
        return cls(tuple(sorted(names)), tuple(sorted(things)), tuple(tasks))


def followed(task: Task) -> dict[int, str]:
    """Return the place of each quantity that a word follows -> that word."""
    return {at: task.words[at + 1] for at in task.places if at + 1 < len(task.words) and task.words[at + 1].isalpha()}


def with_numbers(task: Task, stock: Stock, rng: random.Random) -> Task:
    """Return a task with other quantities; as it was where none are found that fit."""
    for _ in range(TRIES):
        words = list(task.words)
        for at in task.places:
            words[at] = other_number(words[at], rng)
        new = replace(task, words=tuple(words))
        if is_sound(new, task):
            return new
    return task


def other_number(number: str, rng: random.Random) -> str:
    """Return a number of about as many digits; with two decimals where it had any."""
    whole, _, part = number.partition(".")
    digits = min(len(whole) + rng.choice((0, 0, 1)), max(3, len(whole)))
    shown = str(rng.randint(2 if digits == 1 else 10 ** (digits - 1), 10**digits - 1))
    return f"{shown}.{rng.choice('0123456789')}{rng.choice('123456789')}" if part else shown


def with_names(task: Task, stock: Stock, rng: random.Random) -> Task:
    """Return a task about other persons and places."""
    mine = sorted(set(task.words) & set(stock.names))
    others = dict(zip(mine, rng.sample(stock.names, len(mine)), strict=True))
    return replace(task, words=tuple(others.get(word, word) for word in task.words))


def with_things(task: Task, stock: Stock, rng: random.Random) -> Task:
    """Return a task about other counted things, each everywhere the same."""
    mine = sorted({word for word in followed(task).values() if word in stock.things and rng.random() < 0.7})
    others = rng.sample([thing for thing in stock.things if thing not in task.words], len(mine))
    swaps = dict(zip(mine, others, strict=True))
    swaps |= {one[:-1]: other[:-1] for one, other in swaps.items()}
    return replace(task, words=tuple(swaps.get(word, word) for word in task.words))


def with_others_beside(task: Task, stock: Stock, rng: random.Random) -> Task:
    """Return a task with another thing counted beside one that is asked of; as it was where that would be unclear.

    Where every quantity counts the same thing, the other may be the one that is asked of.
    """
    counted = followed(task)
    asked = set(task.words[task.asked_from :])
    things = sorted({w for at, w in counted.items() if w in stock.things and w in asked and at < task.asked_from})
    if not things or len(task.numbers) > 4:
        return task
    thing = rng.choice(things)
    other = rng.choice([one for one in stock.things if one not in task.words])
    places = [at for at, word in counted.items() if word == thing and at < task.asked_from]
    is_whole = len(places) == len(task.numbers)
    if not is_whole or rng.random() < 0.3:
        places = rng.sample(places, rng.randint(1, len(places)))
    is_swapped = is_whole and len(places) == len(task.numbers) and rng.random() < 0.5
    return inserted(task, places, thing, other, rng, is_swapped=is_swapped)


def inserted(
    task: Task, places: Sequence[int], thing: str, other: str, rng: random.Random, *, is_swapped: bool
) -> Task:
    """Put "and N others" behind (or "N others and" before) the things counted at some places."""
    before = rng.random() < 0.5
    for _ in range(TRIES):
        words, old_at, new_at = list[str](), list[int](), list[int]()
        for at, word in enumerate(task.words):
            if at in places:
                own, more = [word, thing], [other_number(word, rng), other]
                first, second = (more, own) if before else (own, more)
                start = sum(map(bool, map(NUMBER.fullmatch, words)))
                words += [*first, "and", *second]
                old_at.append(start + before)
                new_at.append(start + (not before))
            elif at - 1 not in places:
                old_at += [sum(map(bool, map(NUMBER.fullmatch, words)))] if NUMBER.fullmatch(word) else []
                words.append(word)
        if is_swapped:
            words = [other if w == thing and at >= len(words) - len(task.words) + task.asked_from else w
                     for at, w in enumerate(words)]  # fmt: skip
        used = new_at if is_swapped else old_at
        equation = tuple(str(used[int(word)]) if word.isdigit() else word for word in task.equation)
        new = replace(task, words=tuple(words), equation=equation)
        if is_sound(new, task):
            return new
    return task


def with_sentences_among(task: Task, stock: Stock, rng: random.Random) -> Task:
    """Return a task with one or two sentences of another question among its own, often about the same person."""
    donor = rng.choice(stock.tasks)
    told = sentences(donor.words[: donor.asked_from])
    asked = {word for word in task.words[task.asked_from :] if len(word) > 3}
    shared = asked & set(donor.words) & {*stock.things, *followed(task).values(), *followed(donor).values()}
    if not told or shared or not asked & {*followed(task).values()} or len(task.numbers) > 4:
        return task
    first = rng.randrange(len(told))
    more = [word for sentence in told[first : first + rng.choice((1, 1, 2))] for word in sentence]
    mine, theirs = ([word for word in words if word in stock.names] for words in (task.words, more))
    if mine and theirs and rng.random() < 0.6:
        more = [mine[0] if word == theirs[0] else word for word in more]
    at = rng.choice([0, *(i + 1 for i, word in enumerate(task.words[: task.asked_from]) if word in (".", "!"))])
    before = sum(place < at for place in task.places)
    count = sum(map(bool, map(NUMBER.fullmatch, more)))
    moved = tuple(str(int(word) + count * (int(word) >= before)) if word.isdigit() else word for word in task.equation)
    return replace(task, words=(*task.words[:at], *more, *task.words[at:]), equation=moved)


def sentences(words: Sequence[str]) -> list[list[str]]:
    """Return the sentences of a text, each with its full stop."""
    found: list[list[str]] = [[]]
    for word in words:
        found[-1].append(word)
        if word in (".", "!"):
            found.append([])
    return [sentence for sentence in found if len(sentence) > 1]


CHANGES = {
    "among": (with_sentences_among, 0.3),
    "beside": (with_others_beside, 0.4),
    "things": (with_things, 0.6),
    "names": (with_names, 0.8),
    "numbers": (with_numbers, 0.9),
}
"""Kind of variant -> (what makes it, how often)."""


# Texts


def named(task: Task) -> str:
    """Return a question with its quantities named, and the quantities listed behind it, largest first.

    >>> named(Task("t", ("joan", "has", "3", "cats", "and", "12", "dogs", ".", "how", "many", "?"), (), "15"))
    'joan has A cats and B dogs . how many ? [ B=12 A=3 ]'
    """
    numbers = task.numbers
    names = dict(zip(task.places, NAMES, strict=False))
    text = " ".join(names.get(at, word) for at, word in enumerate(task.words))
    listed = sorted(range(min(len(numbers), len(NAMES))), key=lambda i: -float(numbers[i]))
    return f"{text} [ {' '.join(f'{NAMES[i]}={numbers[i]}' for i in listed)} ]"


def problem_row(task: Task, split: str) -> dict[str, Any]:
    """Return a task as a problem."""
    row = {"id": task.id, "question": named(task), "answer": task.answer, "answer_type": "number", "split": split}
    row |= {"source": "mawps_asdiv_a"} if split != "test" else {"source": "svamp"}
    row["definitions"] = "".join(f"{name} = {number}\n" for name, number in zip(NAMES, task.numbers, strict=False))
    return row | ({"family": task.family} if task.family else {})


def rationale_rows(task: Task, phrasings: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield chains of thought and programs for a task."""
    if task.equation[0] not in OPERATORS:
        return
    for sample in range(phrasings):
        rng = random.Random(child_seed("phrasing", seed, task.id, sample))
        for kind, text in (("cot", thought(task, rng)), ("pot", program(task, rng))):
            yield {"problem_id": task.id, "kind": kind, "text": text, "teacher": "procedural", "sample": sample}


def used(task: Task) -> list[int]:
    """Return the positions of the quantities that the equation needs, in order of appearance."""
    return sorted({int(word) for word in task.equation if word.isdigit()})


def thought(task: Task, rng: random.Random) -> str:
    """Return a chain of thought: which quantities matter and what they count, each step, the answer."""
    numbers, places = task.numbers, task.places
    things = followed(task)
    given = [NAMES[i] + (f" {things[places[i]]}" if places[i] in things else "") for i in used(task)]
    lines = [rng.choice((", ", " and ")).join(given) + "."]
    for left, operator, right, result in value(task.equation, numbers):
        shown = f"{plain(left)} {operator} {plain(right)} = {plain(result)}"
        lines.append(f"{rng.choice(SAID[operator])} {shown}.")
    return " ".join(lines) + f" So the answer is {plain(value(task.equation, numbers)[-1][3])}."


SAID = {"+": ("together", "add"), "-": ("left", "less"), "*": ("times", "each"), "/": ("share", "divide")}


def program(task: Task, rng: random.Random) -> str:
    """Return a program over the named quantities: one expression, or one line for each step."""
    if sum(word in OPERATORS for word in task.equation) > 1 and rng.random() < 0.5:
        return "\n".join(stepwise(task.equation))
    return f"ans = {infix(iter(task.equation))}"


def infix(rest: Iterator[str], outer: str = "") -> str:
    """Return an equation as Python writes it.

    >>> infix(iter("* 2 - 0 1".split()))
    'C * (A - B)'
    """
    word = next(rest)
    if word not in OPERATORS:
        return word[1:] if word[0] == "=" else NAMES[int(word)]
    text = f"{infix(rest, word)} {word} {infix(rest, word)}"
    return f"({text})" if outer else text


def stepwise(equation: Sequence[str]) -> list[str]:
    """Return an equation as one line for each step, the last one the answer."""
    lines: list[str] = []

    def read(rest: Iterator[str]) -> str:
        word = next(rest)
        if word not in OPERATORS:
            return word[1:] if word[0] == "=" else NAMES[int(word)]
        left, right = read(rest), read(rest)
        lines.append(f"{left} {word} {right}")
        return f"step{len(lines)}"

    read(iter(equation))
    return [f"{f'step{at}' if at < len(lines) else 'ans'} = {line}" for at, line in enumerate(lines, start=1)]


if __name__ == "__main__":
    main()
