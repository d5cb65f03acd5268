"""A training example as its student reads it: which tokens carry loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from potstill.evaluation.page.markup import Html, cut, element, join

LARGEST = 20_000_000
"""Bytes of a tokenizer that is read into memory; larger ones are not."""
MARKED = 4_000
"""Characters of a target that are cut into tokens."""


def example_body(folder: Path, job: str, whole: Mapping[str, Any], limit: int) -> Html:
    """Return prompt and target, what carries loss marked: token by token where the student's tokenizer is in the run.

    The stop token, which carries loss as well, is not part of the text and stands at the end.
    """
    prompt, target = str(whole.get("prompt", "")), str(whole.get("target", ""))
    prefix = str((whole.get("meta") or {}).get("prefix") or "")
    start = prefix if prefix and target.startswith(prefix) else ""
    tokenizer = tokenizer_of(folder, job) if len(target) <= MARKED else None
    if tokenizer is None:
        shown: Html = join(element("mark", element("u", start) if start else None, cut(target[len(start) :], limit)))
        counted = ""
    else:
        pieces = [*_pieces(tokenizer, start), *_pieces(tokenizer, target[len(start) :])]
        n_forced = len(_pieces(tokenizer, start))
        shown = _marked(pieces, n_forced)
        counted = f" {len(pieces) + 1:,} tokens with the stop token, by the student's own tokenizer."
    said = join(
        "The prompt carries no loss. ",
        element("mark", "The target carries it"),
        "; its underlined beginning is forced at inference." if start else ".",
        counted,
    )
    end = element("mark", element("b", "⏹"), title="stop token", role="img", aria_label="stop token")
    return join(
        element("p", said, class_="soft"), element("p", cut(prompt, limit), shown, end, class_="written example")
    )


@lru_cache(maxsize=2)
def _read_tokenizer(path: Path, changed: int) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception:  # noqa: BLE001  # the library raises bare Exception for a file of another version: shown plainly
        return None


def tokenizer_of(folder: Path, job: str) -> Any:
    """Return the tokenizer of a run's student, or `None` where it has none that can be read at once."""
    path = folder / "students" / job / "tokenizer.json"
    try:
        stat = path.stat()
    except OSError:
        return None
    return _read_tokenizer(path, stat.st_mtime_ns) if stat.st_size <= LARGEST else None


def _pieces(tokenizer: Any, text: str) -> list[str]:
    """Return a text cut where its tokens begin; joined they are the text."""
    if not text:
        return []
    text = text.encode("utf-8", "replace").decode("utf-8")
    starts = sorted({0, *(start for start, _ in tokenizer.encode(text, add_special_tokens=False).offsets)})
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


def _marked(pieces: Iterable[str], n_forced: int) -> Html:
    """Return the tokens, each marked; those that are forced underlined."""
    return join(
        *(
            element("mark", element("u", piece) if at < n_forced else piece, class_="token")
            for at, piece in enumerate(pieces)
        )
    )
