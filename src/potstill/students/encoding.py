"""Turn examples into token ids, and audit them before anything is trained.

    Example ──encode──► Encoded (prompt ids, target ids with the stop token) ──audit──► Audit, or StudentError

The prompt and the target are tokenised apart and joined, as at inference, where the prompt is tokenised alone; every
target ends with a stop token, and the loss lies on the target only. Nothing is ever truncated: what does not fit is
counted and left out, or refused.

An encoder-decoder's prompt is a text of its own, with the end mark that its tokenizer writes; its target begins apart.

Not covered: whether a target is right (verification does that).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.errors import StudentError, boundary, shorten
from potstill.records import Drop, Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = np.ndarray[tuple[int], np.dtype[np.int32]]
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One example as token ids. Rows with the same `prompt` object share it in training."""

    id: str
    group: str
    """The problem; each problem weighs the same in the `one_per_problem` loader."""
    task: str
    weight: float
    prompt: Ids
    target: Ids
    """Ends with a stop token. Every token of it carries loss."""
    pair: str = ""
    """The pair of the problem: its own id where it is the original; empty: as `group`."""
    contrast: tuple[Ids, ...] = ()
    """Label-only targets of a problem that is one of a pair: the right one, then those of the pair's other labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What will be learnt, in numbers. Percentages in words only; fractions in [0, 1] here."""

    examples: int
    overlong: int
    """Left out because prompt + target exceed `max_length`; never cut."""
    max_length: int | None
    prompt_tokens: int
    """As one row each; shared prompts are read fewer times."""
    target_tokens: int
    masked_frac: float
    """Tokens that carry no loss (prompts), of all."""
    truncated_frac: float
    """Always 0: kept for readers who look for it."""
    overlong_frac: float
    unknown_tokens: int
    """Target tokens that the tokenizer cannot spell."""
    stop_token: str
    longest: int
    tasks: dict[str, int]
    thinking: int
    """Targets with a think block, all of which survive encoding."""
    sample: str
    """One example decoded, with [prompt] and [target] marked."""
    drops: tuple[Drop, ...] = field(default=(), repr=False)

    def lines(self) -> list[str]:
        """Return the audit as lines to print."""
        tasks = ", ".join(f"{count} {task}" for task, count in self.tasks.items())
        left_out = f"; {self.overlong} left out, longer than {self.max_length} tokens" if self.overlong else ""
        unknown = f"; {self.unknown_tokens} target tokens are unknown to the tokenizer" if self.unknown_tokens else ""
        return [
            f"{self.examples} examples ({tasks}){left_out}",
            f"loss on {self.target_tokens} target tokens, none on {self.prompt_tokens} prompt tokens "
            f"({self.masked_frac:.0%} masked, nothing truncated); the stop token {self.stop_token!r} ends every "
            f"target; longest {self.longest} tokens{unknown}",
            f"for example: {shorten(self.sample, 400)}",
        ]

    def facts(self) -> dict[str, Any]:
        """Return what a student's training.json keeps."""
        names = (
            "examples", "overlong", "max_length", "prompt_tokens", "target_tokens", "masked_frac", "truncated_frac",
            "overlong_frac", "unknown_tokens", "stop_token", "longest", "tasks", "thinking", "sample",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


def encode_prompt(
    prompt: str, tokenizer: PreTrainedTokenizerBase, *, chat: bool = False, apart: bool = False
) -> list[int]:
    """Return the ids of a prompt as the student sees it, at training and at inference alike.

    Args:
        apart: The prompt goes to an encoder and keeps its end mark; a causal model goes on after it.

    Raises:
        StudentError: Chat format and the tokenizer has no chat template.
    """
    if chat:
        return _tokens(tokenizer, render_chat(prompt, None, tokenizer))
    ids = list(tokenizer(prompt)["input_ids"])
    while not apart and ids and ids[-1] == tokenizer.eos_token_id:  # some tokenizers end every text; a prompt goes on
        ids.pop()
    return ids


def render_chat(prompt: str, answer: Mapping[str, str] | None, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the conversation as the tokenizer's template writes it.

    Args:
        answer: The assistant's message; `None`: only up to where it begins.
    """
    if not tokenizer.chat_template:
        message = (
            f"student {tokenizer.name_or_path or 'tokenizer'}: mix.format is 'chat' but the tokenizer has no chat "
            "template; use format: plain, or a student with a template"
        )
        raise StudentError(message)
    messages: list[Mapping[str, str]] = [{"role": "user", "content": prompt}]
    if answer is not None:
        messages.append(answer)
    with boundary(StudentError, f"student {tokenizer.name_or_path}: its chat template cannot render these messages"):
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer is None))


def encode(
    examples: Iterable[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    chat: bool = False,
    stop_ids: Sequence[int] | None = None,
    apart: bool = False,
) -> list[Encoded]:
    """Return the examples as token ids, each target with its stop token.

    Raises:
        StudentError: A target is empty, or the chat template drops part of it (a think block, say).
    """
    stops = tuple(stop_ids) if stop_ids else (int(tokenizer.eos_token_id),)
    examples = list(examples)
    for example in examples:
        if not example.target.strip():
            message = f"example {example.id}: the target is empty; there is nothing to learn from it: leave it out"
            raise StudentError(message)
    prompts: dict[str, Ids] = {}
    for text in dict.fromkeys(example.prompt for example in examples):
        prompts[text] = as_ids(encode_prompt(text, tokenizer, chat=chat, apart=apart))
    targets = [_chat_target(example, tokenizer) if chat else example.target for example in examples]
    encoded = _encode_targets(targets, [str(example.meta.get("prefix", "")) for example in examples], tokenizer)
    return [
        Encoded(
            example.id,
            example.group or example.prompt,
            example.task,
            example.weight,
            prompts[example.prompt],
            as_ids(_ended(list(ids), stops)),
            str(example.meta.get("pair", "")),
            _contrast(example, tokenizer, stops, chat=chat),
        )
        for example, ids in zip(examples, encoded, strict=True)
    ]


def _contrast(
    example: Example, tokenizer: PreTrainedTokenizerBase, stops: Sequence[int], *, chat: bool
) -> tuple[Ids, ...]:
    """Return the label-only targets that are noted in an example of a pair, each with its stop token."""
    texts = example.meta.get("contrast", ())
    written = [_chat_target(replace(example, target=text, meta={}), tokenizer) if chat else text for text in texts]
    return tuple(as_ids(_ended(_tokens(tokenizer, text), stops)) for text in written)


def _encode_targets(targets: list[str], prefixes: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Tokenise targets, each prefix apart, so that its tokens are those that inference forces."""
    if not targets:
        return []
    apart = [prefix if target.startswith(prefix) else "" for target, prefix in zip(targets, prefixes, strict=True)]
    rests = [target[len(prefix) :] for target, prefix in zip(targets, apart, strict=True)]
    starts = {prefix: encode_prefix(prefix, tokenizer) for prefix in set(apart)}
    encoded = tokenizer(rests, add_special_tokens=False)["input_ids"]
    return [[*starts[prefix], *ids] for prefix, ids in zip(apart, encoded, strict=True)]


def encode_prefix(prefix: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of a kind's prefix, in training and in inference alike."""
    return _tokens(tokenizer, prefix) if prefix else []


def fit(
    rows: Sequence[Encoded], max_length: int | None, *, overlong: str = "skip", starts: int = 0
) -> tuple[list[Encoded], tuple[Drop, ...]]:
    """Split off the rows that do not fit into `max_length` tokens; they are never cut.

    Args:
        starts: Tokens that an encoder-decoder's decoder starts with: prompt and target must each fit then. 0: the
            model is causal, and both must fit together.

    Raises:
        StudentError: `overlong` is `error` and a row does not fit.
    """
    if max_length is None:
        return list(rows), ()
    kept: list[Encoded] = []
    drops: list[Drop] = []
    for row in rows:
        target = max(len(row.target), *(len(label) for label in row.contrast), 0)
        length = max(len(row.prompt), starts - 1 + target) if starts else len(row.prompt) + target
        if length <= max_length:
            kept.append(row)
            continue
        alone = len(row.prompt) if len(row.prompt) >= max_length and not starts else 0
        detail = f"{length} tokens, at most {max_length}" + (f"; its prompt alone has {alone}" if alone else "")
        if overlong == "error":
            which = "the longer of prompt and target has" if starts else "prompt and target have"
            message = (
                f"example {row.id}: {which} {length} tokens; at most {max_length} fit "
                "(train.max_length or the model's context). Set train.overlong: skip to leave such examples out"
            )
            raise StudentError(message)
        drops.append(Drop(stage="train", id=row.id, reason="overlong", detail=detail))
    return kept, tuple(drops)


def audit(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    chat: bool = False,
    stop_ids: Sequence[int] | None = None,
    max_length: int | None = None,
    overlong: str = "skip",
) -> Audit:
    """Encode examples only to count them; see `audit_rows`."""
    rows = encode(examples, tokenizer, chat=chat, stop_ids=stop_ids)
    kept, drops = fit(rows, max_length, overlong=overlong)
    return audit_rows(kept, examples, tokenizer, stop_ids=stop_ids, max_length=max_length, drops=drops)


def audit_rows(
    rows: Sequence[Encoded],
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    stop_ids: Sequence[int] | None = None,
    max_length: int | None = None,
    drops: tuple[Drop, ...] = (),
) -> Audit:
    """Count which tokens carry loss, and refuse a data set that cannot be learnt from.

    Raises:
        StudentError: Nothing is left, a target does not end with a stop token or holds nothing else, or a think
            block does not survive encoding.
    """
    stops = frozenset(stop_ids or (int(tokenizer.eos_token_id),))
    _require_learnable(rows, drops, stops, max_length)
    thinking = _require_thinking(rows, examples, tokenizer)
    _require_line_breaks(rows, examples, tokenizer)
    prompt_tokens = sum(len(row.prompt) for row in rows)
    target_tokens = sum(len(row.target) for row in rows)
    first = rows[0]
    unknown = tokenizer.unk_token_id
    return Audit(
        examples=len(rows),
        overlong=len(drops),
        max_length=max_length,
        prompt_tokens=prompt_tokens,
        target_tokens=target_tokens,
        masked_frac=round(prompt_tokens / (prompt_tokens + target_tokens), 4),
        truncated_frac=0.0,
        overlong_frac=round(len(drops) / (len(rows) + len(drops)), 4),
        unknown_tokens=0 if unknown is None else sum(int((row.target == unknown).sum()) for row in rows),
        stop_token=str(tokenizer.convert_ids_to_tokens(int(first.target[-1]))),
        longest=max(len(row.prompt) + len(row.target) for row in rows),
        tasks=dict(Counter(row.task for row in rows)),
        thinking=thinking,
        sample=f"[prompt] {tokenizer.decode(first.prompt.tolist())} [target] {tokenizer.decode(first.target.tolist())}",
        drops=drops,
    )


def _require_learnable(
    rows: Sequence[Encoded], drops: tuple[Drop, ...], stops: frozenset[int], max_length: int | None
) -> None:
    if not rows:
        found = f"all {len(drops)} are longer than {max_length} tokens" if drops else "there are none"
        message = f"training examples: {found}; at least one must be left to train on"
        raise StudentError(message)
    for row in rows:
        if len(row.target) < 2 or int(row.target[-1]) not in stops:
            found = "holds nothing but a stop token" if len(row.target) < 2 else "does not end with a stop token"
            message = (
                f"example {row.id}: its encoded target {found}, so the student would not learn when to stop; "
                "check the tokenizer's end-of-sequence token and the target template"
            )
            raise StudentError(message)
        if not len(row.prompt):
            message = f"example {row.id}: its prompt has no tokens; there is nothing to predict the target from"
            raise StudentError(message)


def _require_thinking(rows: Sequence[Encoded], examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many targets hold a think block; raise if one of them loses it on the way to the ids."""
    kept = {row.id: row for row in rows}
    thinking = [example for example in examples if THINK_OPEN in example.target and example.id in kept]
    for example in thinking:
        decoded = tokenizer.decode(kept[example.id].target.tolist(), skip_special_tokens=False)
        if THINK_CLOSE in example.target and THINK_CLOSE not in decoded.replace(" ", ""):
            message = (
                f"example {example.id}: its think block does not survive encoding; decoded: {shorten(decoded, 120)!r}. "
                "The tokenizer must be able to spell <think> and </think>"
            )
            raise StudentError(message)
    return len(thinking)


def _require_line_breaks(
    rows: Sequence[Encoded], examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Raise unless a program keeps its line breaks: T5's vocabulary has none, and a program in one line is another."""
    targets = {example.id: example.target.strip() for example in examples if example.task == "pot"}
    row = next((row for row in rows if "\n" in targets.get(row.id, "")), None)
    if row is not None and "\n" not in tokenizer.decode(row.target.tolist(), skip_special_tokens=True).strip():
        message = (
            f"example {row.id}: the tokenizer has no line break, so this program cannot be written; learn chains of "
            "thought alone (mix.kinds: [cot]), or take a student whose tokenizer can spell programs"
        )
        raise StudentError(message)


def _chat_target(example: Example, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return what the template writes after the prompt: the target and its end-of-turn mark.

    Reasoning that came in a field of its own is offered to the template so first, and as a think block in the text if
    the template does not write the field. A template that opens the thought itself, in the prompt, and keeps none of
    finished turns (DeepSeek-R1's) is completed by hand: the target goes on where the prompt ends.

    Raises:
        StudentError: The template drops or changes part of the target.
    """
    opening = render_chat(example.prompt, None, tokenizer)
    inline = {"role": "assistant", "content": example.target}
    forms = [(inline, [example.target])]
    if "reasoning_content" in example.meta:
        fields = {"content": example.meta["text"], "reasoning_content": example.meta["reasoning_content"]}
        forms.insert(0, ({"role": "assistant", **fields}, list(fields.values())))
    whole = ""
    for answer, parts in forms:
        whole = render_chat(example.prompt, answer, tokenizer)
        if whole.startswith(opening) and all(part.strip() in whole[len(opening) :] for part in parts):
            return whole[len(opening) :]
    lead = opened_thought(tokenizer)
    thought, closed, said = example.target.partition(THINK_CLOSE)
    if lead and closed and thought.startswith(lead) and said.strip() in whole:
        return example.target[len(lead) :] + whole[whole.rindex(said.strip()) + len(said.strip()) :]
    message = (
        f"example {example.id}: the chat template does not write the target as it is (it wrote "
        f"{shorten(repr(whole), 160)}); reasoning would be dropped. Use mix.format: plain or another template"
    )
    raise StudentError(message)


def opened_thought(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the beginning of a think block with which a chat template ends its prompts; empty where it does not."""
    opening = render_chat("", None, tokenizer)
    at = opening.rfind(THINK_OPEN)
    return opening[at:] if at >= 0 and not opening[at + len(THINK_OPEN) :].strip() else ""


def spelled(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """Return what was written as text: without special tokens, but with the marks of a think block, special or not."""
    special = {*tokenizer.all_special_ids}
    marks = {token for token in special if tokenizer.convert_ids_to_tokens(token) in (THINK_OPEN, THINK_CLOSE)}
    if not marks:
        return str(tokenizer.decode(ids, skip_special_tokens=True))
    return str(tokenizer.decode([i for i in ids if i not in special or i in marks], skip_special_tokens=False))


def _ended(ids: list[int], stops: Sequence[int]) -> list[int]:
    """Cut after the last stop token (templates write line ends behind it), or append one."""
    for at in range(len(ids) - 1, -1, -1):
        if ids[at] in stops:
            return ids[: at + 1]
    return [*ids, stops[0]]


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def as_ids(ids: Sequence[int]) -> Ids:
    """Return token ids as an array."""
    return np.asarray(ids, dtype=np.int32)
