"""Train a small GPT-NeoX model, step by step, and save it like a hub snapshot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt16
from numpy import ndarray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from circuitlapse.errors import ModelError
from circuitlapse.models.snapshot import no_progress_bars
from circuitlapse.pocket.corpus import END_OF_TEXT, as_transformers


def cut_batches(
    tokens: UInt16[ndarray, " token"],
    *,
    line_end: int,
    batch_size: int,
    sequence_length: int,
    seed: int | None = None,
) -> Iterator[Int[Tensor, "sequence pos"]]:
    """Cut the corpus, over and over, into sequences that each start where a line starts.

    Each has one token more than `sequence_length`: the last one is only predicted. They come as
    they stand in the corpus, or in an order drawn with `seed`.

    Raises:
        ModelError: if the corpus is shorter than one sequence.
    """
    length = sequence_length + 1
    starts = line_starts(tokens, line_end=line_end, length=length)
    if not len(starts):
        raise ModelError(
            f"the corpus has {len(tokens)} tokens, but a sequence of {sequence_length} "
            f"needs at least {length}; raise training.corpus_sentences"
        )
    if seed is not None:
        starts = np.random.default_rng(seed).permutation(starts)
    position = 0
    while True:
        index = np.arange(position, position + batch_size) % len(starts)
        rows = starts[index][:, None] + np.arange(length)
        yield torch.from_numpy(tokens[rows].astype(np.int64))
        position += batch_size


def line_starts(
    tokens: UInt16[ndarray, " token"], *, line_end: int, length: int
) -> Int[ndarray, " sequence"]:
    """Return where sequences of `length` tokens start.

    Each starts with the first line that begins at the last token of the one before, or later.
    """
    lines = np.flatnonzero(np.concatenate([[line_end], tokens[:-1]]) == line_end)
    following = np.searchsorted(lines, lines + length - 1)
    chosen = []
    line = 0
    while line < len(lines) and lines[line] + length <= len(tokens):
        chosen.append(lines[line])
        line = following[line]
    return np.array(chosen, dtype=np.int64)


CONTEXT = 256
"""Longest text that a model of the suite accepts, in tokens."""

ROTARY_BASE = 100.0
"""The slowest pair of dimensions turns once in less than 2 pi times this number of tokens."""

FINAL_LEARNING_RATE = 0.1
"""Share of the peak learning rate that is left at the last step, as in Pythia."""

REFERENCE_WIDTH = 128
"""Width to which the learning rate of a recipe belongs."""


@dataclass(frozen=True)
class Shape:
    """The shape of a model; `d_model / heads` is even."""

    layers: int
    heads: int
    d_model: int


@dataclass(frozen=True)
class Recipe:
    """How every model of a suite is trained.

    Attributes:
        save_steps: steps worth saving, ascending; training ends at the last one.
        batch_size: sequences per step.
        sequence_length: tokens per sequence.
        learning_rate: at its peak, after `warmup_steps` steps, for a model 128 wide; that of
            others is in inverse proportion to their width (Yang et al. 2021).
        warmup_steps: steps over which the learning rate rises.
        weight_decay: of AdamW, on all weights.
        threads: CPU threads; the weights depend on it in their last digits.
    """

    save_steps: Sequence[int]
    batch_size: int
    sequence_length: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    threads: int

    @property
    def n_steps(self) -> int:
        """Number of training steps."""
        return self.save_steps[-1]

    def rate(self, step: int, *, width: int) -> float:
        """Learning rate that leads to `step`: a linear rise, then half a cosine."""
        peak = self.learning_rate * REFERENCE_WIDTH / width
        if step <= self.warmup_steps:
            return peak * step / self.warmup_steps
        done = (step - self.warmup_steps) / (self.n_steps - self.warmup_steps)
        cosine = (1 + math.cos(math.pi * done)) / 2
        return peak * (FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * cosine)


def make_model(shape: Shape, tokenizer: Tokenizer, *, seed: int) -> GPTNeoXForCausalLM:
    """Return an untrained model with the architecture of Pythia, made to learn in few steps.

    As in Pythia, attention and MLP read the same residual stream. Other than there, rotary
    positions turn heads wholly and fast, which tells places in a short text apart, and one
    matrix embeds and unembeds, so that to copy a token is to pass it on.
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
            "partial_rotary_factor": 1.0,
        },
        initializer_range=1 / math.sqrt(shape.d_model),
        tie_word_embeddings=True,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPTNeoXForCausalLM(config)


def train(
    model: GPTNeoXForCausalLM,
    tokens: UInt16[ndarray, " token"],
    *,
    line_end: int,
    recipe: Recipe,
    data_seed: int | None = None,
) -> Iterator[tuple[int, float]]:
    """Train `model` in place; yield (step, loss) for every step, the untrained step 0 included.

    Every model sees the same sequences in the same order, unless `data_seed` differs. Retraining
    on the same machine gives the same weights, bit by bit. Momenta of AdamW and the limit on the
    gradient are those of Pythia (Biderman et al. 2023).

    Args:
        model: untrained; between two steps it can be used, saved or copied.
        tokens: the corpus.
        line_end: id of the token between its lines.
        recipe: how to train.
        data_seed: draws the order of the sequences; None takes that of the corpus.

    Yields:
        The step, and the loss that led to it in nats per token (NaN for step 0).

    Raises:
        ModelError: if the corpus is shorter than one sequence, or training diverges.
    """
    size, length = recipe.batch_size, recipe.sequence_length
    batches = cut_batches(
        tokens, line_end=line_end, batch_size=size, sequence_length=length, seed=data_seed
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), weight_decay=recipe.weight_decay, betas=(0.9, 0.95), fused=True
    )
    yield 0, math.nan
    for step in range(1, recipe.n_steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, width=model.config.hidden_size)
        with _reproducible(recipe.threads):
            loss, gradient = _set_gradients(model, next(batches))
            if not math.isfinite(loss) or not math.isfinite(gradient):
                raise ModelError(
                    f"training diverged at step {step}: the loss is {loss:.3g} and its gradient "
                    f"{gradient:.3g}; lower training.learning_rate, now {recipe.learning_rate:g}"
                )
            optimizer.step()
        yield step, loss


def _set_gradients(
    model: GPTNeoXForCausalLM, batch: Int[Tensor, "sequence pos"]
) -> tuple[float, float]:
    """Return the loss in nats per token, and the norm of its gradient before it was limited."""
    model.train()
    model.zero_grad()
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    return loss.item(), norm.item()


@contextmanager
def _reproducible(threads: int) -> Iterator[None]:
    """Make torch give the same bits every time, and leave it as it was."""
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
