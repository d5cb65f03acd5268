"""Which clauses of an instruction a response heeds, and instructions of graded length to find it out on.

The check reads the response alone, by the forms in which this world says that it did something; nothing that guides a
search knows it. So it can judge a student that was trained on what a search has found.
"""

from __future__ import annotations

import random
import re

from potstill.miniature.instruction_grammar import CLAUSES, DOMAINS, KNOWN_TERMS, N_COMMON, VERBS, Task, read, render
from potstill.rationales.demands import unmet
from potstill.records import child_seed

CLAIM = re.compile(r"As asked, (.+?): done\.")
ASKED_KINDS = tuple(kind for kind in CLAUSES if kind != "constraints")
"""Kinds of clause in graded tests: limits to the length are kept by any short answer, and say nothing."""


def heeded(text: str, response: str) -> tuple[bool, list[bool]]:
    """Return whether a response names the task's topic and claims nothing that was not asked, and, per clause of the
    instruction, whether it heeds it.

    >>> heeded("Argue for koji. Set it in a shared flat.", "This is about koji. As asked, give a title: done.")
    (False, [False])
    """
    found = read(text)
    claims = CLAIM.findall(response)
    asked = {_said(sentence) for _, sentence in found.clauses}
    is_on_topic = found.task is not None and f"This is about {found.task.topic}." in response
    return is_on_topic and set(claims) <= asked, [_is_heeded(*clause, response, claims) for clause in found.clauses]


def graded_tests(
    per_grade: int, grades: tuple[int, ...], seed: int, taken: tuple[str, ...] = ()
) -> list[tuple[int, str]]:
    """Return (number of clauses, instruction), `per_grade` of each grade, on common topics.

    Clauses are of different kinds and do not contradict each other.

    Args:
        taken: Instructions whose tasks must not occur, such as the seeds of a search.
    """
    used = {read(text).task for text in taken}
    tasks = [
        task
        for domain, topics in DOMAINS.items() for topic in topics[:N_COMMON] for verb in range(len(VERBS))
        if (task := Task(domain, topic, verb)) not in used
    ]  # fmt: skip
    rng = random.Random(child_seed("graded tests", seed))
    found = list[tuple[int, str]]()
    for grade in grades:
        texts = set[str]()
        while len(texts) < per_grade:
            task = rng.choice(tasks)
            texts.add(render(task.text, [_clause(kind, task, rng) for kind in rng.sample(ASKED_KINDS, grade)]))
        found += [(grade, text) for text in sorted(texts)]
    return found


def _clause(kind: str, task: Task, rng: random.Random) -> str:
    if kind == "domain":
        return f"Use the term {rng.choice(KNOWN_TERMS[task.domain])} correctly"
    return rng.choice(CLAUSES[kind])


def _said(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _is_heeded(kind: str, sentence: str, response: str, claims: list[str]) -> bool:
    if kind not in ("constraints", "output_format"):
        return _said(sentence) in claims
    if sentence == "Answer as a letter":
        return response.startswith("Dear reader,") and response.rstrip().endswith("Yours truly.")
    if sentence == "Answer as a dialogue":
        return len(re.findall(r"^(?:Ann|Bob): ", response, re.MULTILINE)) >= 2
    return not unmet(f"{sentence}.", response)
