"""Mixing: kept rationales become training examples, in text.

Between filtering and training; pure but for `export`. What an `Example` holds, for those who encode it:

* `prompt`: the text that the student reads, `mix.prompt` with the question filled in (options listed below it). The
  same function (`render_prompt`) makes the prompts of inference.
* `target`: everything that carries loss except the stop token, which encoding appends.
* In `format: plain` the student sees prompt + target as they stand, so the target begins with its own space. In
  `format: chat` the prompt is the content of the one user message and the target that of the assistant's, both
  without outer white space, `meta["format"]` is "chat", and encoding applies the tokenizer's chat template. Unless
  `mix.prompt` is given, a chat prompt is the question alone.
* `group`: the problem's id. Examples of one group and task share their prompt letter for letter.
* `weight`: 1 for every example; loaders and loss weigh, mixing does not.

A rationale's target is the teacher's text up to its answer ("So the answer is", "####"), as written, and then the
verified answer in one form, as `mix.target` says. Where no such words are found the whole text stays and the answer
follows it: the student must learn one way to end. A text in which no answer was read at all (kept by `keep: all`) is
learnt as it stands. Not done here: nothing is truncated to a length, weighted or balanced over answers.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from potstill.errors import ConfigError, DataError, shorten
from potstill.files import write_atomic, write_records
from potstill.rationales.answers import normalise
from potstill.rationales.filtering import keep, require_kept
from potstill.rationales.prompts import render_question
from potstill.recipe import FilterConfig, MixConfig
from potstill.records import Example, Problem, Rationale, Status, child_seed, content_id, to_dict

_MARKER = re.compile(
    r"(?:\b(?:so|therefore|thus|hence|consequently|accordingly|and)\b,?\s+)*(?:\bthe\s+)?(?:\b(?:final|correct|best|right)\s+)*"
    r"\banswer\b(?:\s+(?:to|for)\s+(?:the|this|your)\s+(?:question|problem))?\**\s*(?:is\b|would\s+be\b|must\s+be\b|:|=)\s*:?"
    r"|^[ \t]*####|<answer>|(?<=\n)(?:A|Ans):[ \t]",
    re.IGNORECASE | re.MULTILINE,
)
_RUN_ON = re.compile(r"\n\s*(?:Q|Question)\s*:")
_THINK = re.compile(r"\s*<think>\n?(.*?)\n?</think>(?:\n\n)?", re.DOTALL)
_TAIL_WORDS = 25
"""Words that may follow an answer marker; with more, the text went on reasoning and is not cut there."""
_DECIMAL = re.compile(r"-?\d+\.\d+")
_CHOICE = re.compile(r"\(?([A-Za-z])\)?")


def mix(
    rationales: Iterable[Rationale],
    config: MixConfig = MixConfig(),  # noqa: B008 - frozen
    *,
    problems: Iterable[Problem] | Mapping[str, Problem] | None = None,
    filter: FilterConfig | None = FilterConfig(),  # noqa: B008 - the interface's word for the stage
    candidates: Iterable[Rationale] | None = None,
    seed: int = 0,
) -> list[Example]:
    """Return the training examples of the kept rationales, in an order that does not depend on that of the input.

    Args:
        rationales: Verified ones.
        problems: The training problems; needed for `kinds: [answer]`, else those of the rationales are used.
        filter: Applied after `mix.n` has chosen; `None`: `rationales` are those already kept.
        candidates: With `filter=None`: every rationale sampled, of which the first `mix.n` are chosen.
        seed: Orders each problem's samples; the first n of it are a part of the first n + 1.

    Raises:
        DataError: Nothing is left to train on, or a rationale's problem is unknown.
        ConfigError: A template lacks its placeholder.

    Source: Li et al. 2023 (SCoTD), arXiv:2306.14050, section 3 and the authors' code (prompt "Q: x\\nA: ", target
        rationale + " So the answer is: " + label; label-only target without the rationale; N rationales a problem).
    Differs: the space after "A:" begins the target, not the prompt, so that it is tokenised with the word it belongs
        to; the answer is the verified one in canonical form; the label-only target keeps the marker.
    """
    require_placeholders(config)
    rows = list(rationales)
    everything = list(candidates) if candidates is not None else rows
    known = _known_problems(problems, everything)
    chosen = _first_n(everything, config.n, seed)
    rows = [r for r in rows if r.id in chosen]
    if filter is not None:
        rows, drops = keep(rows, filter)
        if "cot" in config.kinds or "pot" in config.kinds:
            require_kept(rows, drops, "mix")
    examples: list[Example] = []
    for kind in config.kinds:
        made = (
            _answer_examples(known, everything, config) if kind == "answer" else _from(rows, kind, known, config, seed)
        )
        examples += made
    if not examples:
        raise DataError(_nothing(config, everything, known))
    return examples


def render_prompt(problem: Problem, config: MixConfig) -> str:
    """Return the prompt that a student of this recipe reads for a problem, in training and in inference alike."""
    return _fill(config.prompt, question=render_question(problem))


def target_for(rationale: Rationale, problem: Problem, config: MixConfig) -> str:
    """Return what the student learns to write: the reasoning as the teacher wrote it, then the answer in one form.

    With `reasoning: think` a rationale that has a thought is learnt verbatim, thought and text, answer as written.
    """
    thought, said = split_think(rationale.text)
    thought = rationale.reasoning_content or thought
    if config.reasoning == "think" and thought:
        return rationale.text if rationale.reasoning_content is None else join_think(thought, rationale.text)
    answer = _shown_answer(rationale, problem)
    if rationale.kind == "pot" or answer is None:
        return _framed(said.strip(), config)
    rest = reasoning_of(said)
    if not rest:
        return _framed(_fill(config.answer_target, answer=answer), config)
    return _framed(_fill(config.target, rationale=rest, answer=answer), config)


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


def join_think(reasoning: str, text: str) -> str:
    """Return reasoning and text as one string, the reasoning in a `<think>` block; `split_think` takes it apart."""
    return f"<think>\n{reasoning}\n</think>\n\n{text}"


def split_think(text: str) -> tuple[str | None, str]:
    """Return (reasoning, text) of a string that begins with a `<think>` block; (`None`, text) of any other."""
    match = _THINK.match(text)
    return (match[1], text[match.end() :]) if match else (None, text)


def require_placeholders(config: MixConfig) -> None:
    """Raise `ConfigError` if a template cannot hold what it is for."""
    needed = {"prompt": ("question",), "target": ("rationale", "answer"), "answer_target": ("answer",)}
    for name, fields in needed.items():
        template = getattr(config, name)
        for field in fields:
            if f"{{{field}}}" not in template:
                message = f"mix.{name}: got {shorten(repr(template), 80)}; it must contain {{{field}}}"
                raise ConfigError(message)


def _known_problems(
    problems: Iterable[Problem] | Mapping[str, Problem] | None, rationales: Sequence[Rationale]
) -> dict[str, Problem]:
    if problems is not None:
        rows = problems.values() if isinstance(problems, Mapping) else problems
        return {p.id: p for p in rows}
    return {r.problem_id: r.problem for r in rationales if r.problem is not None}


def _order(rationale: Rationale, seed: int) -> tuple[int, str]:
    return child_seed("mix", seed, rationale.problem_id, rationale.id), rationale.id


def _first_n(rationales: Iterable[Rationale], n: int | None, seed: int) -> set[str]:
    """Return the ids of the first n samples of each problem and kind, in an order drawn by seed: nested in n."""
    groups: dict[tuple[str, str], dict[str, Rationale]] = defaultdict(dict)
    for rationale in rationales:
        groups[rationale.problem_id, rationale.kind][rationale.id] = rationale
    return {
        rationale.id
        for members in groups.values()
        for rationale in sorted(members.values(), key=lambda r: _order(r, seed))[:n]
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
        members = sorted(groups[problem_id].values(), key=lambda r: _order(r, seed))[: config.max_per_problem]
        problem = known.get(problem_id) or members[0].problem
        if problem is None:
            message = (
                f"mix: rationale {members[0].id} is of problem {problem_id!r}, which is not among the problems given"
            )
            raise DataError(message)
        prompt = render_prompt(problem, config)
        examples += [_example(problem, prompt, target_for(r, problem, config), kind, config, r) for r in members]
    return examples


def _answer_examples(known: Mapping[str, Problem], rationales: Sequence[Rationale], config: MixConfig) -> list[Example]:
    """Return one label-only example per problem, from gold or else from the teacher's most frequent answer."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)  # a tie goes to the answer of the lowest index
    for rationale in sorted(rationales, key=lambda r: (r.index, r.id)):
        problem = known.get(rationale.problem_id)
        if problem is not None and problem.answer is None and rationale.verdict is not None:
            answer = _shown_answer(rationale, problem)
            votes[problem.id].update([answer] if answer is not None else [])
    examples = []
    for problem_id in sorted(known):
        problem = known[problem_id]
        answer = gold_answer(problem)
        if answer is None and votes[problem_id]:
            answer = votes[problem_id].most_common(1)[0][0]
        if answer is not None:
            target = _framed(_fill(config.answer_target, answer=answer), config)
            examples.append(_example(problem, render_prompt(problem, config), target, "answer", config, None))
    return examples


