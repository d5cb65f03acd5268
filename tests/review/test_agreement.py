"""Krippendorff's alpha."""

import pytest

from potstill.review.agreement import nominal_alpha

KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]  # fmt: skip
"""The worked example of Krippendorff's "Computing Krippendorff's alpha-reliability" (2011): nominal alpha 0.743."""


def test_the_published_example_comes_out():
    """Four raters, missing values."""
    units = [[value for value in unit if value is not None] for unit in zip(*KRIPPENDORFF, strict=True)]
    alpha, n = nominal_alpha(units)
    assert (round(alpha, 3), n) == (0.743, 11)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([["a", "a"], ["b", "b"]], 1.0),
        ([["a", "b"], ["b", "a"]], -0.5),
        ([["a", "a"], ["a", "a"]], None),
        ([["a"], []], None),
    ],
)
def test_perfect_agreement_disagreement_and_none_to_judge(units, expected):
    """Without variation alpha is undefined, not 1."""
    assert nominal_alpha(units)[0] == expected
