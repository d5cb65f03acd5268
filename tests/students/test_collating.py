"""Micro-batches: which rows are read together, what they are padded to, and what an encoder-decoder reads of them."""

import numpy as np

from potstill.students.batching import Row
from potstill.students.collating import collate, cut_by_length, padded, token_counts
from potstill.students.encoding import Encoded, as_ids

STOP = 2


def rows_of(*targets, prompt=(5, 6, 7)):
    ids = as_ids(prompt)
    return [
        Row(Encoded(str(k), "p", "cot", 1.0, ids, as_ids([*target, STOP])), 1.0) for k, target in enumerate(targets)
    ]


def test_rows_are_cut_into_parts_only_where_that_saves_a_pass():
    """One long rationale among short ones is worth it, even lengths are not; every row occurs once."""
    parts = cut_by_length(np.array([50, 400, 52, 48, 51]))
    assert [part.tolist() for part in parts] == [[1], [0, 2, 3, 4]]
    assert [part.tolist() for part in cut_by_length(np.array([50, 51, 52]))] == [[0, 1, 2]]
    lengths = np.random.default_rng(0).integers(20, 90, 48)
    parts = cut_by_length(lengths)
    assert sorted(np.concatenate(parts).tolist()) == list(range(48))
    assert sum(lengths[part].max() * len(part) for part in parts) < 0.8 * lengths.max() * 48


def test_rows_are_padded_on_one_side():
    """With a mask of what is not padding."""
    assert [part.tolist() for part in padded([[5, 6], [7]])] == [[[5, 6], [7, 0]], [[1, 1], [1, 0]]]
    assert [part.tolist() for part in padded([[5, 6], [7]], left=True)] == [[[5, 6], [0, 7]], [[1, 1], [0, 1]]]


def test_a_decoder_reads_its_start_and_the_target_without_its_stop():
    """Every token of the target is predicted, from the start on; the encoder reads a shared prompt once."""
    rows = rows_of((8, 9), (8,))
    by_row = collate(rows, shared=False, starts=(0, 1))
    assert by_row["encoder_ids"].tolist() == [[5, 6, 7], [5, 6, 7]]
    assert by_row["row_ids"].tolist() == [[0, 1, 8, 9], [0, 1, 8, 0]]
    assert by_row["select"].tolist() == [1, 2, 3, 5, 6]
    shared = collate(rows, shared=True, starts=(0, 1))
    assert (shared["encoder_ids"].tolist(), shared["start_ids"].tolist()) == ([[5, 6, 7]], [0, 1])
    [(ids, owner)] = shared["branches"]
    assert (ids.tolist(), owner.tolist(), shared["select"].tolist()) == ([[8, 9], [8, 0]], [0, 0], [0, 1, 2, 0, 3])
    assert by_row["targets"].tolist() == shared["targets"].tolist() == [8, 9, STOP, 8, STOP]


def test_a_batch_without_padding_has_no_mask():
    """The model's own defaults are right then, and faster."""
    rows = rows_of((8, 9), (8,))
    assert "encoder_mask" not in collate(rows, shared=True, starts=(0,))
    longer = rows_of((8,), prompt=(5,) * 4)
    assert collate([*rows, *longer], shared=True, starts=(0,))["encoder_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_padding_is_counted_in_every_layout():
    """Two prompts of 3 and 4 tokens; targets of 3, 2 and 2 tokens, whose last tokens are not read."""
    rows = [*rows_of((8, 9), (8,)), *rows_of((8,), prompt=(5,) * 4)]
    assert token_counts(collate(rows, shared=True, tree=True)) == (3 + 4 + 2 + 1 + 1, 0)
    assert token_counts(collate(rows, shared=True)) == (2 * 4 + 3 * 2, 1 + 2)
    assert token_counts(collate(rows, shared=False)) == (3 * 5, 1)
    assert token_counts(collate(rows, shared=True, starts=(0, 1))) == (2 * 4 + 3 * 2, 1 + 2)
    assert token_counts(collate(rows, shared=False, starts=(0, 1))) == (3 * 4 + 3 * 4, 2 + 2)
