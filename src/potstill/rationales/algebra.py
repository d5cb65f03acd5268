"""Expressions as people write them, read into polynomials: `3*sqrt(2)/2 + x^2`, `2x(x+1)`, `5!`.

Input is cleaned text (`potstill.rationales.latex`); never evaluated as code, and bounded in length, depth and size.
Trigonometry, logarithms and the like become opaque atoms of `potstill.rationales.polynomials`.
"""

from __future__ import annotations

import re
from fractions import Fraction

from potstill.rationales.polynomials import (
    NotAlgebra,
    Poly,
    add,
    divide,
    factorial_of,
    multiply,
    number,
    raised,
    scale,
    square_root,
    symbol,
)

_TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d+)?|\.\d+)|(sqrt|root|pi|log|ln|lg|exp|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|abs|[A-Za-z])|(\*\*|[-+*/^()!_|]))"
)
_FUNCTIONS = frozenset(
    ["root", "log", "ln", "lg", "exp", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "abs"]
)
_MAX_LENGTH = 400
_MAX_DEPTH = 40


def parse(text: str) -> Poly:
    """Read cleaned text (no LaTeX left) as a polynomial.

    Raises:
        NotAlgebra: The text is not one expression, or expanding it would be too large.
    """
    if len(text) > _MAX_LENGTH:
        message = f"{len(text)} characters"
        raise NotAlgebra(message)
    reader = _Reader(_tokens(text))
    value = reader.sum()
    if reader.peek() is not None:
        message = f"unexpected {reader.peek()!r}"
        raise NotAlgebra(message)
    return value


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            message = f"unexpected {text[position : position + 10]!r}"
            raise NotAlgebra(message)
        tokens.append(match[1] or match[2] or match[3])
        position = match.end()
    if not tokens:
        message = "empty"
        raise NotAlgebra(message)
    return tokens


class _Reader:
    """Recursive descent: sum, product (with implied multiplication), sign, power, atom."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    def peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, *expected: str) -> str:
        token = self.peek()
        if token is None or (expected and token not in expected):
            message = f"found {token!r}, expected {' '.join(expected) or 'more'}"
            raise NotAlgebra(message)
        self.at += 1
        return token

    def sum(self) -> Poly:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            message = "nested too deeply"
            raise NotAlgebra(message)
        value = self.product()
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            value = add(value, scale(self.product(), Fraction(sign)))
        self.depth -= 1
        return value

    def product(self) -> Poly:
        value = self.signed()
        while (token := self.peek()) is not None and token not in "+-)|!":
            if token == "/":
                self.take()
                value = divide(value, self.signed())
            elif token == "*":
                self.take()
                value = multiply(value, self.signed())
            elif token[0].isdigit() or token[0] == ".":
                message = f"two numbers side by side before {token!r}"
                raise NotAlgebra(message)
            else:
                value = multiply(value, self.power())
        return value

    def signed(self) -> Poly:
        sign = 1
        while self.peek() in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        return scale(self.power(), Fraction(sign))

    def power(self) -> Poly:
        base = self.atom()
        while self.peek() == "!":
            self.take()
            base = factorial_of(base)
        if self.peek() in ("^", "**"):
            self.take()
            self.depth += 1
            if self.depth > _MAX_DEPTH:
                message = "nested too deeply"
                raise NotAlgebra(message)
            exponent = self.signed()
            self.depth -= 1
            return raised(base, exponent)
        return base

    def atom(self) -> Poly:
        token = self.take()
        if token == "(":
            value = self.sum()
            self.take(")")
            return value
        if token[0].isdigit() or token[0] == ".":
            return number(Fraction(token))
        if token == "sqrt":
            return square_root(self.argument())
        if token in _FUNCTIONS:
            return self.function(token)
        if token == "pi" or (len(token) == 1 and token.isalpha()):
            return symbol(self.subscripted(token))
        message = f"unexpected {token!r}"
        raise NotAlgebra(message)

    def subscripted(self, name: str) -> str:
        if self.peek() != "_":
            return name
        self.take()
        return f"{name}_{self.take()}"

    def argument(self) -> Poly:
        return self.signed() if self.peek() != "(" else self.atom()

    def function(self, name: str) -> Poly:
        if self.peek() == "_":
            self.take()
            name += "_" + self.atom().text
        exponent = ""
        if self.peek() == "^":
            self.take()
            exponent = "^" + self.atom().text
        return symbol(f"{name}{exponent}[{self.argument().text}]")
