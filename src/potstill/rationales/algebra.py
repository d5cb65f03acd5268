"""Exact arithmetic on written expressions: rationals, square roots, pi, i and variables, in one normal form.

`parse` turns cleaned text such as `3*sqrt(2)/2 + x^2` into a polynomial over the rationals whose atoms are variables,
`pi`, `i` (with i*i = -1) and square roots of square-free integers. These atoms are independent, so two polynomials are
equal exactly when their normal forms are. What lies outside (trigonometry, quotients of sums, cube roots, symbolic
exponents) becomes an opaque atom: equal forms are then still equal, but different ones decide nothing
(`Poly.opaque`). Used by `potstill.rationales.expressions`; never evaluates text as code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, isqrt

Monomial = tuple[tuple[str, int], ...]
"""Sorted (atom, exponent) pairs; () is the constant."""

_TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d+)?|\.\d+)|(sqrt|root|pi|log|ln|lg|exp|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|abs|[A-Za-z])|(\*\*|[-+*/^()!_|]))"
)
_FUNCTIONS = frozenset(
    ["root", "log", "ln", "lg", "exp", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "abs"]
)
_MAX_TERMS = 60
_MAX_POWER = 12
_MAX_CONSTANT_POWER = 400
_MAX_BITS = 100_000
_MAX_LENGTH = 400
_MAX_DEPTH = 40


class NotAlgebra(ValueError):  # noqa: N818 - says what the text is, not that something broke
    """The text is not an expression that this module reads, or too large to expand."""


@dataclass(frozen=True, slots=True)
class Poly:
    """A polynomial in normal form."""

    terms: tuple[tuple[Monomial, Fraction], ...]
    """Sorted, without zero coefficients."""

    @property
    def constant(self) -> Fraction | None:
        """The value, where the polynomial is a rational number."""
        if not self.terms:
            return Fraction(0)
        return self.terms[0][1] if len(self.terms) == 1 and not self.terms[0][0] else None

    @property
    def opaque(self) -> bool:
        """Whether an atom stands for something that this module does not understand."""
        return any("[" in atom for monomial, _ in self.terms for atom, _ in monomial)

    @property
    def text(self) -> str:
        """The one spelling of this polynomial."""
        return " + ".join(_term_text(monomial, value) for monomial, value in self.terms) or "0"


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


def difference(a: Poly, b: Poly) -> Poly:
    """Return a - b."""
    return _add(a, _scale(b, Fraction(-1)))


def primitive(a: Poly) -> Poly:
    """Scale so that the first coefficient is 1: equations that differ by a factor become one."""
    return _scale(a, 1 / a.terms[0][1]) if a.terms else a


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
            value = _add(value, _scale(self.product(), Fraction(sign)))
        self.depth -= 1
        return value

    def product(self) -> Poly:
        value = self.signed()
        while (token := self.peek()) is not None and token not in "+-)|!":
            if token == "/":
                self.take()
                value = _divide(value, self.signed())
            elif token == "*":
                self.take()
                value = _multiply(value, self.signed())
            elif token[0].isdigit() or token[0] == ".":
                message = f"two numbers side by side before {token!r}"
                raise NotAlgebra(message)
            else:
                value = _multiply(value, self.power())
        return value

    def signed(self) -> Poly:
        sign = 1
        while self.peek() in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        return _scale(self.power(), Fraction(sign))

    def power(self) -> Poly:
        base = self.atom()
        while self.peek() == "!":
            self.take()
            base = _factorial(base)
        if self.peek() in ("^", "**"):
            self.take()
            self.depth += 1
            if self.depth > _MAX_DEPTH:
                message = "nested too deeply"
                raise NotAlgebra(message)
            exponent = self.signed()
            self.depth -= 1
            return _raise(base, exponent)
        return base

    def atom(self) -> Poly:
        token = self.take()
        if token == "(":
            value = self.sum()
            self.take(")")
            return value
        if token[0].isdigit() or token[0] == ".":
            return _number(Fraction(token))
        if token == "sqrt":
            return _square_root(self.argument())
        if token in _FUNCTIONS:
            return self.function(token)
        if token == "pi" or (len(token) == 1 and token.isalpha()):
            return _atom(self.subscripted(token))
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
        return _atom(f"{name}{exponent}[{self.argument().text}]")


def _poly(terms: dict[Monomial, Fraction]) -> Poly:
    if len(terms) > _MAX_TERMS:
        message = f"{len(terms)} terms"
        raise NotAlgebra(message)
    return Poly(tuple(sorted((monomial, value) for monomial, value in terms.items() if value)))


def _number(value: Fraction) -> Poly:
    return Poly((((), value),)) if value else Poly(())


def _atom(name: str) -> Poly:
    return Poly(((((name, 1),), Fraction(1)),))


def _add(a: Poly, b: Poly) -> Poly:
    terms = dict(a.terms)
    for monomial, value in b.terms:
        terms[monomial] = terms.get(monomial, Fraction(0)) + value
    return _poly(terms)


def _scale(a: Poly, factor: Fraction) -> Poly:
    return Poly(tuple((monomial, value * factor) for monomial, value in a.terms)) if factor else Poly(())


def _multiply(a: Poly, b: Poly) -> Poly:
    terms: dict[Monomial, Fraction] = {}
    for left, x in a.terms:
        for right, y in b.terms:
            monomial, factor = _join(left, right)
            terms[monomial] = terms.get(monomial, Fraction(0)) + x * y * factor
    return _poly(terms)


def _join(left: Monomial, right: Monomial) -> tuple[Monomial, Fraction]:
    """Multiply two monomials: sqrt(6)*sqrt(2) = 2*sqrt(3), i*i = -1."""
    powers = dict(left)
    for atom, exponent in right:
        powers[atom] = powers.get(atom, 0) + exponent
    factor = Fraction(1)
    radicand = 1
    for atom, exponent in list(powers.items()):
        if atom == "i":
            factor *= (-1) ** (exponent % 4 // 2)
            powers[atom] = exponent % 2
        elif atom.startswith("sqrt("):
            inside = int(atom[5:-1])
            factor *= Fraction(inside) ** (exponent // 2)
            radicand *= inside if exponent % 2 else 1
            powers[atom] = 0
    if radicand != 1:
        outside, inside = _square_free(radicand)
        factor *= outside
        if inside != 1:
            powers[f"sqrt({inside})"] = 1
    return tuple(sorted((atom, exponent) for atom, exponent in powers.items() if exponent)), factor


def _divide(a: Poly, b: Poly) -> Poly:
    if not b.terms:
        message = "division by zero"
        raise NotAlgebra(message)
    if len(b.terms) == 1:
        return _multiply(a, _invert(b))
    if a.terms == b.terms:
        return _number(Fraction(1))
    conjugate = _conjugate(b)
    if conjugate is not None:
        return _divide(_multiply(a, conjugate), _multiply(b, conjugate))
    lead = b.terms[0][1]
    return _multiply(_scale(a, 1 / lead), _atom(f"1/[{_scale(b, 1 / lead).text}]"))


def _invert(b: Poly) -> Poly:
    ((monomial, value),) = b.terms
    result = _number(1 / value)
    for atom, exponent in monomial:
        if atom == "i":
            inverse = _scale(_atom("i"), Fraction(-1))
        elif atom.startswith("sqrt("):
            inverse = _scale(_atom(atom), Fraction(1, int(atom[5:-1])))
        else:
            inverse = Poly(((((atom, -exponent),), Fraction(1)),))
        result = _multiply(result, inverse)
    return result


def _conjugate(b: Poly) -> Poly | None:
    """For p + q*r with one root or i in one of two terms, return p - q*r; else `None`."""
    if len(b.terms) != 2:
        return None
    (first, x), (second, y) = b.terms
    surds = [sum(atom == "i" or atom.startswith("sqrt(") for atom, _ in monomial) for monomial in (first, second)]
    others = any(atom != "i" and not atom.startswith("sqrt(") for monomial in (first, second) for atom, _ in monomial)
    if others or not any(surds) or max(surds) > 1:
        return None
    return Poly(tuple(sorted(((first, x), (second, -y)))))


def _raise(base: Poly, exponent: Poly) -> Poly:
    power = exponent.constant
    if power is None:
        return _atom(f"pow[{base.text}; {exponent.text}]")
    if power.denominator == 2 and abs(power.numerator) <= _MAX_POWER:
        return _raise(_square_root(base), _number(Fraction(power.numerator)))
    if power.denominator != 1:
        return _atom(f"pow[{base.text}; {power}]")
    count = int(power)
    limit = _MAX_CONSTANT_POWER if base.constant is not None else _MAX_POWER
    if abs(count) > limit:
        return _atom(f"pow[{base.text}; {power}]")
    if base.constant is not None and base.constant != 0:
        if max(base.constant.numerator.bit_length(), base.constant.denominator.bit_length()) * abs(count) > _MAX_BITS:
            message = f"power of {count}"
            raise NotAlgebra(message)
        return _number(base.constant**count)
    if len(base.terms) == 1 or count >= 0:
        step = base if count >= 0 else _divide(_number(Fraction(1)), base)
        result = _number(Fraction(1))
        for _ in range(abs(count)):
            result = _multiply(result, step)
        return result
    return _divide(_number(Fraction(1)), _raise(base, _number(Fraction(-count))))


def _square_root(inside: Poly) -> Poly:
    value = inside.constant
    if value is None:
        return _atom(f"sqrt[{inside.text}]")
    if value < 0:
        return _multiply(_atom("i"), _square_root(_number(-value)))
    # sqrt(p/q) = sqrt(p*q)/q keeps every radicand an integer.
    outside, rest = _square_free(value.numerator * value.denominator)
    root = _number(Fraction(outside, value.denominator))
    return root if rest in (0, 1) or not outside else _multiply(root, _atom(f"sqrt({rest})"))


def _square_free(number: int) -> tuple[int, int]:
    """Return (a, b) with number = a*a*b and b square-free; refuses numbers too large to factor by trial."""
    if number == 0:
        return 0, 1
    root = isqrt(number)
    if root * root == number:
        return root, 1
    if number > 10**9:
        message = f"root of {number}"
        raise NotAlgebra(message)
    outside, divisor = 1, 2
    while divisor * divisor <= number:
        while number % (divisor * divisor) == 0:
            number //= divisor * divisor
            outside *= divisor
        divisor += 1
    return outside, number


def _factorial(base: Poly) -> Poly:
    value = base.constant
    if value is None or value.denominator != 1 or not 0 <= value <= 3000:
        return _atom(f"factorial[{base.text}]")
    return _number(Fraction(factorial(int(value))))


def _term_text(monomial: Monomial, value: Fraction) -> str:
    atoms = "*".join(atom if exponent == 1 else f"{atom}^{exponent}" for atom, exponent in monomial)
    if not atoms:
        return _value_text(value)
    return atoms if value == 1 else f"{_value_text(value)}*{atoms}"


def _value_text(value: Fraction) -> str:
    # Python refuses to write integers of more than 4300 digits in base ten; hexadecimal has no limit.
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 10_000:
        return f"{value.numerator:#x}/{value.denominator:#x}"
    return str(value)
