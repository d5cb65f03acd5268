"""A language model as judge of instructions: siblings in one prompt, in shuffled order, by several votes.

    texts ──order drawn per vote──► messages ──► teacher ──► scores by number ──► mean over the votes that can be read

A score counts only if it is a number from 1 to 6 under the number of a text that was shown. Whatever else comes back
(prose, 11 of 10, a text left out, a key given twice) is a missing judgement of that text in that vote: counted by kind,
never replaced by a default. A text that fewer than half of the votes have judged has no scores.

Source: all variants of an instruction are scored in one prompt in Deita, Liu et al. 2023, arXiv:2312.15685; scored one
by one they come out nearly equal. Differs: one prompt for all terms, several orders, rubrics ours.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from potstill.generators.asking import Scores
from potstill.generators.evolving import failure_of, read_object, read_template, read_words, request_for
from potstill.recipe.generators import EvolveConfig
from potstill.recipe.teachers import TeacherConfig
from potstill.records import child_seed
from potstill.streams import collect, map_ordered
from potstill.teachers.base import Completion, Message, Request, Teacher

LOWEST, HIGHEST = 1.0, 6.0
_MARKS = re.compile(r"(?m)^[ \t]*(?:#{1,6}[ \t]+|[-*+][ \t]+|>[ \t]?)|\*\*|__|`{1,3}|[ \t]+$")
_BLANK = re.compile(r"\n{2,}")


@dataclass(slots=True)
class Bench:
    """What a judge was asked so far: judgements that could not be read, and groups that it gave one score."""

    votes: int = 0
    groups: int = 0
    """Votes on at least three texts."""
    flat: int = 0
    """Of these, votes that gave every text the same scores."""
    faults: Counter[str] = field(default_factory=Counter)
    """Judgements of a text that are missing, by kind: unparseable, out_of_range, left_out, refused, …"""


class Judge:
    """A teacher that scores instructions; called as `World.judge` is."""

    def __init__(self, teacher: Teacher, teacher_config: TeacherConfig, config: EvolveConfig, *, seed: int = 0) -> None:
        self.bench = Bench()
        self._teacher = teacher
        self._teacher_config = teacher_config
        self._config = config
        self._seed = seed
        self._rubrics = load_rubrics(config)

    async def __call__(self, texts: Sequence[str], attempt: int) -> list[Scores | None]:
        """Return the mean scores of each text, with the number of votes that they are made of; `None`: too few."""
        votes = self._config.judge.votes

        async def vote(number: int) -> dict[int, Scores | None]:
            index = attempt * votes + number
            order = self.order(texts, index)
            completion = (await self._teacher.complete(self.request(texts, order), [index]))[0]
            return dict(zip(order, self._read(completion, len(texts)), strict=True))

        cast = await collect(map_ordered(vote, range(votes), votes))
        return [mean_of([scores for one in cast if (scores := one[at]) is not None], votes) for at in range(len(texts))]

    def order(self, texts: Sequence[str], index: int) -> list[int]:
        """Return the places of the texts in the order in which this vote shows them."""
        return random.Random(child_seed(self._seed, "order", index, list(texts))).sample(range(len(texts)), len(texts))

    def request(self, texts: Sequence[str], order: Sequence[int]) -> Request:
        """Return what one vote asks."""
        messages = judge_messages([texts[at] for at in order], self._rubrics)
        judge = self._config.judge
        return request_for(self._teacher_config, messages, temperature=judge.temperature, max_tokens=judge.max_tokens)

    def _read(self, completion: Completion, count: int) -> list[Scores | None]:
        scores, faults = read_judgement(completion, count, tuple(self._rubrics))
        self.bench.votes += 1
        self.bench.faults += faults
        if count >= 3:
            self.bench.groups += 1
            self.bench.flat += None not in scores and all(one == scores[0] for one in scores)
        return scores


def load_rubrics(config: EvolveConfig) -> dict[str, str]:
    """Return the rubric of each judged term, the user's over the built-in ones."""
    words: dict[str, str] = dict(read_template("judging")["rubrics"])
    if config.judge.rubrics is not None:
        words |= read_words(config.judge.rubrics, "rubrics")
    return {term: " ".join(words[term].split()) for term in config.judged_terms}


def judge_messages(texts: Sequence[str], rubrics: Mapping[str, str]) -> tuple[Message, ...]:
    """Return what asks for the scores of these texts, in this order."""
    shown = "\n\n".join(f"[{number}] <<<{plain(text)}>>>" for number, text in enumerate(texts, 1))
    rules = "\n".join(f"{term}: {rubric}" for term, rubric in rubrics.items())
    example = json.dumps({"1": dict(zip(rubrics, (4, 2, 3), strict=False))})
    words = read_template("judging")
    content = words["frame"].format(rubrics=rules, texts=shown, example=example)
    return ({"role": "system", "content": words["system"]}, {"role": "user", "content": content})


def plain(text: str) -> str:
    """Return a text without headings, bullets, emphasis and blank lines: looks shall not be judged.

    >>> plain("**Write** a poem.\\n\\n- about rain\\n- in prose")
    'Write a poem.\\nabout rain\\nin prose'
    """
    return _BLANK.sub("\n", _MARKS.sub("", text)).strip()


def read_judgement(
    completion: Completion, count: int, terms: Sequence[str]
) -> tuple[list[Scores | None], Counter[str]]:
    """Return the scores of each of `count` texts in the order shown, and why some are missing."""
    if failure := failure_of(completion):
        return [None] * count, Counter({failure.reason: count})
    found = read_object(completion.text)
    if found is None:
        return [None] * count, Counter({"unparseable": count})
    read = [_scores(found.get(str(number)), terms) for number in range(1, count + 1)]
    return [None if isinstance(one, str) else one for one in read], Counter(one for one in read if isinstance(one, str))


def mean_of(votes: Sequence[Scores], asked: int) -> Scores | None:
    """Return the mean of the votes that could be read; `None` where they are not at least half of those asked."""
    if not votes or 2 * len(votes) < asked:
        return None
    return {**{term: round(fmean(vote[term] for vote in votes), 4) for term in votes[0]}, "votes": float(len(votes))}


def _scores(found: object, terms: Sequence[str]) -> Scores | str:
    """Return one text's scores, or what is wrong with them."""
    if found is None:
        return "left_out"
    if not isinstance(found, Mapping) or any(term not in found for term in terms):
        return "unparseable"
    values = [found[term] for term in terms]
    if any(not isinstance(value, int | float) or isinstance(value, bool) for value in values):
        return "unparseable"
    if any(not LOWEST <= value <= HIGHEST for value in values):
        return "out_of_range"
    return {term: float(value) for term, value in zip(terms, values, strict=True)}
