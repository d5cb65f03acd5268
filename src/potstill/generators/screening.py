"""Screening: what of the written edits goes to the jury, all candidates at once, cheapest filters first.

Pure: models that embed or score texts reach it as functions. The filters are `potstill.generators.filters`'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from potstill.generators import filters
from potstill.generators.candidates import Candidate, as_problem
from potstill.generators.edits import bare
from potstill.generators.targets import Task
from potstill.rationales.contamination import contaminated
from potstill.recipe.counterfactual import CounterfactualConfig
from potstill.records import Problem

Scorer = Callable[[Sequence[str]], Sequence[float]]
"""Texts -> nats per token under a language model."""
Embedder = Callable[[Sequence[str]], Any]
"""Texts -> one unit vector each."""


def screened(
    candidates: Iterable[Candidate],
    problems: Mapping[str, Problem],
    config: CounterfactualConfig,
    task: Task,
    *,
    evaluated: Sequence[Problem] = (),
    scorer: Scorer | None = None,
    embedder: Embedder | None = None,
) -> list[Candidate]:
    """Return the candidates with the reason for which a filter refuses them; what passes all has none.

    Args:
        evaluated: What repeats or retells one of these problems is refused as contaminated.
        scorer: With `counterfactual.fluency`.
        embedder: With `counterfactual.similarity`.
    """
    cheap = filters.cheap(config.limits, config.banned)
    found = [_screened(one, problems[one.problem_id], cheap, task) for one in candidates]
    if config.similarity is not None and embedder is not None:
        found = _by_similarity(found, problems, config, embedder)
    if config.fluency is not None and scorer is not None:
        found = _by_fluency(found, problems, config, scorer)
    found = _without_copies(found, problems, task)
    return _without_contaminated(found, problems, task, evaluated)


def _screened(
    candidate: Candidate, problem: Problem, cheap: Sequence[Callable[[filters.Case], filters.Finding]], task: Task
) -> Candidate:
    if candidate.fault:
        return replace(candidate, reason=candidate.fault)
    if as_problem(problem, candidate, task.form) is None:
        detail = "the question cannot be put together anew; say how with problems.question"
        return replace(candidate, reason="no_form", detail=detail)
    finding = filters.first_refusal(candidate.case(problem), cheap)
    return replace(candidate, reason=finding.reason, detail=finding.detail, metrics=finding.metrics)


def _by_similarity(
    candidates: list[Candidate], problems: Mapping[str, Problem], config: CounterfactualConfig, embedder: Embedder
) -> list[Candidate]:
    assert config.similarity is not None, "the caller has looked"
    passing = [one for one in candidates if not one.reason]
    vectors = embedder([text for one in passing for text in _before_and_after(one, problems)]) if passing else []
    findings = {
        one.id: filters.similarity(float(vectors[2 * at] @ vectors[2 * at + 1]), config.similarity)
        for at, one in enumerate(passing)
    }
    return [_with(one, findings.get(one.id)) for one in candidates]


def _by_fluency(
    candidates: list[Candidate], problems: Mapping[str, Problem], config: CounterfactualConfig, scorer: Scorer
) -> list[Candidate]:
    assert config.fluency is not None, "the caller has looked"
    passing = [one for one in candidates if not one.reason]
    texts = list(dict.fromkeys(text for one in passing for text in _before_and_after(one, problems)))
    nats = dict(zip(texts, scorer(texts) if texts else [], strict=True))
    findings = {}
    for one in passing:
        before, after = _before_and_after(one, problems)
        findings[one.id] = filters.fluency(nats[before], nats[after], config.fluency)
    return [_with(one, findings.get(one.id)) for one in candidates]


def _before_and_after(candidate: Candidate, problems: Mapping[str, Problem]) -> tuple[str, str]:
    case = candidate.case(problems[candidate.problem_id])
    return case.before, case.text


def _with(candidate: Candidate, finding: filters.Finding | None) -> Candidate:
    if finding is None:
        return candidate
    metrics = {**candidate.metrics, **finding.metrics}
    return replace(candidate, reason=finding.reason, detail=finding.detail, metrics=metrics)


def _without_copies(candidates: list[Candidate], problems: Mapping[str, Problem], task: Task) -> list[Candidate]:
    """Refuse what says what an original says, and the second of two candidates that say the same to one end."""
    originals = {_said(problem) for problem in problems.values()}
    seen: set[tuple[object, ...]] = set()
    found = []
    for one in candidates:
        if not one.reason:
            edited = as_problem(problems[one.problem_id], one, task.form)
            said = _said(edited) if edited is not None else ()
            if said in originals or (*said, one.role, one.new) in seen:
                one = replace(one, reason="duplicate", detail="the same text is there already")
            seen.add((*said, one.role, one.new))
        found.append(one)
    return found


def _said(problem: Problem) -> tuple[object, ...]:
    return (bare(problem.question), problem.options)


def _without_contaminated(
    candidates: list[Candidate], problems: Mapping[str, Problem], task: Task, evaluated: Sequence[Problem]
) -> list[Candidate]:
    if not evaluated:
        return candidates
    texts = {_said(problem) for problem in evaluated}
    edited = {
        one.id: found
        for one in candidates
        if not one.reason and (found := as_problem(problems[one.problem_id], one, task.form)) is not None
    }
    known = contaminated(list({problem.id: problem for problem in edited.values()}.values()), evaluated)
    refused = {id_: known.get(problem.id, "") for id_, problem in edited.items()}
    for id_, problem in edited.items():
        refused[id_] = refused[id_] or ("the same text is in an evaluation split" if _said(problem) in texts else "")
    return [
        replace(one, reason="contaminated", detail=refused[one.id]) if refused.get(one.id) else one
        for one in candidates
    ]
