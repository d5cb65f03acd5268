"""Options and gold answers as data sets spell them."""

import pytest

from potstill.errors import DataError
from potstill.evaluation.golds import Options, as_gold, choice, final_gold, index_base, infer_type, parse_options

AB = Options(("boat", "cart"), ("A", "B"))


@pytest.mark.parametrize(
    ("value", "texts", "names"),
    [
        (["boat", "cart"], ("boat", "cart"), ("A", "B")),
        (["A)boat", "B)cart"], ("boat", "cart"), ("A", "B")),
        (["(a) boat", "(b) cart"], ("boat", "cart"), ("a", "b")),
        (["Answer1: dry", "Answer2: wet"], ("dry", "wet"), ("Answer1", "Answer2")),
        (["A) boat", "C) cart"], ("A) boat", "C) cart"), ("A", "B")),
        (["12", 13], ("12", "13"), ("A", "B")),
        ({"A": "boat", "B": "cart"}, ("boat", "cart"), ("A", "B")),
        ({"text": ["boat", "cart"], "label": ["1", "2"]}, ("boat", "cart"), ("1", "2")),
        ("A) boat B) cart C) raft", ("boat", "cart", "raft"), ("A", "B", "C")),
        ("(A) boat, (B) cart", ("boat", "cart"), ("A", "B")),
        ('["boat", "cart"]', ("boat", "cart"), ("A", "B")),
    ],
)
def test_options_are_read_in_the_spellings_of_data_sets(value, texts, names):
    """Lists with or without labels, mappings, Hugging Face's text/label form, one text."""
    assert parse_options(value, "row 1") == Options(texts, names)


@pytest.mark.parametrize(
    "value", ["boat or cart", ["boat"], 3, {"text": ["a", "b"], "label": ["A"]}, [str(i) for i in range(27)]]
)
def test_what_is_no_list_of_options_is_refused(value):
    """The message names the row and the forms allowed."""
    with pytest.raises(DataError, match=r"row 1: options are.*expected 2 to 26"):
        parse_options(value, "row 1")


@pytest.mark.parametrize("gold", ["B", "b", "(B)", "(b)", "B)", "B.", "cart", " Cart "])
def test_a_gold_option_is_its_letter_however_it_is_spelled(gold):
    """Letter, bracketed letter, or the option's own text."""
    assert choice(gold, AB, "row 1") == "(b)"


def test_a_gold_option_may_be_the_sources_own_name_or_index():
    """ARC's `answer1`, Hugging Face's 0-based `label`, 1-based labels."""
    named = Options(("dry", "wet"), ("Answer1", "Answer2"))
    assert choice("answer2", named, "row 1") == "(b)"
    assert choice("1", AB, "row 1", first_index=0) == "(b)"
    assert choice("1", AB, "row 1", first_index=1) == "(a)"


def test_an_options_text_goes_before_a_letter_or_index():
    """With options that are letters or numbers themselves, the text is what is meant."""
    assert choice("A", Options(("B", "A"), ("A", "B")), "row 1") == "(b)"
    assert choice("1", Options(("2", "1"), ("A", "B")), "row 1", first_index=0) == "(b)"


@pytest.mark.parametrize("gold", ["C", "raft", "2", "0", ""])
def test_a_gold_answer_outside_the_options_is_refused(gold):
    """Where, what was found, what is allowed, what to do."""
    with pytest.raises(
        DataError, match=r"row 1: answer .* none of the options: \(a\) boat; \(b\) cart; correct the row"
    ):
        choice(gold, AB, "row 1")


@pytest.mark.parametrize(
    ("golds", "sizes", "base"),
    [
        (["0", "1"], [2, 2], 0),
        (["1", "2"], [2, 2], 1),
        (["1", "1"], [2, 2], None),
        (["0", "2"], [2, 2], None),
        (["a", "1"], [2, 2], None),
        ([], [], None),
    ],
)
def test_the_base_of_an_index_is_taken_only_when_one_fits(golds, sizes, base):
    """0, 1 tells; 1, 1 does not."""
    assert index_base(golds, sizes) == base


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("48 + 24 = 72 clips. #### 72", "72"),
        ("#### 1 is wrong\n#### 1,080 ", "1,080"),
        ("so $x = \\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("\\boxed{1} or rather \\boxed{2}", "2"),
        ("\\boxed{1", "\\boxed{1"),
        (" 72 ", "72"),
    ],
)
def test_worked_solutions_are_cut_to_their_final_answer(text, gold):
    """GSM8K's and MATH's forms; the last one counts."""
    assert final_gold(text) == gold


@pytest.mark.parametrize(
    ("value", "gold"),
    [
        ("7", "7"),
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (True, "yes"),
        (False, "no"),
        (["7"], "7"),
        (None, None),
        (" ", None),
        (float("nan"), None),
    ],
)
def test_golds_of_any_json_type_become_text(value, gold):
    """Whole floats lose their point, truth values become yes and no."""
    assert as_gold(value, "row 1") == gold


def test_several_golds_are_refused():
    """A list of answers is not one answer."""
    with pytest.raises(DataError, match="row 1: answer is"):
        as_gold(["7", "8"], "row 1")


@pytest.mark.parametrize(
    ("golds", "options", "labels", "kind"),
    [
        (["7", "-1,000", "$2.50", "3/4", "12%"], False, False, "number"),
        (["7", "seven apples"], False, False, "text"),
        (["yes", "No", "true"], False, False, "yesno"),
        (["(A)", "(D)"], False, False, "choice"),
        (["1", "2"], True, False, "choice"),
        (["pos", "neg"], False, True, "label"),
        (["4", "\\frac{1}{2}"], False, False, "expression"),
        ([], False, False, "text"),
    ],
)
def test_answer_types_are_inferred_by_one_rule(golds, options, labels, kind):
    """The order of the rule is the one in its docstring."""
    assert infer_type(golds, has_options=options, has_labels=labels) == kind
