"""Mixing: kept rationales become training examples, in text.

Between filtering and training; pure. How prompts and targets are worded is `rendering`. What an `Example` holds, for
those who encode it:

* `prompt`: the text that the student reads; the same function makes the prompts of inference.
* `target`: everything that carries loss except the stop token, which encoding appends. `meta["prefix"]` is its
  beginning, where its kind has a prefix: encoding tokenises it apart, so that inference can force it.
* In `format: plain` the student sees prompt + target as they stand, so the target begins with its own space. In
  `format: chat` the prompt is the content of the one user message and the target that of the assistant's, both
  without outer white space, `meta["format"]` is "chat", and encoding applies the tokenizer's chat template. Unless
  `mix.prompt` is given, a chat prompt is the question alone.
* `group`: the problem's id. Examples of one group and task share their prompt letter for letter.
* `weight`: 1 for every example; loaders and loss weigh, mixing does not.

`balance: cap` gives every problem as many examples of one kind as of the other, the smaller number of the two. A
problem that keeps one kind only stays as it is; `kind_counts` says how many do. Not done here: nothing is truncated to
a length or weighted.

Source: the balance is that of Mixed Distillation's reference design (Li Chenglin et al., Findings of EMNLP 2024, speak
    of "well-balanced mixed thought data"; how they balance is not known to us).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from potstill.errors import ConfigError, DataError
from potstill.rationales.filtering import keep, require_kept
from potstill.rationales.selecting import drawn_order, select
from potstill.recipe.rationales import FilterConfig
from potstill.recipe.students import MixConfig
from potstill.records import Example, Problem, Rationale, child_seed, content_id
from potstill.students.curriculum import difficulties
from potstill.students.rendering import (
    answer_target,
    gold_answer,
    prefix_of,
    render_prompt,
    require_placeholders,
    shown_answer,
    target_for,
)


def mix(
    rationales: Iterable[Rationale],
    config: MixConfig = MixConfig(),  # noqa: B008 - frozen
    *,
    problems: Iterable[Problem] | Mapping[str, Problem] | None = None,
    filter: FilterConfig | None = FilterConfig(),  # noqa: B008 - the interface's word for the stage
    candidates: Iterable[Rationale] | None = None,
    seed: int = 0,
    difficulty: str | None = None,
) -> list[Example]:
    """Return the training examples of the kept rationales, in an order that does not depend on that of the input.

    Args:
        rationales: Verified ones.
        problems: The training problems; needed for `kinds: [answer]`, else those of the rationales are used.
        filter: Applied after `mix.n` has chosen, before `mix.select` does; `None`: `rationales` are already filtered.
        candidates: With `filter=None`: every rationale sampled, of which the first `mix.n` are chosen.
        seed: Orders each problem's samples; the first n of it are a part of the first n + 1.
        difficulty: What a curriculum orders by, noted in each example's meta: `pass_rate`, of the sampled rationales,
            or a field of the problems' meta.

    Raises:
        DataError: Nothing is left to train on, a rationale's problem is unknown, or `mix.select` lacks what it needs.
        ConfigError: A template lacks its placeholder.

    Source: Li et al. 2023 (SCoTD), arXiv:2306.14050, section 3 and the authors' code (prompt "Q: x\\nA: ", target
        rationale + " So the answer is: " + label; label-only target without the rationale; N rationales a problem).
    Differs: the space after "A:" begins the target, not the prompt, so that it is tokenised with the word it belongs
        to; the answer is the verified one in canonical form; the label-only target keeps the marker.
    """
    require_placeholders(config)
    rows = list(rationales)
    everything = list(candidates) if candidates is not None else rows
    every = _known_problems(problems, everything)
    known = _share(every, config.problem_frac, seed)
    if left_out := every.keys() - known.keys():
        everything = [r for r in everything if r.problem_id not in left_out]
        rows = [r for r in rows if r.problem_id not in left_out]
    chosen = _first_n(everything, config.n, seed)
    rows = [r for r in rows if r.id in chosen]
    if filter is not None:
        _require_decisions(rows, filter)
        rows, drops = keep(rows, filter)
        if "cot" in config.kinds or "pot" in config.kinds:
            require_kept(rows, drops, "mix")
    if config.select is not None:
        rows = select(rows, config.select, seed=seed)
    examples: list[Example] = []
    for kind in config.kinds:
        if kind == "answer":
            examples += _answer_examples(known, everything, config)
        else:
            examples += _from(rows, kind, known, config, seed)
    if not examples:
        raise DataError(_nothing(config, everything, known))
    if difficulty is not None:
        found = difficulties(difficulty, known.values(), everything)
        examples = [_noted(example, found) for example in examples]
    return _capped(examples) if config.balance == "cap" else examples


def _require_decisions(rows: Sequence[Rationale], config: FilterConfig) -> None:
    """Raise if the filter is to honour reviewers and nothing of theirs came along with the rationales."""
    if config.is_reviewed and not any("review" in rationale.meta for rationale in rows):
        message = (
            f"filter.review: {config.review}, use_edits: {config.use_edits}, and no decision came with the rationales; "
            "decisions are in a run's review.jsonl: give --recipe FILE --run DIR instead of files, or set them to none"
        )
        raise ConfigError(message)


def kind_counts(examples: Iterable[Example]) -> dict[str, int]:
    """Return the number of examples of each kind and, of mixed ones, of problems that keep one kind only."""
    kinds: dict[str, set[str]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for example in examples:
        counts[example.task] += 1
        kinds[example.group or example.prompt].add(example.task)
    if len(counts) > 1:
        counts["one_kind_only"] = sum(len(own) < len(counts) for own in kinds.values())
    return dict(counts)


def _noted(example: Example, found: Mapping[str, float]) -> Example:
    if example.group not in found:
        return example
    return replace(example, meta={**example.meta, "difficulty": found[example.group]})


def _capped(examples: Sequence[Example]) -> list[Example]:
    """Cut each problem's kinds to the smaller number of them; label-only examples count for nothing."""
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        if example.task != "answer":
            sizes[example.group or ""][example.task] += 1
    kept: list[Example] = []
    seen: Counter[tuple[str, str]] = Counter()
    for example in examples:
        key = (example.group or "", example.task)
        seen[key] += 1
        if example.task == "answer" or seen[key] <= min(sizes[key[0]].values()):
            kept.append(example)
    return kept


