"""Run one program and read its answer; the last act of a zygote's child.

The answer, in this order: a zero-argument `solution()`, `solver()` or `main_solution()`; a global `ans`, `answer` or
`result`; the last line of standard output; the value of a last expression. Runs locked down, so what it reports about
the program is the program's own word; the zygote measures the rest from outside. Stands alone.
"""

from __future__ import annotations

import ast
import builtins
import gc
import io
import json
import os
import random
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

FUNCTIONS = ("solution", "solver", "main_solution")
GLOBALS = ("ans", "answer", "result")
LAST = "__last_expression__"
RESULT_FD = 3
MAX_ERROR = 1000
NOT_VALUES = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)
"""A global `answer` that is a function is no answer."""
# Taken before a program can replace them: a patched `str` must not change what an honest value is reported as.
_str, _len, _type, _isinstance, _getattr, _exec = str, len, type, isinstance, getattr, exec
_quoted = json.encoder.encode_basestring_ascii
_bytes, _max = bytes, max
_write, _exit = os.write, os._exit


class Sink(io.BufferedIOBase):
    """A bounded byte sink under standard output or error; passing the bound ends the program."""

    def __init__(self, limit: int, on_full: Callable[[], None], *, keep: bool) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.limit, self._on_full, self._keep = limit, on_full, keep

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, data: Any, /) -> int:
        """Take the bytes, or end the program when they are too many."""
        part = _bytes(data)
        self.size += _len(part)
        if self._keep:
            self.parts.append(part[: _max(0, self.limit - self.size + _len(part))])
        if self.size > self.limit:
            self._on_full()
        return _len(part)


def run_program(program: str, max_output_bytes: int, names: Mapping[str, Any]) -> NoReturn:
    """Run a program, send what became of it to the zygote and leave the process.

    Args:
        names: What the program may use without importing it.
    """
    out = Sink(max_output_bytes, lambda: send("output"), keep=True)
    error = Sink(max_output_bytes, lambda: send("output"), keep=False)
    printed: Any = io.TextIOWrapper(out, encoding="utf-8", errors="surrogatepass")  # type: ignore[type-var]

    def send(word: str, answer: str | None = None, kind: str | None = None, text: str = "") -> NoReturn:
        fields = (("word", word), ("answer", answer), ("type", kind), ("error", text), ("stdout", seen()))
        # Written out by hand: the encoder asks `isinstance(value, str)`, and `str` may be anything by now.
        items = [f'"{name}": {"null" if value is None else _quoted(value)}' for name, value in fields]
        data = ("{" + ", ".join(items) + "}").encode("ascii")
        try:
            while data:
                data = data[_write(RESULT_FD, data) :]
        finally:
            _exit(0)

    def seen() -> str:
        return b"".join(out.parts).decode("utf-8", "replace")

    sys.stdout, sys.stderr = printed, io.TextIOWrapper(error, encoding="utf-8", errors="replace")  # type: ignore[type-var]
    try:
        values = _run(program, names)
        value = _value(values)
        printed.flush()
        if value is None:
            value = _last_line(seen())
        if value is None:
            value = values.get(LAST)
        if value is None:
            send("no_answer")
        text = _str(value)
        if _len(text.encode("utf-8", "surrogatepass")) > max_output_bytes:
            send("output", text=f"the answer has {_len(text)} characters; at most {max_output_bytes} bytes are taken")
        send("ok", text, _type(value).__name__)
    except BaseException as raised:  # noqa: BLE001 - whatever a program raises is its result
        _send_error(raised, printed, send)
    _exit(70)


def _send_error(raised: BaseException, printed: Any, send: Callable[..., NoReturn]) -> None:
    word, text = "error", ""
    try:
        word = _word(raised)
        named = _str(raised) if word == "syntax" else f"{_type(raised).__name__}: {_str(raised)}"
        text = named[:MAX_ERROR]
        printed.flush()
    except BaseException:  # noqa: BLE001, S110 - an exception that cannot even be printed is still one
        pass
    send(word, text=text)


def _run(program: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """Execute the program as `__main__` and return its globals; the value of a last expression is kept under `LAST`."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        tree = ast.parse(program, "<program>")
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            target = ast.Name(LAST, ast.Store(), lineno=last.lineno, col_offset=0)
            tree.body[-1] = ast.Assign([target], last.value, lineno=last.lineno, col_offset=0)
        code = compile(tree, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        message = f"{_type(error).__name__}: {error}"
        raise _NotPython(message) from None
    values = module.__dict__
    values["__builtins__"] = builtins
    values.update(names)
    gc.enable()
    # Here and not in the zygote: the module seeds itself anew after every fork.
    random.seed(0)
    # The program gets CPython's thousand frames, not a thousand less ours.
    sys.setrecursionlimit(1000 + _depth())
    try:
        _exec(code, values)
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            raise
    return values


def _depth() -> int:
    frame, depth = sys._getframe(1), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


class _NotPython(Exception):  # noqa: N818 - never leaves this module
    """The text does not parse or compile."""


def _value(values: dict[str, Any]) -> Any:
    for name in FUNCTIONS:
        function = values.get(name)
        if _isinstance(function, types.FunctionType) and _takes_nothing(function):  # type: ignore[arg-type]
            value = function()  # type: ignore[misc]
            if value is not None:
                return value
    for name in GLOBALS:
        value = values.get(name)
        if value is not None and not _isinstance(value, NOT_VALUES):
            return value
    return None


def _takes_nothing(function: types.FunctionType) -> bool:
    code = function.__code__
    n_required = code.co_argcount - _len(function.__defaults__ or ())
    n_keywords = code.co_kwonlyargcount - _len(function.__kwdefaults__ or ())
    return n_required <= 0 and n_keywords <= 0


def _last_line(printed: str) -> str | None:
    lines = [line for line in printed.splitlines() if line.strip()]
    return lines[-1].strip() if lines else None


def _word(raised: BaseException) -> str:
    if _isinstance(raised, _NotPython):
        return "syntax"
    if _isinstance(raised, MemoryError):
        return "memory"
    if _isinstance(raised, RecursionError):
        return "recursion"
    if _isinstance(raised, ImportError):
        return "import"
    refused = _isinstance(raised, PermissionError) or "start new thread" in _str(raised)
    return "forbidden" if refused else "error"
