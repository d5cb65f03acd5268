"""Demands of an instruction that a program can check."""

import pytest

from potstill.rationales.demands import demands, unmet


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Explain comets in at least 300 words.", ["words >= 300"]),
        ("Write a 300+ word summary.", ["words >= 300"]),
        ("Use at most 80 words and no more than three sentences.", ["words <= 80", "sentences <= 3"]),
        ("Keep it under 1,000 words.", ["words <= 999"]),
        ("It should have no less than 20 sentences.", ["sentences >= 20"]),
        ("Say it in 50 words or less.", ["words <= 50"]),
        ("Use more than 4 sentences.", ["sentences >= 5"]),
        ("Give exactly 5 bullet points.", ["bullets = 5"]),
        ("Reply in JSON format.", ["json"]),
        ("Answer as a numbered list, without using any commas.", ["numbered list", "no commas"]),
        ("Present the result as a table.", ["table"]),
        ("Your entire response should be in English and in all lowercase letters.", ["lower case"]),
        ("Answer in all capital letters.", ["upper case"]),
        ("Write without any lists.", ["no lists"]),
        ("Wrap your entire response with double quotation marks.", ["in quotes"]),
        ("Use at least 5 words in all capital letters.", []),
        ("Write a JSON parser.", []),
        ("The table has 3 sentences on comets.", []),
        ("He wrote 80 words.", []),
    ],
)
def test_a_demand_is_read_from_its_words(text, names):
    """And nothing is read into a text that demands nothing."""
    assert [demand.name for demand in demands(text)] == names


@pytest.mark.parametrize(
    ("text", "response", "broken"),
    [
        ("Use at most 3 words.", "one two three", []),
        ("Use at most 3 words.", "one two three four", ["words <= 3"]),
        ("Use exactly 2 sentences.", "It is 3.5 m. Yes!", []),
        ("Use exactly 2 sentences.", "One only", ["sentences = 2"]),
        ("Reply in JSON format.", '```json\n{"a": 1}\n```', []),
        ("Reply in JSON format.", 'Here: {"a": 1}', ["json"]),
        ("Answer as a numbered list.", "1. a\n2. b", []),
        ("Answer as a numbered list.", "a, then b", ["numbered list"]),
        ("Present it as a table.", "a | b\n1 | 2", []),
        ("Write without any lists.", "- a\n- b", ["no lists"]),
        ("Answer in all capital letters.", "YES, 3!", []),
        ("Avoid using commas.", "a, b", ["no commas"]),
        ("Wrap it with double quotation marks.", '"so"', []),
        ("Explain comets.", "They are ice.", None),
    ],
)
def test_a_response_keeps_or_breaks_what_was_demanded(text, response, broken):
    """Without a demand nothing is known."""
    assert unmet(text, response) == broken
