"""Train a small GPT-NeoX model, and save it at any step like a hub snapshot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from circuitlapse.errors import ModelError
from circuitlapse.models.snapshot import no_progress_bars
from circuitlapse.pocket.batches import draw_batches
from circuitlapse.pocket.corpus import END_OF_TEXT, Corpus, as_transformers
from circuitlapse.settings.suite import Phase, Train, Training

CONTEXT = 256
"""Longest text that a model of the suite accepts, in tokens."""

ROTARY_SHARE = 0.25
"""Share of a head's dimensions that rotary embeddings rotate; the rest match words anywhere."""

ROTARY_BASE = 10.0
"""The slowest pair of dimensions rotates once in less than 2 pi times this number of tokens."""

BIAS_STD = 1.0
"""Standard deviation of the first biases of queries and keys. With biases of 0, as in Pythia, a
head has no preference for any distance at first, and previous-token heads form hundreds of steps
later, if at all."""

REFERENCE_WIDTH = 128
"""Width of the model to which the learning rate of a phase applies."""


def learning_rate(phase: Phase, step: int, *, width: int) -> float:
    """Return the learning rate of a step of a phase: a linear rise, then half a cosine.

    It is in inverse proportion to the width of the model (Yang et al. 2021).

    Args:
        phase: gives the peak, the final rate and the warm-up.
        step: of the phase, from 1.
        width: of the residual stream.
    """
    peak = phase.learning_rate * REFERENCE_WIDTH / width
    if step <= phase.warmup_steps:
        return peak * step / phase.warmup_steps
    done = (step - phase.warmup_steps) / (phase.steps - phase.warmup_steps)
    cosine = (1 + math.cos(math.pi * done)) / 2
    return peak * (phase.final_rate + (1 - phase.final_rate) * cosine)


def make_model(shape: Train, tokenizer: Tokenizer) -> GPTNeoXForCausalLM:
    """Return an untrained model with the architecture of Pythia, adapted to learn in few steps.

    - As in Pythia, attention and MLP read the same residual stream.
    - Rotary embeddings rotate a quarter of a head, as in Pythia, but faster, which distinguishes
      positions in a short text.
    - The embedding and the unembedding are tied, so copying a token means passing it on.
    - Biases of queries and keys are random, so heads start with preferences for some distances.
    """
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    config = GPTNeoXConfig(
        vocab_size=tokenizer.get_vocab_size(),
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        hidden_size=shape.d_model,
        intermediate_size=4 * shape.d_model,
        max_position_embeddings=CONTEXT,
        use_parallel_residual=True,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": ROTARY_BASE,
            "partial_rotary_factor": ROTARY_SHARE,
        },
        initializer_range=1 / math.sqrt(shape.d_model),
        tie_word_embeddings=True,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(shape.seed)
        model = GPTNeoXForCausalLM(config)
        for layer in model.gpt_neox.layers:
            bias = layer.attention.query_key_value.bias.data.view(shape.heads, 3, -1)
            bias[:, :2].normal_(std=BIAS_STD)  # [head, query or key, d_head]
    return model


def make_optimizer(model: GPTNeoXForCausalLM) -> torch.optim.AdamW:
    """Return the optimizer that `train` uses; `train` sets the rates of every step."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]  # biases and LayerNorms
    optimizer = torch.optim.AdamW(matrices, betas=(0.9, 0.95), fused=True)
    optimizer.add_param_group({"params": vectors, "weight_decay": 0.0})
    return optimizer


def train(
    model: GPTNeoXForCausalLM,
    optimizer: torch.optim.AdamW,
    corpus: Corpus,
    *,
    line_end: int,
    training: Training,
    data_seed: int,
    done: int | None = None,
) -> Iterator[tuple[int, float]]:
    """Train `model` in place; yield (step, loss) after every step, and for the untrained step 0.

    - Every model with the same `data_seed` sees the same sequences in the same order.
    - Training again on the same machine with as many threads gives the same bits. So does training
      that goes on, if model and optimizer are as they were after step `done`.
    - The betas of AdamW and the clipping of gradients are those of Pythia (Biderman et al. 2023).

    Args:
        model: untrained, or after step `done`. It may be used, saved or copied between two steps.
        optimizer: of the model, from `make_optimizer`. Every phase starts without its state.
        corpus: with every kind of text that a phase asks for.
        line_end: id of the token between lines.
        training: the section of the configuration.
        data_seed: decides which sequences are drawn from the corpus.
        done: steps that the model has had, if training goes on; they are not yielded again.

    Yields:
        The step, counted over all phases, and the loss in nats per token of the batch that led to
        it (NaN for step 0).

    Raises:
        ModelError: if a kind of text is shorter than one sequence, or training diverges.
    """
    if done is None:
        yield 0, math.nan
    batches = draw_batches(corpus, training.phases, line_end=line_end, seed=data_seed)
    every = ((phase, step) for phase in training.phases for step in range(1, phase.steps + 1))
    todo = islice(zip(every, batches, strict=False), done or 0, training.save_steps[-1])
    for total, ((phase, step), batch) in enumerate(todo, start=(done or 0) + 1):
        _set_rates(optimizer, phase, step, width=model.config.hidden_size)
        with _reproducible(training.threads):
            loss, gradient = _set_gradients(model, batch)
            if not math.isfinite(loss) or not math.isfinite(gradient):
                raise ModelError(
                    f"training diverged at step {total}: the loss is {loss:.3g} and its gradient "
                    f"{gradient:.3g}; lower the learning_rate of its phase, now "
                    f"{phase.learning_rate:g}"
                )
            optimizer.step()
        yield total, loss


def _set_rates(optimizer: torch.optim.AdamW, phase: Phase, step: int, *, width: int) -> None:
    """Give the optimizer the rates of a step of a phase, from 1; the first one has no past."""
    if step == 1:
        optimizer.state.clear()
    rate = learning_rate(phase, step, width=width)
    matrices, vectors = optimizer.param_groups
    matrices |= {"lr": rate, "weight_decay": phase.weight_decay}
    vectors["lr"] = rate * phase.bias_rate


def _set_gradients(
    model: GPTNeoXForCausalLM, batch: Int[Tensor, "sequence pos"]
) -> tuple[float, float]:
    """Set clipped gradients; return the loss in nats per token, and the norm before clipping."""
    model.train()
    model.zero_grad()
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits  # [sequence, pos, vocab]
    loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    return loss.item(), norm.item()


@contextmanager
def _reproducible(threads: int) -> Iterator[None]:
    """Make torch deterministic inside the block, with this number of threads."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def save_snapshot(model: GPTNeoXForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights, configuration and tokenizer in the layout of a hub snapshot."""
    with no_progress_bars():
        model.save_pretrained(folder)
    as_transformers(tokenizer, context=CONTEXT).save_pretrained(folder)