def _known_problems(
    problems: Iterable[Problem] | Mapping[str, Problem] | None, rationales: Sequence[Rationale]
) -> dict[str, Problem]:
    if problems is not None:
        rows = problems.values() if isinstance(problems, Mapping) else problems
        return {p.id: p for p in rows}
    return {r.problem_id: r.problem for r in rationales if r.problem is not None}


def _share(known: Mapping[str, Problem], frac: float, seed: int) -> dict[str, Problem]:
    """Return a fraction of the problems, at least one, by an order drawn by seed: nested in the fraction."""
    if frac >= 1:
        return dict(known)
    order = sorted(known, key=lambda id: (child_seed("share", seed, id), id))
    taken = set(order[: max(1, math.ceil(frac * len(order) - 1e-9))])
    return {id: problem for id, problem in known.items() if id in taken}


def _first_n(rationales: Iterable[Rationale], n: int | None, seed: int) -> set[str]:
    """Return the ids of the first n samples of each problem and kind, in an order drawn by seed: nested in n."""
    groups: dict[tuple[str, str], dict[str, Rationale]] = defaultdict(dict)
    for rationale in rationales:
        groups[rationale.problem_id, rationale.kind][rationale.id] = rationale
    return {
        rationale.id
        for members in groups.values()
        for rationale in sorted(members.values(), key=lambda r: drawn_order(r, seed))[:n]
    }


def _from(
    rationales: Sequence[Rationale], kind: str, known: Mapping[str, Problem], config: MixConfig, seed: int
) -> list[Example]:
    groups: dict[str, dict[str, Rationale]] = defaultdict(dict)
    for rationale in rationales:
        if rationale.kind == kind:
            groups[rationale.problem_id][rationale.id] = rationale
    examples = []
    for problem_id in sorted(groups):
        members = sorted(groups[problem_id].values(), key=lambda r: drawn_order(r, seed))[: config.max_per_problem]
        problem = known.get(problem_id) or members[0].problem
        if problem is None:
            message = (
                f"mix: rationale {members[0].id} is of problem {problem_id!r}, which is not among the problems given"
            )
            raise DataError(message)
        prompt = render_prompt(problem, config, kind)
        examples += [_example(problem, prompt, target_for(r, problem, config), kind, config, r) for r in members]
    return examples


def _answer_examples(known: Mapping[str, Problem], rationales: Sequence[Rationale], config: MixConfig) -> list[Example]:
    """Return one label-only example per problem, from gold or else from the teacher's most frequent answer."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)  # a tie goes to the answer of the lowest index
    for rationale in sorted(rationales, key=lambda r: (r.index, r.id)):
        problem = known.get(rationale.problem_id)
        if problem is not None and problem.answer is None and rationale.verdict is not None:
            answer = shown_answer(rationale, problem)
            votes[problem.id].update([answer] if answer is not None else [])
    examples = []
    for problem_id in sorted(known):
        problem = known[problem_id]
        answer = gold_answer(problem)
        if answer is None and votes[problem_id]:
            answer = votes[problem_id].most_common(1)[0][0]
        if answer is not None:
            prompt = render_prompt(problem, config, "answer")
            examples.append(_example(problem, prompt, answer_target(answer, config), "answer", config, None))
    return examples


def _example(
    problem: Problem, prompt: str, target: str, task: str, config: MixConfig, rationale: Rationale | None
) -> Example:
    meta: dict[str, Any] = {"format": "chat"} if config.format == "chat" else {}
    if rationale is not None and config.reasoning == "think" and rationale.reasoning_content:
        meta |= {"reasoning_content": rationale.reasoning_content, "text": rationale.text}
    if prefix := prefix_of(task, config):
        meta["prefix"] = prefix
    source = rationale.id if rationale is not None else None
    return Example(
        id=content_id("example", prompt, target, task, source),
        prompt=prompt,
        target=target,
        task=task,
        rationale_id=source,
        group=problem.id,
        meta=meta,
    )


def _nothing(config: MixConfig, rationales: Sequence[Rationale], known: Mapping[str, Problem]) -> str:
    counts = Counter(r.verdict.status.value if r.verdict is not None else "no verdict" for r in rationales)
    kinds = Counter(r.kind for r in rationales)
    found = ", ".join(f"{n} {name}" for name, n in counts.most_common()) or "none"
    gold = sum(p.answer is not None for p in known.values())
    return (
        f"mix: nothing to train on for kinds {list(config.kinds)}: of {len(rationales)} rationales ({found}; kinds "
        f"{dict(kinds)}) none is left, and {gold} of {len(known)} problems have a gold answer; keep more "
        "(filter.keep, mix.n) or sample again"
    )
