from itertools import islice

import numpy as np

from circuitlapse.pocket.training import cut_batches, line_starts


def test_every_sequence_starts_where_a_line_starts_and_none_overlap():
    tokens = np.array([5, 6, 2, 7, 2, 8, 9, 5, 2, 6, 7, 2, 5, 6], dtype=np.uint16)
    # lines start at 0, 3, 5, 9 and 12; the last token of a sequence is only predicted, so it
    # may be the first of the next
    assert line_starts(tokens, line_end=2, length=4).tolist() == [0, 3, 9]
    assert line_starts(tokens, line_end=2, length=5).tolist() == [0, 5, 9]
    assert line_starts(tokens, line_end=2, length=6).tolist() == [0, 5]


def test_batches_take_one_sequence_after_the_other_and_begin_again_at_the_end():
    tokens = np.array([5, 6, 2, 7, 8, 2, 9, 4, 2], dtype=np.uint16)
    batches = cut_batches(tokens, line_end=2, batch_size=2, sequence_length=2)
    assert [batch.tolist() for batch in islice(batches, 2)] == [
        [[5, 6, 2], [7, 8, 2]],
        [[9, 4, 2], [5, 6, 2]],
    ]


def test_a_seed_changes_the_order_of_the_sequences_and_nothing_else():
    tokens = np.array([0, 2, 1, 2, 3, 2, 4, 2, 5, 2, 6, 2, 7, 2], dtype=np.uint16)

    def first(seed):
        how = {"line_end": 2, "batch_size": 6, "sequence_length": 1, "seed": seed}
        return next(cut_batches(tokens, **how)).tolist()

    plain = [[0, 2], [1, 2], [3, 2], [4, 2], [5, 2], [6, 2]]
    assert first(None) == plain
    assert first(1) == first(1) != first(2)
    assert first(1) != plain
