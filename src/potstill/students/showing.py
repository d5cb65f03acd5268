"""Worked examples before a question: other training problems in training, a file of demonstrations at inference.

    Q: ...            ┐
    A: ... answer     ├ k worked examples, each as it is learnt
                      ┘
    Q: the question
    A:

A student that is trained so, or read much text, can be asked a task that it was never trained on by showing it a few
worked ones. Pure but for `read_shown`, which reads the files that `infer.demonstrations` names.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from potstill.errors import DataError
from potstill.rationales.prompts import Demonstration, load_demonstrations
from potstill.recipe.students import InferConfig, MixConfig
from potstill.records import Example, Problem, child_seed, content_id
from potstill.students.rendering import answer_target, fill, framed, render_prompt

BETWEEN = "\n\n"
Shown = Mapping[str, Sequence[Demonstration]]
"""Split -> the worked examples before its questions."""


def read_shown(config: InferConfig) -> Shown:
    """Return the worked examples of each split that has any.

    Raises:
        DataError: A file is missing or broken, or holds fewer than are to be shown.
    """
    found = {split: load_demonstrations(name) for split, name in config.demonstrations.items()}
    for split, shown in found.items():
        if config.n_demonstrations is not None and config.n_demonstrations > len(shown):
            message = (
                f"infer.demonstrations.{split}: {config.demonstrations[split]} holds {len(shown)}, and "
                f"infer.n_demonstrations is {config.n_demonstrations}; add rows or lower it"
            )
            raise DataError(message)
    return {split: shown[: config.n_demonstrations] for split, shown in found.items()}


def before_of(problem: Problem, shown: Shown, config: MixConfig, kind: str) -> str:
    """Return what stands before a problem's prompt: its split's worked examples in the form that students learn."""
    return "".join(
        render_prompt(Problem(id="", question=one.question, options=one.options), config, kind)
        + _target(one, config, kind)
        + BETWEEN
        for one in shown.get(problem.split, ())
    )


def with_shots(examples: list[Example], known: Mapping[str, Problem], shots: int, seed: int) -> list[Example]:
    """Return training examples with so many worked ones before each question, of the same split, task and kind.

    All examples of a problem and kind share theirs, so that the prompt is still read once for all of them.

    Raises:
        DataError: A task has too few problems to show any others.

    Source: MetaICL, Min et al. 2022, arXiv:2110.15943 (training on k examples and a question of one task), the baseline
        of SCoTD's transfer study, Li et al. 2023, arXiv:2306.14050, section 4.
    """
    if not shots:
        return examples
    of_task: dict[tuple[str, str, str], dict[str, list[Example]]] = defaultdict(lambda: defaultdict(list))
    for example in examples:
        of_task[_task(example, known)][example.group].append(example)
    return [_behind(example, of_task[_task(example, known)], shots, seed) for example in examples]


def _task(example: Example, known: Mapping[str, Problem]) -> tuple[str, str, str]:
    problem = known.get(example.group)
    return (problem.split, str(problem.meta.get("task", "")), example.task) if problem else ("", "", example.task)


def _behind(example: Example, groups: Mapping[str, Sequence[Example]], shots: int, seed: int) -> Example:
    others = sorted(group for group in groups if group != example.group)
    if len(others) < shots:
        message = f"mix.shots: {shots} asked for, and a task has {len(others)} other problems; lower it, or sample more"
        raise DataError(message)
    rng = random.Random(child_seed(seed, "shots", example.group, example.task))
    shown = [rng.choice(groups[group]) for group in rng.sample(others, shots)]
    prompt = "".join(one.prompt + one.target + BETWEEN for one in shown) + example.prompt
    own = content_id("example", prompt, example.target, example.task, example.rationale_id)
    return replace(example, id=own, prompt=prompt)


def _target(one: Demonstration, config: MixConfig, kind: str) -> str:
    if kind == "answer":
        return answer_target(one.answer, config)
    if kind == "pot":
        return framed(one.program, config, "pot")
    return framed(fill(config.target, rationale=one.rationale, answer=one.answer), config, kind)
