"""Where a text holds its program: code fences of any kind, prose around it, several blocks, run-on text.

`find_program` returns the programs that a text may mean, the likeliest first, or the reason why it holds none. Pure,
and linear in the text: regular expressions on the beginnings of lines only. Untrusted text is never parsed here; what
is no Python after all is found out in the sandbox. Running them is `potstill.rationales.running`'s work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent, indent

from potstill.rationales.extraction import final_part, is_next_question

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^`\n]{0,80})$")
_IN_ONE_LINE = re.compile(r"[ \t]*```(?:python|py)?[ \t]+(\S.*?)[ \t]*```$")
_TAG = re.compile(r"<(/?)(?:llm-code|code|python|program|execute)>|\[(/?)PYTHON\]", re.IGNORECASE)
"""Blocks in tags, as CodeLlama and OpenMathInstruct write them."""
_PYTHON = frozenset({"python", "python3", "py", "ipython", "ipython3", "tool_code", "code", "jupyter", "repl"})
_SEEN = 400
"""Characters of a line that are looked at."""
_STATEMENT = re.compile(
    r"""(?:async\ )?def\ \w+\ ?\(|class\ \w+\ ?[(:]|import\ [\w.]+|from\ [\w.]+\ import\b|@\w
    |(?:if|elif|while)\b[^:]*:(?:$|\ ?\#|\ \w+\ ?[-+*/]?=|\ (?:return|print|break|continue|pass)\b)
    |for\ [\w,\ ()]+\ in\ [^:]*:|with\ (?:\w+\(|[^:]*\ as\ )|(?:else|try|finally)\ ?:|except\b[^:]*:
    |(?:return|raise|assert|del|global|nonlocal)\b|(?:pass|break|continue)$
    |[A-Za-z_][\w.]*(?:\[[^\]]*\])*(?:\ ?,\ ?[A-Za-z_][\w.]*)*\ ?(?::\ ?[\w\[\].,\ ]+)?
     (?:\*\*|//|<<|>>|[-+*/%@&|^])?=(?!=)
    |[A-Za-z_][\w.]*\(""",
    re.VERBOSE,
)
_EXPRESSION = re.compile(r"[\w\s.,+\-*/%()\[\]{}<>=!'\"]+")
_KEYWORDS = "and|or|not|in|is|if|else|for|lambda"
_TWO_WORDS = re.compile(rf"\b(?!(?:{_KEYWORDS})\b)[A-Za-z_]\w*\s+(?!(?:{_KEYWORDS})\b)[A-Za-z_]")
_TOP_RETURN = re.compile(r"^return\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FoundProgram:
    """What a text means to run."""

    programs: tuple[str, ...]
    """Alternatives, the next tried only where the one before gives no answer; empty: there is no program."""
    reason: str = ""
    """Without a program: empty, truncated or no_program."""


@dataclass(slots=True)
class _Block:
    tag: str
    lines: list[str]
    is_closed: bool = False

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def find_program(text: str, *, truncated: bool = False) -> FoundProgram:
    """Find the program in `text`.

    Of several code blocks the last is meant; where it does not run alone, all of them one after another, as the cells
    of a notebook. Without a block it is the whole text, or what lies between the first and the last line of code.

    Args:
        truncated: The text ended at a token limit: a program that goes on to the end may lack its last lines, and
            would answer something that its author never said; so it does not count, whether or not it runs.

    >>> find_program("Here it is:\\n```python\\nans = 6 * 7\\n```\\nSo 42.").programs
    ('ans = 6 * 7',)
    >>> find_program("She has 42 shells.").reason
    'no_program'
    """
    body = _after_thought(text)
    if body is None:
        return FoundProgram((), "truncated")
    if not body.strip():
        return FoundProgram((), "truncated" if truncated else "empty")
    blocks = _blocks(body)
    if blocks:
        return _of_blocks(blocks, truncated)
    rest, cut = final_part(body)
    return _of_text(rest or "", truncated=truncated and not cut)


def _after_thought(text: str) -> str | None:
    """Return what follows the think block; `None` when the text never leaves it."""
    if "</think>" in text:
        return text.rsplit("</think>", 1)[1]
    return None if text.lstrip().startswith("<think>") else text


def _of_blocks(blocks: list[_Block], truncated: bool) -> FoundProgram:
    if truncated and not blocks[-1].is_closed:
        return FoundProgram((), "truncated")
    last, whole = _tidied(blocks[-1].text), "\n".join(_tidied(block.text) for block in blocks)
    return FoundProgram(tuple(dict.fromkeys((last, whole))))


def _of_text(text: str, *, truncated: bool) -> FoundProgram:
    lines = text.splitlines()
    code = [at for at, line in enumerate(lines) if is_statement(line)]
    if not code:
        if not all(_is_expression(line) for line in lines if line.strip()):
            return FoundProgram((), "truncated" if truncated else "no_program")
        code = [at for at, line in enumerate(lines) if line.strip()]
    if truncated:
        return FoundProgram((), "truncated")
    end = code[-1] + 1
    for at in range(end, len(lines)):
        if _belongs(lines[at]):
            end = at + 1
        elif lines[at].strip():
            break
    part = "\n".join(lines[code[0] : end])
    return FoundProgram(tuple(dict.fromkeys((_tidied(text), _tidied(part)))))


def _blocks(text: str) -> list[_Block]:
    """Return the blocks that hold Python; those without a tag where none has one, and only if they look like code."""
    lines = _with_fences(text).splitlines()
    _open_first(lines)
    blocks: list[_Block] = []
    inside: _Block | None = None
    for line in lines:
        inline = _IN_ONE_LINE.match(line) if inside is None else None
        fence = _FENCE.match(line)
        if inline is not None:
            blocks.append(_Block("python", [inline[1]], is_closed=True))
        elif fence is not None:
            tag = re.split(r"[\s:,.{}]+", fence[2].strip(" {.").lower(), maxsplit=1)[0]
            if inside is not None:
                inside.is_closed = True
            inside = _Block(tag, []) if inside is None or tag else None
            blocks += [inside] if inside is not None else []
        elif inside is not None:
            inside.lines.append(line)
        elif is_next_question(line) and any(block.tag in _PYTHON for block in blocks):
            break
    tagged = [block for block in blocks if block.tag in _PYTHON and block.text.strip()]
    return tagged or [block for block in blocks if not block.tag and any(map(is_statement, block.lines))]


def _with_fences(text: str) -> str:
    """Rewrite tags around code as fences, where the text has no fences of its own."""
    if "```" in text or "~~~" in text or not _TAG.search(text):
        return text
    return _TAG.sub(lambda match: "\n```\n" if match[1] or match[2] else "\n```python\n", text)


def _open_first(lines: list[str]) -> None:
    """Open the first block at the top, where its opening fence stood in the prompt."""
    fences = [at for at, line in enumerate(lines) if _FENCE.match(line)]
    if len(fences) % 2 and not lines[fences[0]].strip("`~ \t") and any(map(is_statement, lines[: fences[0]])):
        lines.insert(0, "```python")


def is_statement(line: str) -> bool:
    """Whether a line begins like a Python statement; prose and bare expressions do not."""
    return _STATEMENT.match(" ".join(line[:_SEEN].split())) is not None


def _is_expression(line: str) -> bool:
    line = line[:_SEEN].strip()
    if not any(character.isdigit() for character in line) or _EXPRESSION.fullmatch(line) is None:
        return False
    return _TWO_WORDS.search(line) is None and re.search(r"\d\s+[A-Za-z]|[A-Za-z]\s+\d", line) is None


def _belongs(line: str) -> bool:
    """Whether a line after the last statement goes on with it: a closing bracket, an indented line, an expression."""
    return line[:1] in (")", "]", "}") or (line[:1] in (" ", "\t") and bool(line.strip())) or _is_expression(line)


def _tidied(program: str) -> str:
    """Return a program at the left margin; the body of a function whose head stood in the prompt gets its head back."""
    lines = program.rstrip().splitlines()
    while lines and not lines[0].strip():
        del lines[0]
    text = dedent("\n".join(lines))
    if text[:1] in (" ", "\t"):
        text = text.lstrip()
    if _TOP_RETURN.search(text) and "\ndef " not in f"\n{text}":
        return "def solution():\n" + indent(text, "    ")
    return text
