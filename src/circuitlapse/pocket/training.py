"""Train a small GPT-NeoX model, and save it at any step like a hub snapshot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
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
from circuitlapse.settings.suite import Train, Training

CONTEXT = 256
"""Longest text that a model of the suite accepts, in tokens."""

ROTARY_BASE = 100.0
"""The slowest pair of dimensions rotates once in less than 2 pi times this number of tokens."""

FINAL_LEARNING_RATE = 0.1
"""Learning rate at the last step, as a share of the peak; as in Pythia."""

REFERENCE_WIDTH = 128
"""Width of the model to which `training.learning_rate` applies."""


def cut_batches(
    tokens: UInt16[ndarray, " token"],
    *,
    line_end: int,
    batch_size: int,
    sequence_length: int,
    seed: int | None = None,
) -> Iterator[Int[Tensor, "sequence pos"]]:
    """Cut the corpus into batches of sequences that start where a line starts, without end.

    A sequence has one token more than `sequence_length`: the last one is only predicted. The
    order is that of the corpus, or random with `seed`; it repeats when the corpus is used up.

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
        # modulo: the last batch of an epoch continues with the first sequences of the next one
        index = np.arange(position, position + batch_size) % len(starts)
        rows = starts[index][:, None] + np.arange(length)  # [sequence, length]
        yield torch.from_numpy(tokens[rows].astype(np.int64))
        position += batch_size


def line_starts(
    tokens: UInt16[ndarray, " token"], *, line_end: int, length: int
) -> Int[ndarray, " sequence"]:
    """Return where sequences of `length` tokens start.

    A sequence starts with the first line that begins at the last token of the sequence before it,
    or later.
    """
    # a line starts where the token before is a line end; the corpus starts with a line
    lines = np.flatnonzero(np.concatenate([[line_end], tokens[:-1]]) == line_end)
    following = np.searchsorted(lines, lines + length - 1)
    chosen = []
    line = 0
    while line < len(lines) and lines[line] + length <= len(tokens):
        chosen.append(lines[line])
        line = following[line]
    return np.array(chosen, dtype=np.int64)


def learning_rate(training: Training, step: int, *, width: int) -> float:
    """Return the learning rate of the update to `step`: a linear rise, then half a cosine.

    It is in inverse proportion to the width of the model (Yang et al. 2021).
    """
    peak = training.learning_rate * REFERENCE_WIDTH / width
    if step <= training.warmup_steps:
        return peak * step / training.warmup_steps
    done = (step - training.warmup_steps) / (training.save_steps[-1] - training.warmup_steps)
    cosine = (1 + math.cos(math.pi * done)) / 2
    return peak * (FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * cosine)


def make_model(shape: Train, tokenizer: Tokenizer) -> GPTNeoXForCausalLM:
    """Return an untrained model with the architecture of Pythia, adapted to learn in few steps.

    - As in Pythia, attention and MLP read the same residual stream.
    - Rotary embeddings rotate all dimensions of a head, and faster than in Pythia, which
      distinguishes positions in a short text.
    - The embedding and the unembedding are tied, so copying a token means passing it on.
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
        torch.manual_seed(shape.seed)
        return GPTNeoXForCausalLM(config)


def train(
    model: GPTNeoXForCausalLM,
    tokens: UInt16[ndarray, " token"],
    *,
    line_end: int,
    training: Training,
    data_seed: int | None = None,
) -> Iterator[tuple[int, float]]:
    """Train `model` in place; yield (step, loss) after every step, and for the untrained step 0.

    - Every model with the same `data_seed` sees the same sequences in the same order.
    - Training again on the same machine with as many threads gives the same bits.
    - The betas of AdamW and the clipping of gradients are those of Pythia (Biderman et al. 2023).

    Args:
        model: untrained. It may be used, saved or copied between two steps.
        tokens: the corpus.
        line_end: id of the token between its lines.
        training: the section of the configuration.
        data_seed: seed of the order of the sequences; None keeps the order of the corpus.

    Yields:
        The step, and the loss in nats per token of the batch that led to it (NaN for step 0).

    Raises:
        ModelError: if the corpus is shorter than one sequence, or training diverges.
    """
    size, length = training.batch_size, training.sequence_length
    batches = cut_batches(
        tokens, line_end=line_end, batch_size=size, sequence_length=length, seed=data_seed
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), weight_decay=training.weight_decay, betas=(0.9, 0.95), fused=True
    )
    yield 0, math.nan
    for step in range(1, training.save_steps[-1] + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(training, step, width=model.config.hidden_size)
        with _reproducible(training.threads):
            loss, gradient = _set_gradients(model, next(batches))
            if not math.isfinite(loss) or not math.isfinite(gradient):
                raise ModelError(
                    f"training diverged at step {step}: the loss is {loss:.3g} and its gradient "
                    f"{gradient:.3g}; lower training.learning_rate, now {training.learning_rate:g}"
                )
            optimizer.step()
        yield step, loss


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
