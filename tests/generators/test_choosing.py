"""What is kept of the accepted candidates."""

from collections import Counter

from potstill.generators.candidates import Candidate
from potstill.generators.choosing import choose, worth
from potstill.recipe.counterfactual import CounterfactualConfig
from potstill.records import Problem

WORDS = ("red", "blue", "green", "brown", "white", "black", "pink", "grey")


def problem(number):
    """Return an original."""
    return Problem(id=f"p{number}", question=f"The {WORDS[number % 8]} car number {number} is here.", answer="yes",
                   answer_type="yesno")  # fmt: skip


def made(number, name="a", edit=("here", "gone"), role="counterfactual", reason="", **metrics):
    """Return an accepted candidate."""
    text = problem(number).question.replace(*edit)
    return Candidate(
        id=f"{number}{name}{role}", problem_id=f"p{number}", role=role, kind="relation", old="yes",
        new="no" if role == "counterfactual" else "yes", author="w", asked="", reason=reason, field="question",
        edits=(edit,), text=text, metrics={"agreement": 1.0, **metrics}, jury="j",
    )  # fmt: skip


def kept(candidates, n_problems, **config):
    """Return id -> reason."""
    problems = {f"p{number}": problem(number) for number in range(n_problems)}
    return {one.id: one.reason for one in choose(candidates, problems, CounterfactualConfig(**config))}


def test_the_best_of_each_problem_and_target_is_kept():
    """More votes, less change, less cost; what was refused keeps its reason."""
    found = kept(
        [made(0, "a", distance=0.5), made(0, "b", distance=0.1), made(0, "c", agreement=0.8), made(0, "d", reason="x")],
        1,
    )
    assert found == {
        "0acounterfactual": "not_best", "0bcounterfactual": "kept", "0ccounterfactual": "not_best",
        "0dcounterfactual": "x",
    }  # fmt: skip
    assert worth(made(0, delta_nll=1.0)) < worth(made(0, delta_nll=-1.0)) == worth(made(0))


def test_one_signature_has_a_share_at_most():
    """The next best candidate takes the place of one that is too many."""
    same = [made(number) for number in range(40)]
    assert Counter(kept(same, 40, signature_frac=0.1).values()) == {"kept": 4, "signature_cap": 36}
    other = [made(number, "b", ("car", f"van {number}"), distance=0.2) for number in range(40)]
    found = kept([*same, *other], 40, signature_frac=0.1)
    assert Counter(found.values())["kept"] == 40


def test_negations_have_a_share_at_most():
    """Three are allowed in the smallest pool."""
    found = kept([made(number, edit=("is here", f"is not {number}")) for number in range(20)], 20)
    assert Counter(found.values()) == {"kept": 3, "negation_cap": 17}


def test_no_more_counterfactuals_than_originals_by_the_ratio():
    """The others are over it."""
    every = [made(number, edit=("here", f"gone {number}")) for number in range(10)]
    assert Counter(kept(every, 10, ratio=0.5).values()) == {"kept": 5, "over_ratio": 5}


def test_an_invariant_is_chosen_by_the_size_of_its_counterfactual():
    """Else size would tell them apart."""
    found = kept(
        [
            made(0, edits=3.0),
            made(0, "small", ("car", "van"), "invariant", edits=1.0),
            made(0, "equal", ("car", "big van"), "invariant", edits=3.0, distance=0.9),
        ],
        1,
        roles=("counterfactual", "invariant"),
    )
    assert found["0equalinvariant"] == "kept"
    assert found["0smallinvariant"] == "not_best"
