"""Decide from a program's text which engine runs it first. Regular expressions only.

Untrusted text is never parsed here: nested source can exhaust the parser of the process that holds the keys. A wrong
route costs time, not truth: tier 1 is only believed when it has an answer, and is not asked where it is known to differ
from CPython.
"""

from __future__ import annotations

import re
import sys
from typing import Literal, NamedTuple

Engine = Literal["monty", "zygote-light", "zygote-heavy"]

HEAVY_PACKAGES = ("numpy", "sympy", "mpmath", "dateutil")
FUNCTIONS = ("solution", "solver", "main_solution")
GLOBALS = ("ans", "answer", "result")
POT_NAMES = ("np", "Symbol", "Eq", "solve", "simplify", "solve_it")
"""What the heavy zygote gives a program in the Program-of-Thoughts form, as `zygote.pot_names` makes it."""

MAX_ROUTED = 1 << 16
"""Longer programs are not looked at closely: CPython gets them."""
# Every pattern below is linear in the text: untrusted text must not be able to hold the host up.
_HEAVY = re.compile(r"\b(?:numpy|sympy|mpmath|dateutil)\b")
_DEAD_NUMPY = re.compile(r"^import numpy as np[ \t]*+$", re.MULTILINE)
_NP = re.compile(r"\b(?:np|numpy)\b")
_IMPORT = re.compile(r"^[ \t]*+(?:from|import)[ \t]++([\w.]++(?:[ \t]*+,[ \t]*+[\w.]++)*+)", re.MULTILINE)
_KNOWN_TO_MONTY = frozenset(
    {"math", "datetime", "re", "random", "decimal", "itertools", "collections", "bisect", "functools", "typing", "json",
     "time", "dataclasses", "__future__"}
)  # fmt: skip
_DIFFERS = re.compile(
    # Null bytes in source; the order of sets; the last digits of some functions; which stream a line went to.
    r"\0|\b(?:set|frozenset|hash|id|dir|vars|atanh|cbrt|l?gamma|erfc?|stderr|stdin)\b|\.(?:keys|items)\(\)[ ]*+[&|^-]"
)
_STRING_OR_COMMENT = re.compile(
    r"\"\"\"(?:[^\\]|\\.)*?\"\"\"|\'\'\'(?:[^\\]|\\.)*?\'\'\'|\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'|\#[^\n]*+",
    re.DOTALL,
)
_WRITTEN_SET = re.compile(r"\{(?=[^{}:]*+\})[^{}:]*?[^{}:\s]")
_BEYOND_MONTY = re.compile(
    r"\byield\b|^[ \t]*+class[ \t]++\w++[ \t]*+\(|\bkey[ ]*+=[ ]*+\w++\.\w|\bimport[ ]*+\*|@property"
    r"|@(?:class|static)method|^[ \t]*+del\b|\b__\w"
    r"|\b(?:globals|locals|callable|exec|eval|compile|getattr|setattr|input|exit|quit)\b"
    r"|\b(?:solution|solver|main_solution)[ ]*+(?:=(?!=)|\([ ]*+[^\s)])",
    re.MULTILINE,
)
_FUNCTION = re.compile(r"^def[ \t]++(solution|solver|main_solution)[ \t]*+\([ \t]*+\)", re.MULTILINE)
_GLOBAL = {name: re.compile(rf"\b{name}\b") for name in GLOBALS}
_ANS = re.compile(r"^ans\b", re.MULTILINE)
_POT_NAME = re.compile(r"\b(?:Symbol|solve_it)\b")
_SUM = re.compile(r"\bsum\b")
_ROUND = re.compile(r"\bround\b")
_CLOCK = re.compile(
    r"\b(?:now|today|utcnow|monotonic|perf_counter|process_time|time_ns|localtime|gmtime)\b|\btime\.time\b"
)
SUM_DIFFERS = sys.version_info >= (3, 12)
"""From 3.12 on CPython adds floats with compensation, Monty does not: 0.1 ten times is 1.0 or 0.9999999999999999."""

