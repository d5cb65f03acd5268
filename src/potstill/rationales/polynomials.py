"""Polynomials over the rationals whose atoms are variables, `pi`, `i` and square roots: one normal form each.

The atoms are independent (roots are of square-free integers, i*i = -1), so two polynomials are equal exactly when their
normal forms are. What lies outside becomes an opaque atom, named with a bracket: equal forms are then still equal, but
different ones decide nothing (`Poly.opaque`). Pure; text is read by `potstill.rationales.algebra`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import factorial, isqrt

Monomial = tuple[tuple[str, int], ...]
"""Sorted (atom, exponent) pairs; () is the constant."""


_MAX_TERMS = 60
_MAX_POWER = 12
_MAX_CONSTANT_POWER = 400
_MAX_BITS = 100_000


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


def difference(a: Poly, b: Poly) -> Poly:
    """Return a - b."""
    return add(a, scale(b, Fraction(-1)))


def primitive(a: Poly) -> Poly:
    """Scale so that the first coefficient is 1: equations that differ by a factor become one."""
    return scale(a, 1 / a.terms[0][1]) if a.terms else a


def _poly(terms: dict[Monomial, Fraction]) -> Poly:
    if len(terms) > _MAX_TERMS:
        message = f"{len(terms)} terms"
        raise NotAlgebra(message)
    return Poly(tuple(sorted((monomial, value) for monomial, value in terms.items() if value)))


def number(value: Fraction) -> Poly:
    """Return a rational number as a polynomial."""
    return Poly((((), value),)) if value else Poly(())


def symbol(name: str) -> Poly:
    """Return one atom as a polynomial."""
    return Poly(((((name, 1),), Fraction(1)),))


def add(a: Poly, b: Poly) -> Poly:
    """Return a + b."""
    terms = dict(a.terms)
    for monomial, value in b.terms:
        terms[monomial] = terms.get(monomial, Fraction(0)) + value
    return _poly(terms)


def scale(a: Poly, factor: Fraction) -> Poly:
    """Return a times a rational number."""
    return Poly(tuple((monomial, value * factor) for monomial, value in a.terms)) if factor else Poly(())


def multiply(a: Poly, b: Poly) -> Poly:
    """Return a * b."""
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


def divide(a: Poly, b: Poly) -> Poly:
    """Return a / b: exact for one term and for one root below the line, else an opaque atom."""
    if not b.terms:
        message = "division by zero"
        raise NotAlgebra(message)
    if len(b.terms) == 1:
        return multiply(a, _invert(b))
    if a.terms == b.terms:
        return number(Fraction(1))
    conjugate = _conjugate(b)
    if conjugate is not None:
        return divide(multiply(a, conjugate), multiply(b, conjugate))
    lead = b.terms[0][1]
    return multiply(scale(a, 1 / lead), symbol(f"1/[{scale(b, 1 / lead).text}]"))


def _invert(b: Poly) -> Poly:
    ((monomial, value),) = b.terms
    result = number(1 / value)
    for atom, exponent in monomial:
        if atom == "i":
            inverse = scale(symbol("i"), Fraction(-1))
        elif atom.startswith("sqrt("):
            inverse = scale(symbol(atom), Fraction(1, int(atom[5:-1])))
        else:
            inverse = Poly(((((atom, -exponent),), Fraction(1)),))
        result = multiply(result, inverse)
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


def raised(base: Poly, exponent: Poly) -> Poly:
    """Return base to the power of exponent; what is not a small whole or half power becomes an opaque atom."""
    power = exponent.constant
    if power is None:
        return symbol(f"pow[{base.text}; {exponent.text}]")
    if power.denominator == 2 and abs(power.numerator) <= _MAX_POWER:
        return raised(square_root(base), number(Fraction(power.numerator)))
    if power.denominator != 1:
        return symbol(f"pow[{base.text}; {power}]")
    count = int(power)
    limit = _MAX_CONSTANT_POWER if base.constant is not None else _MAX_POWER
    if abs(count) > limit:
        return symbol(f"pow[{base.text}; {power}]")
    if base.constant is not None and base.constant != 0:
        if max(base.constant.numerator.bit_length(), base.constant.denominator.bit_length()) * abs(count) > _MAX_BITS:
            message = f"power of {count}"
            raise NotAlgebra(message)
        return number(base.constant**count)
    if len(base.terms) == 1 or count >= 0:
        step = base if count >= 0 else divide(number(Fraction(1)), base)
        result = number(Fraction(1))
        for _ in range(abs(count)):
            result = multiply(result, step)
        return result
    return divide(number(Fraction(1)), raised(base, number(Fraction(-count))))


def square_root(inside: Poly) -> Poly:
    """Return the square root, in terms of roots of square-free integers."""
    value = inside.constant
    if value is None:
        return symbol(f"sqrt[{inside.text}]")
    if value < 0:
        return multiply(symbol("i"), square_root(number(-value)))
    # sqrt(p/q) = sqrt(p*q)/q keeps every radicand an integer.
    outside, rest = _square_free(value.numerator * value.denominator)
    root = number(Fraction(outside, value.denominator))
    return root if rest in (0, 1) or not outside else multiply(root, symbol(f"sqrt({rest})"))


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


def factorial_of(base: Poly) -> Poly:
    """Return base!; an opaque atom for what is not a small whole number."""
    value = base.constant
    if value is None or value.denominator != 1 or not 0 <= value <= 3000:
        return symbol(f"factorial[{base.text}]")
    return number(Fraction(factorial(int(value))))


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
