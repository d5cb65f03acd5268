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
* `meta["pair"]`: of an edited problem, the original's id: the two are a pair. `meta["view"]`: a chain of thought's.
  `meta["contrast"]`, where a pair margin is learnt: label-only targets, the right one first, then those of the other
  labels in the pair. `meta["donor"]`: whose target it is, where labels are shuffled.

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
from potstill.rationales.budgeting import pass_counts, second_stage
from potstill.rationales.filtering import keep, require_kept
from potstill.rationales.roles import capped, contrasts, donors, pair_of, role_of, with_roles
from potstill.rationales.selecting import drawn_order, select
from potstill.rationales.ways import way_name, way_of
from potstill.recipe.rationales import FilterConfig
from potstill.recipe.students import N_FIRST, MixConfig
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
from potstill.students.showing import with_shots


def mix(
    rationales: Iterable[Rationale],
    config: MixConfig = MixConfig(),  # noqa: B008 - frozen
    *,
    problems: Iterable[Problem] | Mapping[str, Problem] | None = None,
    filter: FilterConfig | None = FilterConfig(),  # noqa: B008 - the interface's word for the stage
    candidates: Iterable[Rationale] | None = None,
    seed: int = 0,
    difficulty: str | None = None,
    contrast: bool = False,
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
        contrast: Note the labels of each pair in its examples, for a pair margin.

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
    known = with_roles(_share(every, config.problem_frac, seed), config.roles, every)
    known = {id_: p for id_, p in known.items() if id_ not in capped(known, config.counterfactual_ratio, every, seed)}
    everything, rows = _of_views(everything, config), _of_views(rows, config)
    if left_out := every.keys() - known.keys():
        everything = [r for r in everything if r.problem_id not in left_out]
        rows = [r for r in rows if r.problem_id not in left_out]
    chosen = (
        _budgeted(everything, config.n, seed) if config.budget_by != "none" else _first_n(everything, config.n, seed)
    )
    rows = [r for r in rows if r.id in chosen]
    if filter is not None:
        _require_decisions(rows, filter)
        rows, drops = keep(rows, filter)
        if "cot" in config.kinds or "pot" in config.kinds:
            require_kept(rows, drops, "mix")
    if config.select is not None:
        rows = select(rows, config.select, seed=seed)
    edits = {id_ for id_, problem in known.items() if role_of(problem, every) == "counterfactual"}
    given = _given(rows, known, edits, config, seed)
    examples = _of_kinds(rows, everything, known, config, seed, given)
    if config.counterfactuals == "answer":
        examples = _bare(examples, known, edits, config)
    if not examples:
        raise DataError(_nothing(config, everything, known))
    if contrast:
        examples = _contrasted(examples, known, given, config)
    if difficulty is not None:
        found = difficulties(difficulty, known.values(), everything)
        examples = [_noted(example, found) for example in examples]
    examples = _capped(examples) if config.balance == "cap" else examples
    return with_shots(examples, known, config.shots, seed)


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


def _of_kinds(
    rows: Sequence[Rationale],
    everything: Sequence[Rationale],
    known: Mapping[str, Problem],
    config: MixConfig,
    seed: int,
    given: Mapping[str, str],
) -> list[Example]:
    """Return the examples of all kinds, one kind after another."""
    examples: list[Example] = []
    for kind in config.kinds:
        if kind == "answer":
            examples += _answer_examples(known, everything, config, given)
        else:
            examples += _from(rows, kind, known, config, seed, given)
    return examples


def _of_views(rationales: Sequence[Rationale], config: MixConfig) -> list[Rationale]:
    """Leave out chains of thought of views that are not learnt."""
    return [r for r in rationales if r.view is None or config.views is None or r.view in config.views]


def _given(
    rows: Sequence[Rationale], known: Mapping[str, Problem], edits: set[str], config: MixConfig, seed: int
) -> Mapping[str, str]:
    """Return counterfactual -> the one whose targets it is taught; empty unless they are shuffled."""
    if config.counterfactuals != "shuffled":
        return {}
    written = {r.problem_id for r in rows}
    has_text = set(config.kinds) != {"answer"}
    return donors([known[id_] for id_ in sorted(edits) if id_ in written or not has_text], seed)


def _bare(
    examples: Sequence[Example], known: Mapping[str, Problem], edits: set[str], config: MixConfig
) -> list[Example]:
    """Put one label-only example in the place of all that a counterfactual has."""
    kept = [example for example in examples if example.group not in edits]
    bare = {example.group: known[example.group] for example in examples if example.group in edits}
    return kept + _answer_examples(bare, [], config, {})


def _contrasted(
    examples: Iterable[Example], known: Mapping[str, Problem], given: Mapping[str, str], config: MixConfig
) -> list[Example]:
    """Note label-only targets in the examples of pairs: the label that is taught, then the pair's others."""
    taught = {id_: replace(problem, answer=known[given.get(id_, id_)].answer) for id_, problem in known.items()}
    others = contrasts(taught.values())
    found = []
    for example in examples:
        if example.group in others:
            problem = taught[example.group]
            answers = [gold_answer(replace(problem, answer=one)) for one in (problem.answer, *others[example.group])]
            targets = [answer_target(str(answer), config) for answer in answers]
            example = replace(example, meta={**example.meta, "contrast": targets})
        found.append(example)
    return found


def role_counts(examples: Sequence[Example], rationales: Iterable[Rationale]) -> dict[str, int]:
    """Return, of examples with views or pairs, how many of each and what their rationales cost; else nothing.

    `pairs` are edited problems, `teacher_tokens` the completion tokens of every rationale that was written for a
    problem among the examples, in the views that are learnt: what this arm's rationales were bought for.
    """
    views = Counter(f"view_{e.meta['view']}" for e in examples if "view" in e.meta)
    pairs = {e.group for e in examples if "pair" in e.meta}
    if not views and not pairs:
        return {}
    groups, learnt = {e.group for e in examples}, {e.meta.get("view") for e in examples}
    bought = [r for r in rationales if r.problem_id in groups and r.view in learnt]
    tokens = sum(int(r.usage.get("completion_tokens", 0)) for r in bought)
    return {**dict(sorted(views.items())), "pairs": len(pairs), "teacher_tokens": tokens}


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
    """Return a fraction of the problems, at least one, by an order drawn by seed: nested in the fraction.

    A pair comes with all its members.
    """
    if frac >= 1:
        return dict(known)
    places = {id: child_seed("share", seed, pair_of(problem)) for id, problem in known.items()}
    order = sorted(known, key=lambda id: (places[id], pair_of(known[id]), id))
    taken = set(order[: max(1, math.ceil(frac * len(order) - 1e-9))])
    return {id: problem for id, problem in known.items() if id in taken}


def _budgeted(rationales: Sequence[Rationale], n: int | None, seed: int) -> set[str]:
    """Return the ids of the samples that two stages by pass rate would have brought, at the budget of n each."""
    assert n is not None, "the recipe asks for n with budget_by"
    first = _first_n(rationales, N_FIRST, seed)
    most = max(Counter((r.problem_id, r.kind) for r in rationales).values(), default=0)
    counts = second_stage(
        pass_counts(r for r in rationales if r.id in first), n=n, n_first=N_FIRST, n_most=min(most, 4 * n)
    )
    return _first_n(rationales, n, seed, counts)


def _first_n(
    rationales: Iterable[Rationale], n: int | None, seed: int, counts: Mapping[tuple[str, str], int] | None = None
) -> set[str]:
    """Return the ids of the first n samples of each problem and kind, in an order drawn by seed: nested in n.

    Args:
        counts: (problem id, kind) -> how many, instead of n.
    """
    groups: dict[tuple[str, str], dict[str, Rationale]] = defaultdict(dict)
    for rationale in rationales:
        groups[rationale.problem_id, way_of(rationale)][rationale.id] = rationale
    return {
        rationale.id
        for key, members in groups.items()
        for rationale in sorted(members.values(), key=lambda r: drawn_order(r, seed))[: (counts or {}).get(key, n)]
    }


def _from(
    rationales: Sequence[Rationale], kind: str, known: Mapping[str, Problem], config: MixConfig, seed: int,
    given: Mapping[str, str],
) -> list[Example]:  # fmt: skip
    """Return the examples of one kind: every problem with its own rationales, or those of the one it is given."""
    groups: dict[str, dict[str, dict[str, Rationale]]] = defaultdict(lambda: defaultdict(dict))
    for rationale in rationales:
        if rationale.kind == kind:
            groups[rationale.problem_id][way_name(kind, rationale.view)][rationale.id] = rationale
    examples = []
    for problem_id in sorted(groups):
        ways = groups[given.get(problem_id, problem_id)]
        for way in sorted(ways):
            members = sorted(ways[way].values(), key=lambda r: drawn_order(r, seed))[: config.max_per_problem]
            problem, source = (_required(known, id_, members) for id_ in (problem_id, members[0].problem_id))
            prompt = render_prompt(problem, config, kind, members[0].view)
            targets = [target_for(r, source, config) for r in members]
            examples += [
                _example(problem, prompt, target, kind, config, r) for r, target in zip(members, targets, strict=True)
            ]
    return examples


def _required(known: Mapping[str, Problem], problem_id: str, members: Sequence[Rationale]) -> Problem:
    problem = known.get(problem_id) or (members[0].problem if members[0].problem_id == problem_id else None)
    if problem is None:
        message = f"mix: rationale {members[0].id} is of problem {problem_id!r}, which is not among the problems given"
        raise DataError(message)
    return problem


def _answer_examples(
    known: Mapping[str, Problem], rationales: Sequence[Rationale], config: MixConfig, given: Mapping[str, str]
) -> list[Example]:
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
        answer = gold_answer(known[given.get(problem_id, problem_id)])
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
    view = rationale.view if rationale is not None else None
    if prefix := prefix_of(task, config, view):
        meta["prefix"] = prefix
    if view is not None:
        meta["view"] = view
    if problem.parent_id is not None:
        meta["pair"] = pair_of(problem)
    if rationale is not None and rationale.problem_id != problem.id:
        meta["donor"] = rationale.problem_id
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
