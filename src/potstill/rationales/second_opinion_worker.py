"""The worker process of `potstill.rationales.second_opinion`: reads ["gold", "answer"] lines, writes verdict lines.

Run as a module, never imported by the library. Its standard output carries nothing but the protocol: whatever
math-verify or its parsers print goes to standard error.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from typing import Any, TextIO

_MEMORY_BYTES = 2 << 30
_FLOAT_DIGITS = 12
"""math-verify's default of 6 calls 1/2004! and 1/2006! equal."""


def main() -> None:
    """Answer questions from standard input until it closes."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    import math_verify

    _write(out, {"ready": True})
    for line in sys.stdin:
        gold, answer = json.loads(line)
        _write(out, _opinion(math_verify, gold, answer))


def _opinion(checker: Any, gold: str, answer: str) -> dict[str, object]:
    try:
        gold_parsed, answer_parsed = (_parsed(checker, text) for text in (gold, answer))
        if not gold_parsed or not answer_parsed:
            return {"equal": None, "error": "not parsed"}
        # Gold first: math-verify treats its two arguments differently.
        same = checker.verify(
            gold_parsed,
            answer_parsed,
            float_rounding=_FLOAT_DIGITS,
            numeric_precision=2 * _FLOAT_DIGITS,
            timeout_seconds=None,
            raise_on_error=True,
        )
    except Exception as error:  # noqa: BLE001 - whatever the checker raises is "no opinion", recorded with its name
        return {"equal": None, "error": f"{type(error).__name__}"}
    return {"equal": bool(same), "error": ""}


def _parsed(checker: Any, text: str) -> list[Any]:
    """Parse one answer; the string that math-verify falls back to does not count as parsed."""
    config = [checker.LatexExtractionConfig(), checker.ExprExtractionConfig()]
    written = text if "$" in text else f"${text}$"
    found = checker.parse(
        written,
        config,
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
        raise_on_error=True,
    )
    return [item for item in found if not isinstance(item, str)][:1]


def _write(out: TextIO, value: dict[str, object]) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
