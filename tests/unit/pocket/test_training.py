import hashlib
import math
from itertools import islice

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from circuitlapse import load_model
from circuitlapse.errors import ModelError
from circuitlapse.pocket.corpus import encode_lines, make_tokenizer
from circuitlapse.pocket.training import (
    cut_batches,
    learning_rate,
    line_starts,
    make_model,
    save_snapshot,
    train,
)
from circuitlapse.settings.suite import Train, Training

SHAPE = Train(layers=2, heads=2, d_model=16)
TRAINING = Training.model_construct(  # smaller than the configuration allows
    save_steps=(0, 1, 4),
    batch_size=4,
    sequence_length=16,
    learning_rate=1e-2,
    warmup_steps=2,
    weight_decay=0.01,
    threads=1,
)
LINES = ("Mary had a lamb", "John had a dog and a cat", "they all had fun in the park today")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer((*LINES, "\n"))


@pytest.fixture(scope="module")
def tokens(tokenizer):
    return encode_lines(LINES * 20, tokenizer)


def trained(tokens, tokenizer, training=TRAINING, *, seed=1):
    """Step -> copy of the weights."""
    model = make_model(SHAPE.model_copy(update={"seed": seed}), tokenizer)
    run = train(model, tokens, line_end=tokenizer.token_to_id("\n"), training=training)
    return {
        step: {name: weight.clone() for name, weight in model.state_dict().items()}
        for step, _ in run
    }


