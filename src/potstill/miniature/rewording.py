"""The procedural teacher says a problem of the miniature world in other words, and sometimes leaves something out."""

from __future__ import annotations

import random
import re

from potstill.miniature.teacher import MISREADS, UNREAD, read_walk
from potstill.miniature.world import AHEAD, BACK, ENDINGS, JUMPS, MOVES, STARTS, VERBS

_SENTENCE = re.compile(r"(?<=[.?])\s+")
_MOVE = re.compile(r"^On (\w+) .*?(?:(\d+) (?:times|jumps of) )?\b(\d+) (ahead|forward|back|backward)\b")
_START = re.compile(r"^(\w+) .*\bsquare (\d+) of ")


def reword(question: str, rng: random.Random) -> str:
    """Return a problem with the same person, days and amounts in other sentences; now and then one sentence is lost."""
    if read_walk(question) is None:
        return UNREAD
    sentences = _SENTENCE.split(question.strip())
    name = sentences[0].split()[0]
    told = [_sentence(sentence, name, rng) for sentence in sentences[:-1]]
    if len(told) > 2 and rng.random() < MISREADS:
        del told[rng.randrange(1, len(told))]
    return " ".join([*told, rng.choice([e for e in ENDINGS if e.format(name=name) != sentences[-1]]).format(name=name)])


def _sentence(sentence: str, name: str, rng: random.Random) -> str:
    if start := _START.match(sentence):
        return f"{name} {rng.choice(STARTS)} square {start[2]} of a ring numbered 0 to 11."
    found = _MOVE.match(sentence)
    if found is None:
        return sentence
    day, times, amount, way = found.groups()
    pattern = rng.choice(JUMPS if times else MOVES).replace("{way}", rng.choice(BACK if way.startswith("b") else AHEAD))
    return pattern.format(day=day, name=name, verb=rng.choice(VERBS), amount=amount, times=times)
