"""Markup in which text stays text."""

import pytest

from potstill.evaluation.page.markup import Html, cut, element, join, text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("\"quoted\" 'too'", "&quot;quoted&quot; &#x27;too&#x27;"),
        ("one\ntwo\tthree", "one\ntwo\tthree"),
        ("nul\x00\x1b", "nul\ufffd\ufffd"),
        ("\ud83d alone", "\ufffd alone"),
        ("ab\u202ecd\u2066e", "ab[U+202E]cd[U+2066]e"),
        ("é \u05e9\u05dc\u05d5\u05dd \u65e5\u672c 🙂", "é \u05e9\u05dc\u05d5\u05dd \u65e5\u672c 🙂"),
        ("e" + "\u0301" * 9, "e" + "\u0301" * 4),
        (12.5, "12.5"),
    ],
)
def test_text_is_escaped_and_made_visible(value, shown):
    """Markup characters, control characters, lone surrogates, direction marks, towers of accents."""
    assert text(value) == shown


def test_an_element_escapes_its_children_unless_they_were_built_here():
    """A string is text; markup comes only from element, join and text."""
    inner = element("b", "<i>")
    assert element("p", "<&", inner, None, 7, [inner, "x"]) == "<p>&lt;&amp;<b>&lt;i&gt;</b>7<b>&lt;i&gt;</b>x</p>"


def test_attributes_are_escaped_and_named_as_in_html():
    """`class_` and underscores; `None` leaves an attribute out; numbers are short."""
    found = element("div", class_='a" onclick="b', aria_label="x", id=None, width=1.25000001)
    assert found == '<div class="a&quot; onclick=&quot;b" aria-label="x" width="1.25"></div>'


def test_empty_shapes_are_closed():
    """Inside SVG an unclosed line would swallow what follows."""
    assert element("line", x1=1) == '<line x1="1"/>'
    assert element("rect", element("title", "t")) == "<rect><title>t</title></rect>"


def test_a_tag_name_is_never_data():
    """A name that is not a name is our mistake."""
    with pytest.raises(AssertionError):
        element("p onclick=x")


def test_a_string_operation_on_markup_gives_text():
    """Slicing or joining markup by hand loses the mark, and is escaped."""
    assert isinstance(join(element("b", "x")), Html)
    assert join(element("b", "x")[:3]) == "&lt;b&gt;"


def test_a_long_text_is_cut_and_says_by_how_much():
    """Nothing is left out silently."""
    assert cut("abcdef", 6) == "abcdef"
    assert cut("a" * 1500, 400).endswith(" … (1,100 more characters)")
