"""Charts: what is drawn where."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from potstill.evaluation.page.charts import (
    Axis,
    Bar,
    Line,
    Part,
    Point,
    bar_chart,
    funnel_chart,
    interval_cell,
    line_chart,
    nice_ticks,
    share_chart,
    spread,
)


def parse(svg):
    return ET.fromstring(svg)


def test_a_bar_is_as_long_as_its_value():
    """Half of the axis for one half; the interval from its low to its high."""
    svg = parse(bar_chart([Bar("all", 1.0, 0.9, 1.0), Bar("half", 0.5, 0.4, 0.6)], "T"))
    whole, half = (float(rect.get("width")) for rect in svg.iter("rect"))
    assert half == pytest.approx(whole / 2, abs=0.01)
    whiskers = [line for line in svg.iter("line") if line.get("class") == "whisker"]
    start, left = 352 - whole, 352 - whole + 0.4 * whole
    assert float(whiskers[3].get("x1")) == pytest.approx(left, abs=0.02)
    assert start > 0


def test_charts_say_in_words_what_they_draw():
    """A title, and a description with the numbers."""
    svg = parse(bar_chart([Bar("SCoTD <30>", 0.713, 0.66, 0.762)], "Accuracy"))
    assert svg.find("title").text == "Accuracy"
    assert svg.find("desc").text == "SCoTD <30>: 71.3 % (interval 66.0 to 76.2)"
    assert (svg.get("role"), svg.get("aria-label")) == ("img", "Accuracy")


def test_a_bar_without_a_value_is_a_dash():
    """Nothing scored draws nothing."""
    svg = parse(bar_chart([Bar("none", None, None, None)], "T"))
    assert [text.text for text in svg.iter("text")][-2:] == ["none", "-"]
    assert list(svg.iter("rect")) == []


def test_lines_have_error_bars_and_a_logarithmic_axis():
    """1, 5 and 25 are evenly spaced on a logarithmic axis."""
    points = tuple(Point(n, 0.5, 0.4, 0.6) for n in (1, 5, 25))
    svg = parse(line_chart([Line("test", points)], "T", x_label="N", x_ticks=(1, 5, 25), log_x=True))
    joined = next(svg.iter("polyline")).get("points").split()
    xs = [float(place.split(",")[0]) for place in joined]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert len([line for line in svg.iter("line") if "thin" in line.get("class")]) == 3


def test_lines_of_several_seeds_are_labelled_once():
    """Three seeds, one name."""
    lines = [Line("SCoTD", (Point(0, 0.1), Point(10, 0.5 + seed / 100))) for seed in range(3)]
    svg = line_chart(lines, "T", x_label="step", x_ticks=(0, 10))
    assert svg.count("polyline") == 3
    assert len(re.findall(r">SCoTD</text>", svg)) == 1


def test_labels_that_would_overlap_are_pushed_apart():
    """As little as needed, in order, inside the bounds."""
    placed = spread([50, 51, 52, 90], 16, 0, 100)
    assert all(below - above >= 15.9 for above, below in pairwise(placed))
    assert placed == sorted(placed)
    assert max(placed) <= 100.1


def test_a_funnel_draws_all_bars_on_one_scale():
    """The widest bar is the whole width; parts are in proportion, with their counts in words."""
    rows = [
        ("sampled", [Part("sampled", 200, "base")]),
        ("verified", [Part("right", 100, "right"), Part("wrong", 100, "wrong")]),
    ]
    svg = parse(funnel_chart(rows, "T"))
    widths = [float(rect.get("width")) for rect in svg.iter("rect")]
    assert widths[0] == pytest.approx(392)
    assert widths[2] == pytest.approx(196)
    assert "verified: 100 right, 100 wrong" in svg.find("desc").text


def test_an_empty_funnel_is_drawn_without_dividing_by_zero():
    """A stage that passed nothing has an empty bar."""
    assert "0" in funnel_chart([("kept", [Part("kept", 0, "kept")])], "T")


def test_zero_is_at_the_same_place_in_all_cells_of_a_table():
    """Intervals can be compared down a column."""
    cells = [parse(interval_cell(v, v - 0.1, v + 0.1, bounds=(-0.2, 0.8))) for v in (0.0, 0.5)]
    zeros = [next(line for line in cell.iter("line") if line.get("class") == "zero").get("x1") for cell in cells]
    assert zeros[0] == zeros[1]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 600], [0, 200, 400, 600]),
        ([0.2, 0.9], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([], [0, 1]),
        ([-1, 1], [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round_numbers_that_span_the_values(values, ticks):
    """From zero, where nothing is negative."""
    assert nice_ticks(values, most=4 if values == [0, 600] else 5) == ticks


def test_an_axis_without_extent_places_in_the_middle():
    """One single N must not divide by zero."""
    assert Axis(5, 5, 0, 100, log=True).at(5) == 50


def test_a_group_of_bars_has_a_heading_and_a_bar_may_have_a_note():
    """The heading pushes the bars below it down; both are in the words."""
    svg = parse(bar_chart([Bar("a", 0.5, 0.4, 0.6, note="vote"), Bar("b", 0.5, 0.4, 0.6, heading="Group")], "T"))
    first, second = (float(rect.get("y")) for rect in svg.iter("rect"))
    assert second - first == 32 + 24
    assert svg.find("desc").text.startswith("a (vote): 50.0 % (interval 40.0 to 60.0); Group: b: 50.0 %")
    assert [text.text for text in svg.iter("text") if text.get("class") == "heading"] == ["Group"]


def test_shares_fill_the_width_whatever_the_totals():
    """Each bar is cut into shares of its own total."""
    rows = [
        ("few", [Part("CoT", 1, "cot"), Part("PoT", 1, "pot")]),
        ("many", [Part("CoT", 900, "cot"), Part("PoT", 300, "pot")]),
    ]
    svg = parse(share_chart(rows, "T"))
    widths = [float(rect.get("width")) for rect in svg.iter("rect")]
    assert widths == pytest.approx([199.2, 200, 299.2, 100])
    assert svg.find("desc").text == "few: CoT 50 %, PoT 50 %; many: CoT 75 %, PoT 25 %"