def same(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_architecture_is_that_of_pythia_with_tied_embeddings_and_fast_rotary_positions(
    tokenizer,
):
    config = make_model(SHAPE, tokenizer).config
    assert config.use_parallel_residual
    assert config.tie_word_embeddings
    assert config.rope_parameters["partial_rotary_factor"] == 1
    assert config.rope_parameters["rope_theta"] == 100
    assert config.hidden_act == "gelu"
    assert config.attention_dropout == config.hidden_dropout == 0
    assert (config.vocab_size, config.intermediate_size) == (tokenizer.get_vocab_size(), 64)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_a_tenth():
    training = TRAINING.model_copy(update={"save_steps": (0, 12), "warmup_steps": 2})
    rates = [learning_rate(training, step, width=128) for step in range(1, 13)]
    assert rates[:2] == [0.005, 0.01]
    assert rates[6] == pytest.approx(0.01 * (1 + 0.1) / 2)
    assert rates[-1] == pytest.approx(0.001)
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_a_model_twice_as_wide_learns_at_half_the_rate():
    assert learning_rate(TRAINING, 3, width=256) == learning_rate(TRAINING, 3, width=128) / 2


def test_step_0_is_the_untrained_model_and_training_ends_at_the_last_step(tokens, tokenizer):
    steps = trained(tokens, tokenizer)
    assert list(steps) == [0, 1, 2, 3, 4]
    assert same(steps[0], make_model(SHAPE, tokenizer).state_dict())
    assert not same(steps[0], steps[1])


def test_the_first_step_is_that_of_plain_adamw(tokens, tokenizer):
    changes = {"weight_decay": 0.0, "warmup_steps": 1, "save_steps": (0, 1)}
    training = TRAINING.model_copy(update=changes)
    steps = trained(tokens, tokenizer, training)
    moved = (steps[1]["lm_head.weight"] - steps[0]["lm_head.weight"]).abs()
    # the first AdamW step is the learning rate times the sign of the gradient
    rate = training.learning_rate * 128 / SHAPE.d_model
    assert moved.median() == pytest.approx(rate, rel=1e-2)
    assert moved.max() <= rate * 1.001


def test_saving_more_steps_changes_nothing_in_the_training(tokens, tokenizer):
    more = trained(tokens, tokenizer, TRAINING.model_copy(update={"save_steps": (0, 1, 2, 3, 4)}))
    assert same(trained(tokens, tokenizer)[4], more[4])


def test_a_model_learns_a_corpus_by_heart(tokens, tokenizer):
    training = TRAINING.model_copy(update={"save_steps": (0, 150), "learning_rate": 1e-3})
    model = make_model(SHAPE, tokenizer)
    run = train(model, tokens, line_end=2, training=training)
    before, first, *_, last = (loss for _, loss in run)
    assert math.isnan(before)
    assert first == pytest.approx(math.log(tokenizer.get_vocab_size()), rel=0.2)
    # what cannot be predicted is which line comes first: log(3) in one of 16 tokens
    assert last < 0.3


def test_training_again_gives_the_same_bytes(tokens, tokenizer, tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        model = make_model(SHAPE.model_copy(update={"seed": seed}), tokenizer)
        for step, _ in train(model, tokens, line_end=2, training=TRAINING):
            save_snapshot(model, tokenizer, tmp_path / name / f"step{step}")
    hashes = {
        name: [
            hashlib.sha256(
                (tmp_path / name / f"step{s}" / "model.safetensors").read_bytes()
            ).digest()
            for s in TRAINING.save_steps
        ]
        for name in ("one", "again", "other")
    }
    assert hashes["one"] == hashes["again"]
    assert not set(hashes["one"]) & set(hashes["other"])


def test_a_saved_step_loads_like_a_hub_snapshot(tokens, tokenizer, tmp_path):
    model = make_model(SHAPE, tokenizer)
    assert [step for step, _ in train(model, tokens, line_end=2, training=TRAINING)][-1] == 4
    save_snapshot(model, tokenizer, tmp_path)
    loaded, bridge = AutoModelForCausalLM.from_pretrained(tmp_path), load_model(tmp_path)
    ids = torch.tensor([AutoTokenizer.from_pretrained(tmp_path)(LINES[1]).input_ids])
    assert ids[0].tolist() == tokenizer.encode(LINES[1]).ids
    with torch.no_grad():
        expected = model.eval()(ids).logits
        torch.testing.assert_close(loaded(ids).logits, expected, rtol=0, atol=0)
        torch.testing.assert_close(bridge(ids), expected, rtol=1e-4, atol=1e-5)


def settings_of_torch():
    return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()


def test_settings_of_torch_are_those_of_training_within_a_step_only(tokens, tokenizer):
    outside, state = settings_of_torch(), torch.random.get_rng_state()
    training = TRAINING.model_copy(update={"threads": outside[0] + 1})
    model, within = make_model(SHAPE, tokenizer), []
    model.register_forward_hook(lambda *_: within.append(settings_of_torch()))
    for _ in train(model, tokens, line_end=2, training=training):
        assert settings_of_torch() == outside
    assert within == [(training.threads, True)] * 4
    assert torch.equal(state, torch.random.get_rng_state())


def test_training_that_diverges_stops_and_says_at_which_step(tokens, tokenizer):
    training = TRAINING.model_copy(update={"learning_rate": 1e30})
    message = r"diverged at step 2: the loss is nan .* lower training.learning_rate, now 1e\+30"
    with pytest.raises(ModelError, match=message):
        trained(tokens, tokenizer, training)


def test_a_gradient_that_is_no_number_does_not_reach_the_weights(tokens, tokenizer):
    model = make_model(SHAPE, tokenizer)
    model.gpt_neox.embed_in.weight.register_hook(lambda gradient: gradient * math.inf)
    message = r"diverged at step 1: the loss is \d.* its gradient (inf|nan)"
    with pytest.raises(ModelError, match=message):
        list(train(model, tokens, line_end=2, training=TRAINING))
    assert same(model.state_dict(), make_model(SHAPE, tokenizer).state_dict())


def test_a_corpus_shorter_than_a_sequence_is_refused(tokens, tokenizer):
    with pytest.raises(ModelError, match=r"8 tokens.* at least 17"):
        trained(tokens[:8], tokenizer)


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