ROUND_SHIM = (
    "__round = round\n"
    "def round(number, ndigits=None):\n"
    "    if ndigits is not None and ndigits >= 0 and isinstance(number, float):\n"
    "        return float(f'{number:.{ndigits}f}')\n"
    "    return __round(number, ndigits)\n"
)
"""Monty rounds the product, CPython the exact value (2.675 to 2 digits is 2.67); formatting is exact in both."""
PLAIN_TYPES = ("bool", "int", "float", "str", "list", "tuple", "dict", "date", "datetime", "timedelta", "Decimal")
"""Types whose `str` tier 1 writes as CPython does; for any other answer tier 2 is asked."""


class Route(NamedTuple):
    """Where a program goes first, and the text that each tier is given."""

    engine: Engine
    program: str
    """The program, without a numpy import that it does not use."""
    monty: str
    """The program with what tier 1 needs around it; empty where tier 1 is not asked."""
    reads_clock: bool
    is_pot: bool = False
    """In the Program-of-Thoughts form (its answer is the global `ans`), which takes some names for granted."""


def choose_route(program: str, *, with_monty: bool = True) -> Route:
    """Return the first engine for a program and the text for it."""
    program = strip_dead_numpy(program) if len(program) <= MAX_ROUTED else program
    clock = _CLOCK.search(program) is not None
    is_pot = _ANS.search(program) is not None
    if _HEAVY.search(program) or (is_pot and _POT_NAME.search(program)):
        return Route("zygote-heavy", program, "", clock, is_pot)
    if not with_monty or is_for_cpython(program):
        return Route("zygote-light", program, "", clock, is_pot)
    return Route("monty", program, dress(program), clock, is_pot)


def strip_dead_numpy(program: str) -> str:
    """Take out an `import numpy as np` that nothing uses: it costs a heavy process, and models write it by habit.

    The line becomes `pass`, so line numbers stay. Only before any triple-quoted text, inside which it would be data.
    """
    found = _DEAD_NUMPY.search(program)
    if found is None or len(_NP.findall(program)) != 2:
        return program
    before = program[: found.start()]
    if '"""' in before or "'''" in before or before.rstrip().endswith(("\\", ":", "(", "[", "{", ",")):
        return program
    return before + "pass" + program[found.end() :]


def is_for_cpython(program: str) -> bool:
    """Whether tier 1 is known not to run the program, or not to agree with CPython on it."""
    if len(program) > MAX_ROUTED or _DIFFERS.search(program) or _BEYOND_MONTY.search(program):
        return True
    if SUM_DIFFERS and _SUM.search(program):
        return True
    if "{" in program and _WRITTEN_SET.search(_STRING_OR_COMMENT.sub("", program)):
        return True
    for names in _IMPORT.findall(program):
        if any(name.strip().split(".")[0] not in _KNOWN_TO_MONTY for name in names.split(",")):
            return True
    return False


def dress(program: str) -> str:
    """Return the program with the shim it needs before it and, after it, the expression that gives its answer.

    The expression is the answer's `str`, or None where there is none of a plain type; the two line ends before it keep
    a program that ends in the middle of a statement from swallowing it.
    """
    names = [name for name in GLOBALS if _GLOBAL[name].search(program)]
    functions = [found[1] for found in _FUNCTION.finditer(program)]
    lines = ["", "", "__a = None"]
    for name in sorted(set(functions), key=FUNCTIONS.index):
        lines += ["if __a is None:", f"    __a = {name}()"]
    for name in names:
        lines += ["if __a is None:", "    try:", f"        __a = {name}", "    except NameError:", "        pass"]
    plain = ", ".join(repr(name) for name in PLAIN_TYPES)
    lines += [f"str(__a) if type(__a).__name__ in ({plain},) else ('' if __a is None else 0)"]
    return (ROUND_SHIM if _ROUND.search(program) else "") + program + "\n".join(lines)