def _example(
    problem: Problem, prompt: str, target: str, task: str, config: MixConfig, rationale: Rationale | None
) -> Example:
    meta: dict[str, Any] = {"format": "chat"} if config.format == "chat" else {}
    if rationale is not None and config.reasoning == "think" and rationale.reasoning_content:
        meta |= {"reasoning_content": rationale.reasoning_content, "text": rationale.text}
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


def gold_answer(problem: Problem) -> str | None:
    """Return the gold answer in the form that students learn to write it; `None` where there is none."""
    if problem.answer is None:
        return None
    if problem.answer_type in ("text", "expression"):
        return problem.answer.strip()
    return _shown(problem.answer, problem)


def _shown_answer(rationale: Rationale, problem: Problem) -> str | None:
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


def _fill(template: str, **values: str) -> str:
    """Fill the placeholders named, and nothing else: braces in questions and other braces in templates stay."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


def _framed(target: str, config: MixConfig) -> str:
    """Return a target with the white space its format needs before it."""
    if config.format == "chat":
        return target.strip()
    lead = config.target[: len(config.target) - len(config.target.lstrip())]
    return target if target[:1].isspace() else lead + target


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


def _trl(example: Example) -> dict[str, Any]:
    if example.meta.get("format") != "chat":
        return {"prompt": example.prompt, "completion": example.target}
    user, assistant = _messages(example)["messages"]
    return {"prompt": [user], "completion": [assistant]}


def _messages(example: Example) -> dict[str, Any]:
    assistant = {"role": "assistant", "content": example.target.strip()}
    if "reasoning_content" in example.meta:
        assistant["content"] = example.meta["text"]
        assistant["reasoning_content"] = example.meta["reasoning_content"]
    return {"messages": [{"role": "user", "content": example.prompt}, assistant]}


EXPORTS: dict[str, Callable[[Example], dict[str, Any]]] = {"potstill": to_dict, "trl": _trl, "messages": _messages}
"""Format name -> one example as a row of it; `trl` is prompt-completion, whose loss is on the completion alone."""


def export(examples: Iterable[Example], path: str | Path, format: str = "potstill") -> int:
    """Write examples as JSON lines in one of the `EXPORTS` formats and return their number."""
    if format not in EXPORTS:
        message = f"mix --format: got {format!r}; expected one of {', '.join(EXPORTS)}"
        raise ConfigError(message)
    if format == "potstill":
        return write_records(path, examples)
    lines = [json.dumps(EXPORTS[format](example), ensure_ascii=False) + "\n" for example in examples]
    write_atomic(path, "".join(lines))
    return len(lines)
