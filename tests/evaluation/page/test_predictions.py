"""What students wrote: which files are theirs, and which of two texts is right where."""

from potstill.evaluation.page.predictions import before_and_after, jobs_of, predictions_of, two_ways


def test_before_and_after_count_every_problem_scored_in_both(made_run):
    """Gained, lost, still right and still wrong add up to the test split."""
    folder = made_run(test=60)
    counts, cases = before_and_after(folder, "untrained", "scotd", 4)
    assert counts.total() == 60
    assert counts["gained"] > 20
    assert {case.heading for case in cases} <= {"gained", "lost", "still wrong"}
    assert [text.author for text in cases[0].texts] == ["untrained", "scotd"]


def test_before_and_after_needs_both_systems(made_run):
    """Without one there is nothing to compare."""
    assert before_and_after(made_run(), "untrained", "nobody", 4) == ({}, [])


def test_jobs_of_a_system_are_its_seeds_in_order(made_run):
    """`scotd` and `scotd.seed1` are jobs of scotd; `scotd_matched` is another system."""
    folder = made_run(seeds=2)
    (folder / "predictions/scotd_matched.jsonl").write_text("")
    assert jobs_of(folder, "scotd") == ["scotd.seed0", "scotd.seed1"]
    assert jobs_of(folder, "untrained") == ["untrained"]


def test_predictions_are_apart_by_kind_with_what_became_of_them(mixed_run):
    """The greedy text of each kind, chains of thought first; a failed program with its reason."""
    texts = predictions_of(mixed_run(test=40), "mixed")
    assert list(texts) == ["cot", "pot"]
    assert len(texts["cot"]) == len(texts["pot"]) == 40
    failed = [text for text in texts["pot"].values() if text.status == "PROGRAM_FAILED"]
    assert failed
    assert {text.reason for text in failed} <= {"timeout", "error", "no_answer"}


def test_two_ways_say_which_kind_is_right(mixed_run):
    """Every problem once; the cases hold a chain of thought and a program for the same problem."""
    counts, cases = two_ways(mixed_run(test=60), "mixed", 4)
    assert counts.total() == 60
    for case in cases:
        assert [text.kind for text in case.texts] == ["cot", "pot"]
        right = [text.status == "CORRECT" for text in case.texts]
        assert right == {"program": [False, True], "chain": [True, False], "neither": [False, False],
                         "both": [True, True]}[case.heading]  # fmt: skip


def test_a_student_of_one_skill_has_no_two_ways(mixed_run):
    """There is nothing to show side by side."""
    assert two_ways(mixed_run(), "pot", 4) == ({}, [])
