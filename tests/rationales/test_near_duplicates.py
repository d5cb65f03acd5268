"""Duplicates: nearly the same texts, of which one is kept."""

from __future__ import annotations

from potstill.rationales.filtering import keep
from potstill.recipe.rationales import FilterConfig
from potstill.records import Rationale, Status, Verdict

WAY = (
    "She has 3 apples in the first basket and 4 more in the second one, so there are 3 + 4 = 7 apples in both of them. "
    "So the answer is: 7"
)


def rationale(id, text, answer="7", **fields):
    verdict = Verdict(rationale_id=id, status=Status.CORRECT, answer=answer)
    return Rationale(**{"id": id, "problem_id": "p", "kind": "cot", "text": text, "verdict": verdict, **fields})


def test_of_nearly_the_same_texts_the_first_is_kept():
    """A word more is no other way to think; other words, another number, answer or problem are."""
    rows = [
        rationale("first", WAY),
        rationale("again", WAY.replace("first", "very first")),
        rationale("case", WAY.upper()),
        rationale("words", "Add both baskets: 3 + 4 = 7. So the answer is: 7"),
        rationale("numbers", WAY.replace("3", "5").replace("4", "2")),
        rationale("answer", WAY.replace("the first", "first"), answer="8"),
        rationale("problem", WAY, problem_id="q"),
        rationale("short", "7"),
    ]
    kept, drops = keep(rows, FilterConfig(dedup="near"))
    assert [r.id for r in kept] == ["first", "words", "numbers", "answer", "problem", "short"]
    assert [(d.id, d.reason) for d in drops] == [("again", "near_duplicate"), ("case", "near_duplicate")]


def test_chains_of_near_duplicates_are_one():
    """Each differs by little from the one before; the first speaks for all."""
    words = [f"word{i}" for i in range(40)]
    texts = [" ".join([*words[:at], *["other"] * (at > 0), *words[at + 1 :]]) for at in (0, 20, 39)]
    kept, _ = keep([rationale(str(i), text) for i, text in enumerate(texts)], FilterConfig(dedup="near"))
    assert [r.id for r in kept] == ["0"]


def test_near_is_a_rule_for_one_kind_too():
    """Programs are left alone where only chains of thought have a rule."""
    rows = [rationale(f"{kind}{i}", WAY, kind=kind) for kind in ("cot", "pot") for i in range(2)]
    kept, _ = keep(rows, FilterConfig(dedup={"cot": "near"}))
    assert [r.id for r in kept] == ["cot0", "pot0", "pot1"]
