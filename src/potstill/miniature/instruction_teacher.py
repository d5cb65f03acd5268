"""The miniature's teacher for instructions: it rewrites, judges, derives actions and answers, over the same endpoint.

It reads what it is asked from the words of the prompt, as a model would: a rewriting from its frame, a judgement from
its numbered texts, anything whose first sentence is a task of this world as a request to fulfil. Errors, noise and
biases are those of `instructions`; answers forget a clause now and then. A prompt that is none of these is not for it.
"""

from __future__ import annotations

import json
import random
import re

from potstill.miniature.instruction_grammar import CLAUSES, Instruction, read
from potstill.miniature.instructions import Judge, evolve, judge_one

FORGETS = 0.08
"""Fraction of clauses that an answer does not heed, at temperature 1."""
TEXTS = re.compile(r"^\[(\d+)\] <<<(.*?)>>>", re.MULTILINE | re.DOTALL)
REWRITE = re.compile(r"Original request: <<<(?P<text>.*?)>>>\s*Change to apply \((?P<action>[^)]*)\):", re.DOTALL)
GRADE = "Grade each of the requests below"
DERIVE = re.compile(r"List up to (\d+) changes")
RULES = (
    "set a limit to the length of the reply", "name the audience", "ask for a comparison of two cases",
    "ask for a short summary at the end", "require a term of the field", "ask for a reason for every step",
    "set it in a school", "ask for an example that does not fit",
)  # fmt: skip
FILLER = "Take one step, look at it again, and only then take the next one."


def write(question: str, rng: random.Random, *, temperature: float = 1.0) -> str | None:
    """Write the reply to a prompt about instructions; `None` where it is not about them."""
    if found := REWRITE.search(question):
        return _rewritten(found["text"], found["action"], rng)
    if question.startswith(GRADE):
        return _graded(question, rng)
    if found := DERIVE.search(question):
        return json.dumps({"actions": list(RULES[: int(found[1])])})
    instruction = read(question)
    return None if instruction.task is None else answer(instruction, rng, forgets=FORGETS * temperature)


def answer(instruction: Instruction, rng: random.Random, *, forgets: float = 0.0) -> str:
    """Write what an instruction asks for: a sentence for its task and for each clause, in the form that it wants."""
    assert instruction.task is not None, "the caller has read a task"
    heeded = [sentence for _, sentence in instruction.clauses if rng.random() >= forgets]
    parts = [f"This is about {instruction.task.topic}.", rng.choice(("It begins with the basics.", "Start small."))]
    parts += [_heed(kind, sentence) for kind, sentence in instruction.clauses if sentence in heeded]
    parts = [part for part in parts if part]
    while "Use at least 300 words" in heeded and len(" ".join(parts).split()) < 300:
        parts.append(FILLER)
    if "Answer as a numbered list" in heeded:
        return "\n".join(f"{number}. {part}" for number, part in enumerate(parts, 1))
    if "Answer as a table" in heeded:
        return "\n".join(["step | what to do", "--- | ---", *(f"{n} | {part}" for n, part in enumerate(parts, 1))])
    if "Answer as a letter" in heeded:
        return " ".join(["Dear reader,", *parts, "Yours truly."])
    if "Answer as a dialogue" in heeded:
        return "\n".join(f"{'Ann' if number % 2 else 'Bob'}: {part}" for number, part in enumerate(parts, 1))
    return " ".join(parts)


def _heed(kind: str, sentence: str) -> str:
    if kind in ("constraints", "output_format"):
        return ""
    return f"As asked, {sentence[:1].lower()}{sentence[1:]}: done."


def _rewritten(text: str, action: str, rng: random.Random) -> str:
    # An action of the user's own, or a derived one, comes out as one of the kinds that this world knows.
    known = action if action in CLAUSES or action == "new" else rng.choice(list(CLAUSES))
    found = evolve(text, known, rng)
    return json.dumps({"status": "ok" if found else "invalid", "instruction": found})


def _graded(question: str, rng: random.Random) -> str:
    texts = TEXTS.findall(question)
    last = max(1, len(texts) - 1)
    judged = {
        number: judge_one(text, place / last, len(texts), rng, Judge()) for place, (number, text) in enumerate(texts)
    }
    return json.dumps({number: scores for number, scores in judged.items() if scores is not None})
