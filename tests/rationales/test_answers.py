"""Final answers, as a table: what a text says, what was read, whether it is the gold answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.rationales.answers import Answer, equal, extract, normalise

OIL = ("A)oil refineries", "B)wall", "C)show", "D)own home", "E)water fountain")
BALLS = ("red ball.", "orange ball.", "green ball.")
NLI = ("entailment", "neutral", "contradiction")

NUMBERS = [
    ("72", "72"),
    ("-3", "-3"),
    ("3 apples", "3"),
    ("$1,234.50", "1234.5"),
    ("\\$1,234.50", "1234.5"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    ("32,\\!348", "32348"),
    ("10{,}000", "10000"),
    ("11,\u202f880", "11880"),
    ("1,20,000", "120000"),
    ("18.00", "18"),
    (".5", "0.5"),
    ("3/4", "0.75"),
    ("2/3", "2/3"),
    ("1 1/2", "1.5"),
    ("3 and 1/4 laps", "3.25"),
    ("½", "0.5"),
    ("\\frac{3}{4}", "0.75"),
    ("\\dfrac34", "0.75"),
    ("1.5e6", "1500000"),
    ("1.5 \\times 10^6", "1500000"),
    ("2.5 million", "2500000"),
    ("50%", "50"),
    ("50\\%", "50"),
    ("x = 5", "5"),
    ("twelve", "12"),
    ("twenty-five dollars", "25"),
    ("two hundred and five", "205"),
    ("**42**", "42"),
    ("16\\ \\text{pounds}", "16"),
    ("-24/5", "-4.8"),
    ("(829 - 45)", "784"),
    ("((15 * 19) + (62 * 19))", "1463"),
    ("2:00 pm", "2"),
    ("5 or 6", "5, 6"),
    ("2 hours and 30 minutes", "2, 30"),
]


@pytest.mark.parametrize(("written", "canonical"), NUMBERS)
def test_a_number_has_one_spelling_however_it_is_written(written, canonical):
    """Separators, currency, percent, fractions, words and LaTeX come to the same text."""
    span = extract(f"So the answer is: {written}", "number")
    answer = normalise(span, "number")
    assert canonical == answer.text


@pytest.mark.parametrize("written", ["", "no idea", "04/27/2004", "abc", "1/0", "the 3/0"])
def test_what_is_no_number_is_none(written):
    """Dates, words and divisions by zero are no numbers."""
    assert normalise(written, "number") is None


@given(st.integers(-(10**12), 10**12), st.integers(0, 4))
def test_every_decimal_survives_formatting(digits, places):
    """Grouped, padded and plain spellings of one decimal are equal."""
    value = f"{digits / 10**places:,.{places}f}"
    assert equal(value, value.replace(",", ""), "number")
    assert equal(f"${value}", f"{value}0" if places else f"{value}.00", "number")


EQUAL = [
    ("number", "5", "5.000", True),
    ("number", "0.6666666666666666", "2/3", True),
    ("number", "5.666666666666667", "5.67", True),
    ("number", "10.333333333333334", "10.333333333333332", True),
    ("number", "0.6666666666666666", "0.7", False),
    ("number", "33.3", "33", False),
    ("number", "18", "17.99", False),
    ("number", "50%", "50", True),
    ("number", "50%", "0.5", True),
    ("number", "50", "0.5", False),
    ("number", "70", "0.7 or 70%", True),
    ("number", "25", "1/4 or 25%", True),
    ("number", "5", "5 or 6", False),
    ("number", "1728", "1331 and 1728", False),
    ("number", "3", "-3", False),
    ("number", "1201565", "1201587", False),
    ("choice", "(A)", "a", True),
    ("choice", "A", "(b)", False),
    ("yesno", "True", "yes", True),
    ("yesno", "no", "False", True),
    ("yesno", "no", "yes", False),
    ("text", "Moby Dick.", "moby dick", True),
    ("text", "The 60th caller.", "60th caller", True),
    ("text", "3:30 p.m.", "3:30 PM", True),
    ("text", "gsse", "g s s e", True),
    ("text", "scan", "s, c, a, n", True),
    ("text", "] )", "] )", True),
    ("text", "] )", ") ]", False),
    ("text", "1,000", "1000", True),
]


@pytest.mark.parametrize(("answer_type", "a", "b", "same"), EQUAL)
def test_answers_compare_exactly(answer_type, a, b, same):
    """Nothing is near: only percent signs and the rounding of visible floats are forgiven."""
    assert same == equal(a, b, answer_type)
    assert same == equal(b, a, answer_type)


EXPRESSIONS = [
    (r"\frac{1}{2}", "0.5", True),
    (r"\frac{1}{2}", "0.5.", True),
    (r"\frac43", "4/3", True),
    (r"\frac16", "\frac16", True),
    (r"-\frac{35}{9}", "35/9", False),
    (r"x \in [-2,7]", "[-2,7]", True),
    ("[-2,7]", "(-2,7)", False),
    (r"(-\infty, 2) \cup (3, \infty)", r"(-\infty,2)\cup(3,\infty)", True),
    (r"137 \frac{1}{2}", "137.5", True),
    (r"1\frac{4}{5}", "9/5", True),
    (r"\$32,\!348", "32348", True),
    (r"11,\! 111,\! 111,\! 100", "11111111100", True),
    (r"864 \mbox{ inches}^2", "864", True),
    (r"10\text{ cm}", "10 cm", True),
    (r"145^\circ", "145", True),
    (r"60^\circ", "60 degrees", True),
    ("25\\%", "25", True),
    (r"15\pi", "15π", True),
    (r"15\pi", "15", False),
    (r"2\sqrt{5}", "√20", True),
    (r"12\sqrt{13", "12√13", True),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", True),
    (r"\frac{1}{1+\sqrt3}", r"\frac{\sqrt3-1}{2}", True),
    ("(a+5)(b+2)", "ab+5b+2a+10", True),
    ("x^3+3x-6", "x^3+3x+6", False),
    ("6+9i", "9i+6", True),
    ("x=5", "5", True),
    ("b = -4", "-4", True),
    ("y = 2x + 3", "2x+3", True),
    ("5x - 7y + 11z + 4 = 0", "-5x+7y-11z-4=0", True),
    ("5x - 7y + 11z + 4 = 0", "5x - 7y + 11z - 4 = 0", None),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}", True),
    (r"\{1\pm\sqrt{5},-2\}", r"-2, 1+\sqrt5, 1-\sqrt5", True),
    ("3, 5, 7", "7,5,3", True),
    ("3, 5, 7", "3, 5", False),
    ("1331 \\text{ and } 1728", "1728", False),
    ("(8,-2)", "(-2,8)", False),
    ("(8,-2)", "8, -2", True),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\pi/2)", True),
    (r"\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix}", r"\begin{bmatrix} -1 & 0 \\ 0 & -1 \end{bmatrix}", True),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}", False),
    (r"\text{(B)}", "B", True),
    (r"\text{Evelyn}", "Evelyn", True),
    (r"\text{east}", "seat", False),
    (r"\text{4:30 p.m.}", "4:30 p.m.", True),
    ("1 : 2", "1:2", True),
    ("204_5", r"204_{5}", True),
    ("204_5", "204", True),
    ("204_5", "204_6", False),
    ("1/2004!", "1/2006!", False),
    (r"\cot x", r"\frac{\cos x}{\sin x}", None),
    (r"2^{10}", "1024", True),
    (r"\text{A,B,C,D", "A, B, C, D", True),
]


@pytest.mark.parametrize(("gold", "answer", "same"), EXPRESSIONS)
def test_expressions_compare_by_value(gold, answer, same):
    """Sets, intervals, tuples, surds, matrices and equations; `None` where the exact rules do not decide."""
    assert same is equal(gold, answer, "expression")


@pytest.mark.parametrize(
    "text", ["9" * 5000, "2^(3^(4^5))", "((((" * 200 + "1", "-" * 3000 + "1", "x^" * 200, "3000!!"]
)
def test_absurd_expressions_neither_hang_nor_crash(text):
    """Size and depth are bounded: such a text is at worst not understood."""
    assert isinstance(normalise(text, "expression"), Answer)


FOUND = [
    # markers
    ("number", "16 - 3 = 13, 13 - 4 = 9.\n#### 72", "72"),
    ("number", "97 - 8 = 89 more cakes than pastries.#### 89", "89"),
    ("number", "The sum is \\boxed{\\frac{1}{2}}, so \\boxed{72}.", "72"),
    ("expression", "so it is \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
    (
        "expression",
        "First \\boxed{3}. Finally, \\boxed{\\left\\{1,\\frac{\\sqrt{2}}{2}\\right\\}}",
        "\\left\\{1,\\frac{\\sqrt{2}}{2}\\right\\}",
    ),
    ("number", "roots \\boxed{1331} and \\boxed{1728}", "1331, 1728"),
    ("number", "**Final Answer:**\n\n\\[\n\\boxed{8}\n\\]", "8"),
    ("number", "### Final Answer\n\n**$1,234**", "$1,234"),
    ("number", "The answer is 5. Hope this helps! Let me know if this answer is helpful.", "5"),
    ("number", "... = 36The answer is 4.5", "4.5"),
    ("number", "The answer is 133 - 51 = 82", "82"),
    ("number", "The answer is -10 + 24 = 14.", "14"),
    ("number", "<answer>12</answer>", "12"),
    ("number", "A: 20", "20"),
    ("number", "Final answer: Sunny earned $540 in two days.", "$540"),
    ("number", "So the answer is: 7\n\nQ: What is 2 + 2?\nA: So the answer is: 4", "7"),
    (
        "number",
        "There are 7 left. The answer is (9 - 2).\n\nQ: There are 15 trees. The answer is (21 - 15).",
        "(9 - 2)",
    ),
    ("number", "<think>\nThe answer is 3.\n</think>\n\nThe answer is 4.", "4"),
    ("expression", "The answer is \x0crac13", "\\frac13"),
    ("choice", "So the answer is (d) own home.\n\nQ: next", "(d)"),
    ("choice", "Answer: (B) wall", "(b)"),
    ("choice", "The correct option is **E**.", "(e)"),
    ("choice", "The answer is <C>", "(c)"),
    ("choice", "The answer is probably B, because option C makes no sense.", "(b)"),
    ("choice", "Therefore, the most accurate answer is A.", "(a)"),
    ("choice", "The answer is own home", "(d)"),
    ("choice", "d", "(d)"),
    ("yesno", "So the answer is: no", "no"),
    ("yesno", "The answer is **True**.", "True"),
    ("yesno", "So, yes, it can be made without one.", "yes"),
    ("yesno", "Yes, it is a planet. It orbits the sun.", "Yes"),
    ("label", "So the answer is contradiction.\n\nPremise: next. So the answer is neutral.", "contradiction"),
    ("label", "The relationship is best described as neutral.", "neutral"),
    ("text", 'So the final answer is "anana".', "anana"),
    ("text", 'If we put all these letters together, we get "oetn".', "oetn"),
    ("text", "So the answer is ] ) )", "] ) )"),
    ("text", 'The last letter is n.\nSo, we have "yran".', "yran"),
    ("text", '"y" + "e" + "o" + "n" = "yeon"', "yeon"),
    ("text", 'The third letter is b.\nHence, we have "boletus"', None),
    ("yesno", "none of them lived there.Therefore,theanswerisFalse", "False"),
    ("yesno", "as shown-so-the-answer-is-True", "True"),
    ("yesno", "definitive precise outcome Therefore answer False", "False"),
    ("yesno", "So the answer is not False.", None),
    ("yesno", "The question asks if it would be harmed, and since all are, the answer is True", "True"),
    # conclusions without a marker
    ("number", "5x = 200\nx = 40\n\nSo, Fred must deliver 4 * 40 = 160 red roses by 5 pm.", "160"),
    ("number", "4 * 40 = 160. So Fred must deliver 160 red roses.", "160"),
    ("number", "Then, 200 bags * $5 per bag = $1000 total earnings.", "$1000"),
    ("number", "Dividing -30 by 3 gives an average of -10°F.", "-10"),
    ("number", "the pass rate is 700 / 1000 = 0.7 or 70%.", "0.7 or 70%"),
    ("number", "Therefore, Bill is on the 18th floor.", "18"),
    ("number", "3 * 5 = 15. **Therefore, there are 15 sheep on the farm.**\n\n", "15"),
    ("choice", "At the end of the game, Alice has the green ball.", "(c)"),
    ("choice", "So the minimum is 2.", None),
    # nothing stated, or not one thing
    ("number", "Finally, we add the totals for both types to get the overall production in 48 hours.", None),
    ("number", "Then, we divide 780 by 10 to find out how many pieces each friend received.", None),
    ("number", "The correct answer is not 9.", None),
    ("number", "The given answer is 745.", None),
    ("number", "Therefore, they use 20 flashlights and 36 candles.", None),
    ("number", "So he has 6 + 4 = 10 oatmeal, 3 + 4 = 7 chocolate, and 2 + 4 = 6 sugar cookies.", None),
    (
        "number",
        "We add these to get our answer:\n\n3 + 1/4\n\nWe could also simplify this answer to just 3 laps.",
        None,
    ),
    ("number", "So the answer is", None),
    ("number", "", None),
    ("number", "I am sorry, I cannot help with that.", None),
    ("number", "<think>\nThe answer is 3.", None),
    ("choice", "So the answer is either (a) oil refineries or (d) own home.", None),
    ("choice", "The answer is (b) own home.", None),
    ("choice", "The answer is B, C, and D.", None),
    ("choice", "The answer must be one of the following: (B) wall, (C) show.", None),
    ("choice", "The answer is none of the given options.", None),
    ("yesno", 'If the answer to all of these questions is "yes," then it is safe.', None),
    ("yesno", "If you mean unusual, then the answer is yes - it does.", None),
    ("yesno", "The answer is yes. However, if we look closer, the answer is probably not so simple.", None),
    ("yesno", 'The answer is "Yes, it is a word, but it is not a numeral."', None),
    ("yesno", "There is no reason to think so.", None),
    ("yesno", "Can a banana infect a human? No.", None),
    ("label", "It is not entailment.", None),
    ("text", "The letters are e, r, u and r, which was to be found in each of the names.", None),
]


@pytest.mark.parametrize(("answer_type", "text", "span"), FOUND)
def test_the_final_answer_is_found_or_its_absence_is(answer_type, text, span):
    """Markers first, then a concluding sentence that states a result; two answers are none."""
    options = BALLS if "ball" in text else OIL if answer_type == "choice" else ()
    labels = NLI if answer_type == "label" else ()
    assert span == extract(text, answer_type, options=options, labels=labels, question="How many in 48 hours?")


TRUNCATED = [
    ("The answer is 12", None),
    ("The answer is 12.", "12"),
    ("The answer is 12\n", "12"),
    ("so it is \\boxed{12}", "12"),
    ("so it is \\boxed{12", None),
    ("That leaves 12 - 5 = 7 apples.", None),
    ("The answer is 5. " + "But there is more to say about it. " * 20, None),
    ("The answer is 7.\n\nQ: There are 15 trees in the", "7"),
]


@pytest.mark.parametrize(("text", "span"), TRUNCATED)
def test_a_text_cut_at_its_token_limit_answers_only_what_was_complete(text, span):
    """An answer that touches the end may have gone on; run-on text after a complete answer does no harm."""
    assert span == extract(text, "number", truncated=True)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Are there more roads? In the United States, the answer is yes. There are 3.", None),
        ("Can a dolphin write? The answer is yes. Can it", None),
        ("So the answer is yes.", "yes"),
        ("So the answer is yes.\n\nQ: Is the sky", "yes"),
    ],
)
def test_in_a_text_that_was_cut_off_yes_and_no_must_be_the_last_sentence(text, word):
    """Before it, they may have answered a question of the author's own."""
    assert word == extract(text, "yesno", truncated=True)


