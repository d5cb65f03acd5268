"""The world's problems, checked against an interpreter that shares no code with it."""

import re

import pytest

from potstill.miniature.world import OOD_NAMES, draw_contrast, draw_problems

SPLITS = ("train", "dev", "test", "ood")
BACK = {"back", "backward"}
WAYS = {"ahead", "forward"} | BACK


def walked(question):
    """Walk through a question word by word: after a number and a way, go; after "times" or "jumps", remember."""
    words = re.findall(r"[A-Za-z]+|\d+", question)
    square = int(words[words.index("square") + 1])
    times, numbers = 1, []
    for word in words[words.index("numbered") + 4 :]:
        if word.isdigit():
            numbers.append(int(word))
        elif word in ("times", "jumps") and numbers:
            times = numbers.pop()
        elif word in WAYS:
            square += times * numbers.pop() * (-1 if word in BACK else 1)
            times = 1
    return str(square % 12)


def numbers_of(question):
    return tuple(re.findall(r"\d+|[A-Z][a-z]+day|ahead|forward|back|backward", question))


@pytest.mark.parametrize("split", SPLITS)
def test_gold_answers_agree_with_an_independent_interpreter(split):
    """Every gold answer is the one that reading the question's words from left to right gives."""
    for problem in draw_problems(split, 300, 7):
        assert walked(problem["question"]) == problem["answer"], problem["question"]


def test_problems_have_the_fields_that_a_record_needs():
    """A problem carries question, answer, answer type, source, split and meta, and no id."""
    problem = draw_problems("dev", 1, 0)[0]
    assert set(problem) == {"question", "answer", "answer_type", "source", "split", "meta"}
    assert (problem["answer_type"], problem["source"], problem["split"]) == ("number", "miniature", "dev")
    assert set(problem["meta"]) == {"n_moves", "has_large"}


def test_a_seed_draws_the_same_problems_and_another_seed_others():
    """The world is a function of split and seed, and fewer problems are a prefix of more."""
    problems = draw_problems("test", 50, 3)
    assert draw_problems("test", 20, 3) == problems[:20]
    assert draw_problems("test", 20, 4) != problems[:20]


def test_no_two_splits_share_a_walk_even_across_seeds():
    """Numbers, days and directions of train, dev and test problems never coincide, whatever the seeds."""
    walks = {
        split: {numbers_of(p["question"]) for seed in range(3) for p in draw_problems(split, 500, seed)}
        for split in SPLITS
    }
    for split in SPLITS:
        for other in SPLITS:
            assert split == other or not walks[split] & walks[other]


def test_problems_of_a_split_are_distinct():
    """No question occurs twice in a split."""
    questions = [p["question"] for p in draw_problems("train", 1000, 0)]
    assert len(set(questions)) == len(questions)


def test_out_of_distribution_problems_are_longer_and_name_other_people():
    """Problems of `ood` have four or five moves and only people that no training problem names."""
    train, ood = draw_problems("train", 300, 0), draw_problems("ood", 300, 0)
    assert {p["meta"]["n_moves"] for p in train} == {2, 3, 4}
    assert {p["meta"]["n_moves"] for p in ood} == {4, 5}
    assert all(any(name in p["question"] for name in OOD_NAMES) for p in ood)
    assert not any(name in p["question"] for p in train for name in OOD_NAMES)


def test_about_a_fifth_of_the_problems_has_a_large_amount():
    """Large amounts are rare but not absent, in every split."""
    for split in SPLITS:
        share = sum(p["meta"]["has_large"] for p in draw_problems(split, 500, 0)) / 500
        assert 0.14 < share < 0.27


def test_contrast_problems_change_one_thing_and_the_answer():
    """An edit of a test problem differs from it in one word and has another, right, answer."""
    parents = draw_problems("test", 60, 5)
    edits = draw_contrast(60, 5)
    assert len(edits) > 110
    for edit in edits:
        parent = parents[edit["parent_index"]]
        before, after = parent["question"].split(), edit["question"].split()
        assert edit["parent_question"] == parent["question"]
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert edit["answer"] != parent["answer"]
        assert edit["answer"] == walked(edit["question"])
    assert {edit["meta"]["edit"] for edit in edits} == {"amount", "direction", "start"}


def test_an_unknown_split_is_refused_with_the_known_ones():
    """A misspelt split names the allowed ones."""
    with pytest.raises(ValueError, match=r"split: got 'tset'; expected one of train, dev, test, ood"):
        draw_problems("tset", 1, 0)
