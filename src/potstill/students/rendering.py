"""What a student reads and what it learns to write: prompts and targets as text.

The one place where the two meet: training, inference and exports all render through these functions. A skill (a kind of
rationale) is asked for in one of two ways, or both: `mix.prompts` gives a kind a prompt of its own, and `mix.prefixes`
gives its targets a beginning of their own. A prefix is learnt like the rest of the target, and forced at inference; so
all kinds share one prompt, which is read once, and the student itself can say which skill it would choose.

A rationale's target is the teacher's text up to its answer ("So the answer is", "####"), as written, and then the
verified answer in one form, as `mix.target` says. Where no such words are found the whole text stays and the answer
follows it: the student must learn one way to end. A text in which no answer was read at all (kept by `keep: all`) is
learnt as it stands. A program is learnt as the program alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from potstill.errors import ConfigError, shorten
from potstill.rationales.answers import normalise
from potstill.rationales.programs import find_program
from potstill.rationales.prompts import render_question
from potstill.recipe.students import InferConfig, MixConfig
from potstill.records import Problem, Rationale, Status

_MARKER = re.compile(
    r"(?:\b(?:so|therefore|thus|hence|consequently|accordingly|and)\b,?\s+)*(?:\bthe\s+)?(?:\b(?:final|correct|best|right)\s+)*"
    r"\banswer\b(?:\s+(?:to|for)\s+(?:the|this|your)\s+(?:question|problem))?\**\s*(?:is\b|would\s+be\b|must\s+be\b|:|=)\s*:?"
    r"|^[ \t]*####|<answer>|(?<=\n)(?:A|Ans):[ \t]",
    re.IGNORECASE | re.MULTILINE,
)
_STATED = re.compile(r"\s*([^\n]+?)(?=[.!]\s|[.!]?\s*(?:\n|$))")
_RUN_ON = re.compile(r"\n\s*(?:Q|Question)\s*:")
_THINK = re.compile(r"\s*<think>\n?(.*?)\n?</think>(?:\n\n)?", re.DOTALL)
_TAIL_WORDS = 25
"""Words that may follow an answer marker; with more, the text went on reasoning and is not cut there."""
_DECIMAL = re.compile(r"-?\d+\.\d+")
_CHOICE = re.compile(r"\(?([A-Za-z])\)?")


def render_prompt(problem: Problem, config: MixConfig, kind: str = "cot", view: str | None = None) -> str:
    """Return the prompt that a student of this recipe reads for a problem, in training and in inference alike."""
    prompts: Mapping[str, str] = config.prompts  # type: ignore[assignment]
    return fill(prompts.get(view or kind, prompts.get(kind, config.prompt)), question=render_question(problem))


def prefix_of(kind: str, config: MixConfig, view: str | None = None) -> str:
    """Return what every target of a kind (and view) begins with; empty where they are not marked so."""
    prefixes: Mapping[str, str] = config.prefixes  # type: ignore[assignment]
    return prefixes.get(view or kind, prefixes.get(kind, ""))


def views_asked(config: InferConfig, mix: MixConfig, kind: str) -> tuple[str | None, ...]:
    """Return the views in which a student is asked for a kind: chains of thought alone have any."""
    if kind != "cot":
        return (None,)
    told_apart = "positive" in {**mix.prefixes, **mix.prompts}
    return config.views or (("positive",) if told_apart else (None,))


def target_for(rationale: Rationale, problem: Problem, config: MixConfig) -> str:
    """Return what the student learns to write: the kind's prefix, the reasoning as written, the answer in one form.

    With `reasoning: think` a rationale that has a thought is learnt verbatim, thought and text, answer as written.
    """
    thought, said = split_think(rationale.text)
    thought = rationale.reasoning_content or thought
    if config.reasoning == "think" and thought:
        return rationale.text if rationale.reasoning_content is None else join_think(thought, rationale.text)
    if rationale.kind == "pot":
        found = find_program(said).programs  # without fences and prose, which no student should learn to write
        return framed(found[0] if found else said.strip(), config, "pot")
    kind, view = rationale.kind, rationale.view
    answer = shown_answer(rationale, problem)
    if answer is None:
        return framed(said.strip(), config, kind, view)
    rest = reasoning_of(said)
    if not rest:
        return answer_target(answer, config)
    return framed(fill(config.target, rationale=rest, answer=answer), config, kind, view)


def answer_target(answer: str, config: MixConfig) -> str:
    """Return the target that holds the bare answer."""
    return framed(fill(config.answer_target, answer=answer), config, "answer")


def reasoning_of(text: str) -> str:
    """Return a text up to where it states its answer; all of it where it never says so in so many words.

    What a completion model ran on to write after its answer (a next question) is cut first.

    >>> reasoning_of("3 + 4 = 7. So the answer is: 7")
    '3 + 4 = 7.'
    >>> reasoning_of("She has 3 + 4 = 7 shells.")
    'She has 3 + 4 = 7 shells.'
    """
    text = _RUN_ON.split(text.strip(), maxsplit=1)[0]
    last = next(reversed([*_MARKER.finditer(text)]), None)
    if last is None or len(text[last.end() :].split()) > _TAIL_WORDS:
        return text.strip()
    return text[: last.start()].rstrip().rstrip("*#").rstrip()


def answer_span(text: str) -> tuple[int, int] | None:
    """Return where a text states its answer, up to the end of that sentence; `None` where it does not say so.

    >>> text = "It rises. So the answer is: up"
    >>> text[slice(*answer_span(text))]
    'up'
    """
    last = next(reversed([*_MARKER.finditer(text)]), None)
    if last is None:
        return None
    stated = _STATED.match(text, last.end())
    return (stated.start(1), stated.end(1)) if stated else None


def join_think(reasoning: str, text: str) -> str:
    """Return reasoning and text as one string, the reasoning in a `<think>` block; `split_think` takes it apart."""
    return f"<think>\n{reasoning}\n</think>\n\n{text}"


def split_think(text: str) -> tuple[str | None, str]:
    """Return (reasoning, text) of a string that begins with a `<think>` block; (`None`, text) of any other."""
    match = _THINK.match(text)
    return (match[1], text[match.end() :]) if match else (None, text)


def require_placeholders(config: MixConfig) -> None:
    """Raise `ConfigError` if a template cannot hold what it is for, or a prefix could not begin its targets."""
    if config.prefixes and config.reasoning == "think":
        message = (
            "mix.prefixes: a thought that is learnt verbatim (reasoning: think) begins its target itself; "
            "give each kind a prompt of its own (mix.prompts) and set prefixes: {}"
        )
        raise ConfigError(message)
    needed = {"prompt": ("question",), "target": ("rationale", "answer"), "answer_target": ("answer",)}
    templates = {name: (getattr(config, name), fields) for name, fields in needed.items()}
    templates |= {f"prompts.{kind}": (template, ("question",)) for kind, template in config.prompts.items()}
    for name, (template, fields) in templates.items():
        for field in fields:
            if f"{{{field}}}" not in template:
                message = f"mix.{name}: got {shorten(repr(template), 80)}; it must contain {{{field}}}"
                raise ConfigError(message)


def gold_answer(problem: Problem) -> str | None:
    """Return the gold answer in the form that students learn to write it; `None` where there is none."""
    if problem.answer is None:
        return None
    if problem.answer_type in ("text", "expression"):
        return problem.answer.strip()
    return _shown(problem.answer, problem)


def shown_answer(rationale: Rationale, problem: Problem) -> str | None:
    """Return a rationale's own answer as it is written into its target: the gold one's form where it is right."""
    verdict = rationale.verdict
    if verdict is None or verdict.answer is None:
        return None
    if verdict.status is Status.CORRECT and problem.answer is not None:
        return gold_answer(problem)
    return _shown(verdict.answer, problem)


def _shown(answer: str, problem: Problem) -> str:
    found = normalise(answer, problem.answer_type, problem.options, problem.labels)
    text = found.text if found is not None else answer.strip()
    if problem.answer_type == "number" and "/" in text and _DECIMAL.fullmatch(answer.strip()):
        return answer.strip()  # a long decimal: its lowest terms are right and nobody writes them
    if problem.answer_type == "choice" and (match := _CHOICE.fullmatch(text)):
        return f"({match[1].lower()})"
    return text


def fill(template: str, **values: str) -> str:
    """Fill the placeholders named, and nothing else: braces in questions and other braces in templates stay."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


def framed(target: str, config: MixConfig, kind: str, view: str | None = None) -> str:
    """Return a target behind the prefix of its kind or view, with the white space that its format needs before it."""
    prefix = prefix_of(kind, config, view)
    if config.format == "chat":
        return f"{prefix}{target.strip()}" if prefix[-1:].isspace() else f"{prefix} {target.strip()}".strip()
    if prefix[-1:].isspace():
        return prefix + target.lstrip(" ")
    if target[:1].isspace():
        return prefix + target
    lead = config.target[: len(config.target) - len(config.target.lstrip())]
    return prefix + ("\n" if kind == "pot" else lead) + target