CHOICES = [
    ("A", OIL, "(a)"),
    ("(e)", OIL, "(e)"),
    ("B)wall", OIL, "(b)"),
    ("b) wall", OIL, "(b)"),
    ("wall", OIL, "(b)"),
    ("Wall.", OIL, "(b)"),
    ("F", OIL, None),
    ("the", OIL, None),
    ("a wall", OIL, "(b)"),
    ("orange ball.", BALLS, "(b)"),
    ("answer2", ("Answer1: cake", "Answer2: tomato"), "(b)"),
    ("tomato", ("Answer1: cake", "Answer2: tomato"), "(b)"),
    ("Y", ("A)U", "B)Y", "C)O", "D)Y", "E)R"), None),
    ("(C)", (), "(c)"),
]


@pytest.mark.parametrize(("written", "options", "canonical"), CHOICES)
def test_a_choice_is_its_letter_its_label_or_its_text(written, options, canonical):
    """A text that two options share names neither."""
    answer = normalise(written, "choice", options)
    assert canonical == (answer.text if answer else None)


def test_labels_are_those_of_the_closed_set():
    """Case and punctuation do not matter, membership does."""
    assert normalise("Neutral.", "label", labels=NLI).text == "neutral"
    assert normalise("maybe", "label", labels=NLI) is None
