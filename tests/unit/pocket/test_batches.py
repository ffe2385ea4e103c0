from itertools import islice

import numpy as np
import pytest
import torch

from circuitlapse.errors import ModelError
from circuitlapse.pocket.batches import draw_batches, line_starts
from circuitlapse.settings.suite import Phase, TextShares

END = 2
CORPUS = {  # no two kinds share a token other than the line end
    "sentences": np.array([*[5, 6, END] * 50, *[7, 8, 9, END] * 50], dtype=np.uint16),
    "repeats": np.array([*[10, 11, 10, 11, 10, 11, 10, 11, END] * 20], dtype=np.uint16),
}


def phase(**keys) -> Phase:
    return Phase(**{"steps": 30, "batch_size": 20, "sequence_length": 8, "warmup_steps": 0} | keys)


def drawn(*phases: Phase, seed: int = 1) -> list:
    return [batch.tolist() for batch in draw_batches(CORPUS, phases, line_end=END, seed=seed)]


def test_there_is_a_batch_per_step_of_the_size_of_its_phase():
    phases = [phase(steps=2), phase(steps=3, batch_size=4, sequence_length=10)]
    batches = list(draw_batches(CORPUS, phases, line_end=END, seed=1))
    assert [batch.shape for batch in batches] == [(20, 9)] * 2 + [(4, 11)] * 3
    assert {batch.dtype for batch in batches} == {torch.int64}


def test_a_sequence_starts_with_a_line_and_goes_on_as_the_corpus_does():
    text = ",".join(map(str, CORPUS["sentences"]))
    for batch in drawn(phase()):
        assert {row[0] for row in batch} <= {5, 7}
        assert all(",".join(map(str, row)) in text for row in batch)


def test_kinds_of_text_come_with_the_shares_of_the_phase():
    shares = TextShares(sentences=0.7, repeats=0.3)
    rows = [row for batch in drawn(phase(steps=100, text=shares)) for row in batch]
    assert np.mean([row[0] == 10 for row in rows]) == pytest.approx(0.3, abs=0.03)


def test_the_seed_decides_what_is_drawn():
    assert drawn(phase()) == drawn(phase()) != drawn(phase(), seed=2)


def test_a_phase_draws_the_same_whatever_comes_before_it():
    other = phase(text=TextShares(repeats=1.0), steps=7)
    assert drawn(phase(), phase())[30:] == drawn(other, phase())[7:]
    assert drawn(phase(), phase())[30:] != drawn(phase())


def test_batches_are_drawn_one_at_a_time():
    batches = draw_batches(CORPUS, [phase(steps=1_000_000)], line_end=END, seed=1)
    assert len(list(islice(batches, 3))) == 3


def test_a_text_shorter_than_a_sequence_is_refused():
    message = r"has 180 tokens of repeats, but a sequence of 200 .* training.corpus_tokens"
    with pytest.raises(ModelError, match=message):
        drawn(phase(text=TextShares(sentences=0.5, repeats=0.5), sequence_length=200))


def test_lines_start_after_line_ends_and_leave_room_for_a_sequence():
    tokens = np.array([5, 6, 2, 7, 2, 8, 9, 2, 5, 2], dtype=np.uint16)
    assert line_starts(tokens, line_end=END, length=2).tolist() == [0, 3, 5, 8]
    assert line_starts(tokens, line_end=END, length=3).tolist() == [0, 3, 5]
    assert line_starts(tokens, line_end=END, length=11).tolist() == []
