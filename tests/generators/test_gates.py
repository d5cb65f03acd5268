"""Surface gates: what is refused, and what must pass."""

import pytest

from potstill.generators.gates import evolved_gate, surface_gate

SEED = "Write a short guide to sourdough bread."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{SEED} Use at most 150 words.", ""),
        (f"{SEED} The table below holds the hours: Mon 3, Tue 5.", ""),
        (f"{SEED} Say \"why\" (in brackets).", ""),
        ("  ", "empty"),
        (SEED, "near_copy"),
        ("write a short guide to sourdough bread!", "near_copy"),
        ("Sure, here is a harder one. Explain why bread rises in the oven.", "talks_of_rewriting"),
        ("#Rewritten Prompt#: Explain why bread rises in the oven.", "talks_of_rewriting"),
        ("Explain why bread rises in the oven and then", "cut_off"),
        ("Explain why bread (of rye rises in the oven.", "cut_off"),
        ("Explain what the figure below says about bread.", "not_self_contained"),
        ("Summarise the attached file on bread.", "not_self_contained"),
        (f"{SEED} " + "Mind the crumb, the crust and the heat. " * 20, "too_long"),
    ],
)  # fmt: skip
def test_a_rewrite_is_refused_for_its_surface(text, reason):
    """One reason each, in the order in which they are asked."""
    assert surface_gate(text, SEED, SEED) == reason


def test_length_is_measured_against_the_seed_and_news_against_the_parent():
    """A chain of small rewrites cannot grow for ever, and must always add something."""
    parent = f"{SEED} Use at most 150 words. Set it in a shared flat."
    assert surface_gate(f"{parent} Also give a title.", parent, SEED) == ""
    assert surface_gate(SEED, parent, SEED) == "near_copy"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Write a guide to sourdough bread with three steps", ""),
        ("Write a guide to sourdough bread and then", "cut_off"),
        ("Write a guide to sourdough bread with a (short list", "cut_off"),
        ("Объясни, как печь хлеб на закваске, за три шага.", "other_script"),
        ("  ", "empty"),
        (SEED, "near_copy"),
    ],
)
def test_a_models_rewrite_may_lack_its_closing_mark_but_not_its_end(text, reason):
    """And it stays in the script of its seed."""
    assert evolved_gate(text, SEED, SEED) == reason


def test_seeds_of_other_scripts_evolve_in_their_own():
    """The gate compares with the seed, not with English."""
    seed = "Объясни другу, что такое комета."
    assert evolved_gate(f"{seed} Приведи два примера.", seed, seed) == ""
    assert evolved_gate("Explain to a friend what a comet is.", seed, seed) == "other_script"
