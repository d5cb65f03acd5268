"""Colours and differences never change the text."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.review.colouring import coloured, word_difference


def shown(markup):
    return unescape(re.sub(r"<[^>]*>", "", markup))


@pytest.mark.parametrize(
    "program",
    [
        "def f(x):\n  return 'a<b' # <b>\n",
        'x = """open',
        "print(3.5e7)",
        "'\\'",
        "<script>alert(1)</script>",
        "a = '''",
    ],
)
def test_a_coloured_program_is_the_program(program):
    """Letter for letter, and none of it is markup."""
    assert shown(coloured(program)) == program
    assert "<script" not in coloured(program)


def test_words_of_python_have_colours():
    """Keywords, strings, numbers and comments."""
    assert re.findall(r't-(\w+)">([^<]*)', coloured("for x in 'ab': y = 3 # z")) == [
        ("keyword", "for"), ("keyword", "in"), ("string", "&#x27;ab&#x27;"), ("number", "3"), ("comment", "# z")
    ]  # fmt: skip


@given(st.text(alphabet="ab <>&3.", max_size=30), st.text(alphabet="ab <>&3.", max_size=30))
def test_a_difference_holds_both_texts(before, after):
    """Without what came in it is the earlier text, without what went the later."""
    markup = word_difference(before, after)
    assert shown(re.sub(r"<ins>.*?</ins>", "", markup)) == before
    assert shown(re.sub(r"<del>.*?</del>", "", markup)) == after


def test_long_texts_are_not_compared_word_by_word():
    """Their comparison would take too long."""
    assert word_difference("a " * 2000, "b").startswith("<del>")
