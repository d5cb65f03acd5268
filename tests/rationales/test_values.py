"""What the value of a program says as an answer."""

import pytest

from potstill.rationales.answers import equal
from potstill.rationales.prose import Wanted
from potstill.rationales.values import denoised, read_value

AGES = ("A)23", "B)24 years", "C)1/2", "D)None of these")
READ = [
    ("number", (), "72", "int", "72"),
    ("number", (), "72.0", "float", "72"),
    ("number", (), "17.999999999999996", "float", "18"),
    ("number", (), "0.30000000000000004", None, "0.3"),
    ("number", (), "-8.881784197001252e-16", "float", "0"),
    ("number", (), "1e-07", "float", "0.0000001"),
    ("number", (), "12345678901.25", "float", "12345678901.25"),
    ("number", (), "2/3", "Rational", "2/3"),
    ("number", (), "66.66666666666667", "float", "66.6666666666667"),
    ("number", (), "[5]", "list", "5"),
    ("number", (), "{x: 5}", "dict", "5"),
    ("number", (), "(5,)", None, "5"),
    ("number", (), "[3, 5]", "list", "3, 5"),
    ("number", (), "(6, -12)", None, "-12, 6"),
    ("number", (), "(7, 7.0)", None, "7"),
    ("number", (), "1,234", "str", "1234"),
    ("number", (), "She has 5 apples", "str", "5"),
    ("number", (), "$5.50", None, "5.5"),
    ("number", (), "x + 3", "Add", None),
    ("number", (), "[y - 5]", "list", None),
    ("number", (), "96.0/days", "str", None),
    ("number", (), "3*y - 8", None, None),
    ("choice", AGES, "23.0/days", "Mul", None),
    ("choice", AGES, "It is 24 years", "str", "(b)"),
    ("number", (), "[]", "list", None),
    ("number", (), "True", "bool", None),
    ("yesno", (), "True", "bool", "yes"),
    ("yesno", (), "No", "str", "no"),
    ("yesno", (), "1", "int", None),
    ("choice", AGES, "23.0", "float", "(a)"),
    ("choice", AGES, "24", None, "(b)"),
    ("choice", AGES, "0.5", "float", "(c)"),
    ("choice", AGES, "b", "str", "(b)"),
    ("choice", ("15", "19"), "19.6875", None, None),
    ("choice", AGES, "None of these", None, "(d)"),
    ("choice", AGES, "25", "int", None),
    ("choice", ("$1", "1 cent", "2"), "1.0", "float", None),
    ("choice", ("62, 34", "34, 62", "34"), "(34, 62)", "tuple", "(b)"),
    ("choice", ("M + N/8", "M + N / 4"), "4.0", "float", None),
    ("choice", ("4 km/hr", "8 km/hr"), "4.0", "float", "(a)"),
    ("choice", ("AB/270", "AB/2700"), "A*B/2700", "Mul", "(b)"),
    ("expression", (), "sqrt(2)/2", "Mul", "1/2*sqrt(2)"),
    ("expression", (), "x**2 + 1", "Add", "1 + x^2"),
    ("expression", (), "[1, 2]", "list", "1, 2"),
    ("text", (), "Saturday", "str", "saturday"),
]


@pytest.mark.parametrize(("answer_type", "options", "text", "kind", "answer"), READ)
def test_a_value_is_read_as_an_answer_of_the_problems_type(answer_type, options, text, kind, answer):
    """Float noise, one-item lists and options' values; what is no such answer is none, and the nearest is not taken."""
    read = read_value(text, kind, Wanted(answer_type, options))
    assert (read.text if read else None) == answer


def test_a_label_is_one_of_the_set():
    """Case does not matter; another word is no label."""
    wanted = Wanted("label", (), ("Positive", "Negative"))
    assert read_value("positive", None, wanted).text == "Positive"
    assert read_value("neutral", None, wanted) is None


@pytest.mark.parametrize(
    ("value", "gold", "is_equal"),
    [
        (200 / 3, "66.67", True),
        (0.1 + 0.2, "0.3", True),
        (3 / 7, "3/7", True),
        (200 / 3, "67", False),
        (17.9999, "18", False),
    ],
)
def test_a_float_equals_its_exact_value_and_its_rounding_to_two_decimals(value, gold, is_equal):
    """The rule for visible floats decides; noise is taken off before it, real digits never."""
    assert equal(gold, read_value(str(value), "float", Wanted("number")), "number") is is_equal


@pytest.mark.parametrize("text", ["66.6666666666667", "1.6e-19", "2", "x", "1e400", "nan", "9999999999999999999999.5"])
def test_a_number_without_noise_is_left_alone(text):
    """So are integers, words, infinities, and decimals that no double can hold."""
    assert denoised(text) == text
