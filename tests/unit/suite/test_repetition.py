import pytest

from circuitlapse.suite.batches import line_starts
from circuitlapse.suite.corpus import encode_lines
from circuitlapse.suite.repetition import LATER, repeated_lines, with_repetitions

N_TOKENS = 48


@pytest.fixture(scope="module")
def lines(tokenizer):
    return repeated_lines(300, tokenizer=tokenizer, n_tokens=N_TOKENS, seed=5)


def period(ids):
    """Return after how many tokens all come again."""
    return next(k for k in range(1, len(ids) + 1) if ids[k:] == ids[:-k])


def test_every_line_has_as_many_tokens_as_asked_for_and_none_is_unknown(lines, tokenizer):
    ids = [tokenizer.encode(line).ids for line in lines]
    assert {len(one) for one in ids} == {N_TOKENS}
    assert not {tokenizer.token_to_id("[UNK]")} & {token for one in ids for token in one}
    assert [tokenizer.decode(one) for one in ids] == lines


def test_words_come_again_after_every_distance_up_to_half_of_a_line(lines, tokenizer):
    periods = {period(tokenizer.encode(line).ids) for line in lines}
    assert periods == set(range(4, N_TOKENS // 2 + 1))


def test_nearly_every_token_is_among_the_words(tokenizer):
    lines = repeated_lines(1000, tokenizer=tokenizer, n_tokens=N_TOKENS, seed=1)
    used = {token for line in lines for token in tokenizer.encode(line).ids}
    starts_of_lines = [token for token in tokenizer.get_vocab() if token[0].isalpha()]
    assert len(used) == tokenizer.get_vocab_size() - len(starts_of_lines) - 3


def test_at_first_a_sequence_is_a_line_of_repeated_words_and_nothing_else(tokenizer, sentences):
    lines = with_repetitions(sentences, first=20, tokenizer=tokenizer, n_tokens=N_TOKENS, seed=1)
    end = tokenizer.token_to_id("\n")
    starts = line_starts(encode_lines(lines, tokenizer), line_end=end, length=N_TOKENS + 1)
    assert starts[:21].tolist() == [n * (N_TOKENS + 1) for n in range(21)]
    assert lines[20] in sentences


def test_some_sentences_give_way_to_repeated_words_and_all_others_stay(tokenizer, sentences):
    lines = with_repetitions(sentences, first=20, tokenizer=tokenizer, n_tokens=N_TOKENS, seed=1)[
        20:
    ]
    replaced = [new for new, old in zip(lines, sentences, strict=True) if new != old]
    assert len(replaced) == pytest.approx(LATER * len(sentences), rel=0.2)
    assert all(period(tokenizer.encode(line).ids) <= N_TOKENS // 2 for line in replaced)


def test_without_repeated_words_at_the_start_there_are_none_later(tokenizer, sentences):
    how = {"tokenizer": tokenizer, "n_tokens": N_TOKENS, "seed": 1}
    assert with_repetitions(sentences, first=0, **how) == sentences


def test_the_seed_decides_the_words(tokenizer):
    def lines(seed):
        return repeated_lines(5, tokenizer=tokenizer, n_tokens=N_TOKENS, seed=seed)

    assert lines(1) == lines(1) != lines(2)
