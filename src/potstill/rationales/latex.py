"""LaTeX made plain: the clean-up before a mathematical answer is read. Pure string work.

Fractions become `((a)/(b))`, roots `sqrt(a)`; text, spacing, dollar signs and degrees go. Damage that answers really
have is repaired: braces left open, backslashes eaten by a JSON decoder, stray tags.
"""

from __future__ import annotations

import re

_TEXT = r"\\(?:text|mbox|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|operatorname|hbox|bf|rm)\s*"
_TEXT_GROUP = re.compile(_TEXT + r"\{([^{}]*)\}")
_DEGREES = re.compile(r"\^\s*(?:\{\s*)?(?:\\circ|°|o\b)\s*\}?|\\degree\b|°|\s*\bdegrees?\b", re.IGNORECASE)
_DROPPED = re.compile(
    r"\\!|\\left(?![a-z])|\\right(?![a-z])|\\[bB]igg?[lr]?(?![a-z])|\\displaystyle|\\limits|\\phantom\{[^{}]*\}|\\[()\[\]]|\$|\*\*|\u200b|~"
)
_SPACES = re.compile(r"\\[,;:> ]|\\q?quad\b|\\ |\s+")
_FRAC = re.compile(r"\\[dtc]?frac\s*")
_SQRT = re.compile(r"\\sqrt\s*(?:\[\s*(\w+)\s*\])?\s*")
_NAMES = re.compile(r"\\(pi|log|ln|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|exp)\b")
_GREEK = {"alpha": "α", "beta": "β", "theta": "θ", "lambda": "λ", "omega": "ω", "phi": "φ", "mu": "μ", "infty": "∞"}
_GROUPED = re.compile(r"(?<=\d),(?:\\!\s*|[\u2009\u202f\u00a0])(?=\d{3})")
_TAGS = re.compile(r"</?[A-Za-z][^<>]*>|[<>]\s*$|^\s*<")
_DAMAGE = (("\frac", "\\frac"), ("\text", "\\text"), ("\boxed", "\\boxed"), ("\times", "\\times"))
"""LaTeX whose backslash a careless JSON or Python string has eaten: form feed + "rac" was a fraction."""


def balanced(text: str) -> bool:
    """Whether every brace of `text` is closed: a cut-off LaTeX answer is not."""
    depth = 0
    for character in text.replace("\\{", "").replace("\\}", ""):
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


def repaired(text: str) -> str:
    """Return `text` with eaten backslashes put back; must run before white space is stripped, which they became."""
    for damage, repair in _DAMAGE:
        text = text.replace(damage, repair)
    return text


def clean(text: str) -> str:
    """Return `text` without LaTeX: fractions as `((a)/(b))`, roots as `sqrt(a)`, words and spaces plain."""
    text = _TAGS.sub("", text).strip().replace("\\\\", "\\")
    text = text.replace("\\{", "⦃").replace("\\}", "⦄").replace("\\lbrace", "⦃").replace("\\rbrace", "⦄")
    text = text + "}" * max(0, text.count("{") - text.count("}"))
    text = (
        _GROUPED.sub(",", text.replace("{,}", ","))
        .replace("\\%", "%")
        .replace("\\$", "")
        .replace("−", "-")
        .replace("–", "-")
    )
    for _ in range(4):
        text, count = re.subn(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1", text)
        if not count:
            break
    text = _DEGREES.sub("", text)
    text = _DROPPED.sub("", text)
    text = _TEXT_GROUP.sub(r" \1 ", text)
    text = _SPACES.sub(" ", text)
    text = _arguments(text, _FRAC, 2)
    text = _arguments(text, _SQRT, 1)
    for source, plain in (
        ("\\cdot", "*"),
        ("\\times", "*"),
        ("×", "*"),
        ("·", "*"),
        ("\\div", "/"),
        ("÷", "/"),
        ("π", "pi"),
    ):
        text = text.replace(source, plain)
    for source, plain in (
        ("\\cup", "∪"),
        ("\\in ", "∈"),
        ("\\pm", "±"),
        ("\\approx", "≈"),
        ("\\colon", ":"),
        ("\\mid", "|"),
    ):
        text = text.replace(source, plain)
    text = _NAMES.sub(r"\1 ", text)
    for name, letter in _GREEK.items():
        text = text.replace("\\" + name, letter)
    text = text.replace("√", "sqrt").replace("²", "^2").replace("³", "^3").replace("infinity", "∞")
    return " ".join(text.split()).strip().rstrip(".,;: ").strip()


def _arguments(text: str, command: re.Pattern[str], count: int) -> str:
    """Rewrite each `command{a}{b}` or `command ab` as `((a)/(b))` or `sqrt(a)`, innermost last."""
    for _ in range(50):
        match = command.search(text)
        if match is None:
            return text
        position, parts = match.end(), []
        for _ in range(count):
            while position < len(text) and text[position] == " ":
                position += 1
            part, position = _argument(text, position)
            parts.append(part)
        if count == 2:
            written = f"(({parts[0]})/({parts[1]}))"
        elif match[1] and match[1] != "2":
            written = f"root_{match[1]}({parts[0]})"
        else:
            written = f"sqrt({parts[0]})"
        text = text[: match.start()] + written + text[position:]
    return text


def _argument(text: str, position: int) -> tuple[str, int]:
    if position >= len(text):
        return "", position
    if text[position] != "{":
        command = re.compile(r"\\[a-z]+|sqrt\(\d+\)|.").match(text, position)
        assert command is not None, "one character is always there"
        return command[0], command.end()
    depth = 0
    for end in range(position, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[position + 1 : end], end + 1
    return text[position + 1 :], len(text)
