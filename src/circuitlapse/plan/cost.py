"""The work of every job, from the shape of the model and the number of prompts.

Work is counted in floating-point operations, two per multiplication and addition. docs/plan.md
states the model behind the estimate, and how it was checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.settings.analysis import Circuits, Heads
from circuitlapse.settings.base import PYTHIA_PREFIX
from circuitlapse.settings.suite import Model, Task
from circuitlapse.tasks.registry import BUILDERS
from circuitlapse.types import METHOD_FACTS, N_REFERENCES, N_SUBSETS

POCKET_VOCABULARY = 500
"""Approximate number of tokens of the pocket suite."""


@dataclass(frozen=True)
class Shape:
    """The shape of a model.

    Attributes:
        layers, heads, d_model: as in the configuration.
        vocabulary: rows of the embedding, padding included.
        stored_bytes: bytes per weight on disk.
        attention, mlp: weights of a layer, in multiples of d_model squared.
        tied: whether both embeddings are one.
    """

    layers: int
    heads: int
    d_model: int
    vocabulary: int
    stored_bytes: int
    attention: float = 4.0
    mlp: float = 8.0
    tied: bool = False

    @property
    def parameters(self) -> int:
        """Number of weights, embeddings included; biases and norms as in GPT-NeoX."""
        per_layer = round((self.attention + self.mlp) * self.d_model**2) + 13 * self.d_model
        embeddings = self.d_model * (self.vocabulary + 1) * (1 if self.tied else 2)
        return self.layers * per_layer + embeddings

    @property
    def stored_gb(self) -> float:
        """Size of a checkpoint on disk."""
        return self.parameters * self.stored_bytes / 1e9

    @property
    def forward_per_token(self) -> float:
        """Operations per token of a forward pass, without unembedding."""
        return 2.0 * (self.attention + self.mlp) * self.layers * self.d_model**2

    @property
    def unembedding(self) -> float:
        """Operations to unembed one position."""
        return 2.0 * self.d_model * self.vocabulary


PYTHIA_SHAPES: Mapping[str, Shape] = {
    "70m": Shape(6, 8, 512, 50304, 2),
    "160m": Shape(12, 12, 768, 50304, 2),
    "410m": Shape(24, 16, 1024, 50304, 2),
    "1b": Shape(16, 8, 2048, 50304, 2),
    "1.4b": Shape(24, 16, 2048, 50304, 2),
    "2.8b": Shape(32, 32, 2560, 50304, 2),
    "6.9b": Shape(32, 32, 4096, 50432, 2),
    "12b": Shape(36, 40, 5120, 50688, 2),
}
"""Shapes of the Pythia models (arXiv 2304.01373), whose weights on the hub have 16 bits."""


SHAPES: Mapping[str, Shape] = {
    **{f"{PYTHIA_PREFIX}{size}": shape for size, shape in PYTHIA_SHAPES.items()},
    "gpt2-small": Shape(12, 12, 768, 50257, 4, tied=True),
    "SmolLM2-135M": Shape(30, 9, 576, 49152, 2, attention=8 / 3, tied=True),
    "SmolLM2-360M": Shape(32, 15, 960, 49152, 2, attention=8 / 3, tied=True),
    "SmolLM2-1.7B": Shape(24, 32, 2048, 49152, 2, mlp=12.0, tied=True),
    "OLMo-2-0425-1B": Shape(16, 16, 2048, 100352, 4, mlp=12.0),
}
"""Shapes of published models, by a part of the name of their repository."""


def shape_of(model: Model) -> Shape:
    """Return the shape of a model.

    Raises:
        UnknownNameError: if it is a published model that is not in `SHAPES`.
    """
    if model.train is not None:
        train = model.train
        return Shape(train.layers, train.heads, train.d_model, POCKET_VOCABULARY, 4)
    repo = model.hub.repo if model.hub else ""
    for name, shape in SHAPES.items():
        if re.search(rf"{re.escape(name)}(?:-|$)", repo):
            return shape
    raise UnknownNameError(unknown_name("published model", repo, SHAPES))


def width_of(model: Model) -> int | None:
    """Return the width of a model's residual stream, or None if its shape is not known here."""
    try:
        return shape_of(model).d_model
    except UnknownNameError:
        return None


FILE_PROMPT_TOKENS = 16
"""Assumed tokens of a prompt with its padding, in a user's file."""
ALL_PROMPTS = 100
"""Assumed number of prompts of a task with `n_prompts: null`."""
SEARCH_SIZES = 25
"""Approximate number of circuit sizes that one search evaluates."""
FIXED_SIZES = 10
"""Number of circuit sizes at which every ranking of edges is evaluated."""
KNOCKOUT_PASSES = 0.4
"""Cost of a circuit that gained or lost an edge, in forward passes. The rest is shared: 0.02 was
measured with 26 edges, 0.1 with 130 and 0.4 with 966, on a CPU with 70 M parameters."""
CIRCUIT_PASSES = 1.2
"""Cost of evaluating a circuit, in forward passes: the mean over the sizes of a search, measured on
an H200 in float32 with 410 M parameters (0.8 with 160 M)."""
ROLE_EDGES, ROLES = 15, 4
"""Approximate numbers of edges of the role graph that are measured, and of roles with heads. In the
pocket suite both are smaller: 10 passes were measured there."""
ROLE_DRAWS = 5
"""Random sets of heads beside the heads of a role, if a layer has as many others."""
FLIPS = 5
"""Number of flips in the S-inhibition test."""
RECEIVERS = 3
"""Approximate number of name movers."""


@dataclass(frozen=True)
class Work:
    """The work of a job.

    Attributes:
        operations: floating-point operations.
        passes: passes through all layers; the kernels of a pass start one after the other.
        disk_gb: checkpoints and activations that are read or written.
    """

    operations: float = 0.0
    passes: float = 0.0
    disk_gb: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.operations + other.operations,
            self.passes + other.passes,
            self.disk_gb + other.disk_gb,
        )

    def __mul__(self, times: float) -> Work:
        return Work(self.operations * times, self.passes * times, self.disk_gb * times)


@dataclass(frozen=True)
class Prompts:
    """The number of prompts of a task, and of tokens per prompt."""

    count: int
    tokens: int


def prompts_of(task: Task) -> Prompts:
    """Return the prompts of a task."""
    tokens = BUILDERS[task.builder].prompt_tokens if task.builder else FILE_PROMPT_TOKENS
    return Prompts(task.n_prompts or ALL_PROMPTS, tokens)


def forward(shape: Shape, prompts: Prompts) -> Work:
    """Return the work of a forward pass that unembeds the end position of every prompt."""
    per_prompt = prompts.tokens * shape.forward_per_token + shape.unembedding
    return Work(prompts.count * per_prompt, 1.0)


def caching(shape: Shape, tasks: Sequence[Task]) -> Work:
    """Return the work of a forward pass on both prompts of every pair."""
    return _sum(forward(shape, prompts_of(task)) * 2.0 for task in tasks)


def discovery(shape: Shape, tasks: Sequence[Task], circuits: Circuits) -> Work:
    """Return the work of `discover_circuit`, if the model can do every task.

    It is the sum of

    - a forward and a backward pass per gradient that the method takes, and what it does with
      every source of the graph;
    - the circuits that the search evaluates, those of the split halves together, and circuits of
      these sizes on the other half;
    - circuits of fixed sizes, ranked by score, by |score| and at random;
    - the certificates of the circuits of both halves, each on half of the prompts: the complement,
      the model without some nodes, and circuits that gained or lost an edge.
    """
    facts = METHOD_FACTS[circuits.method]
    gradients = facts.n_gradients(
        ig_steps=circuits.ig_steps, ig_rule=circuits.ig_rule, n_layers=shape.layers
    )
    n_sources = 1 + shape.layers * (shape.heads + 1)
    searches = 3 if circuits.noise_floor else 1
    fixed = FIXED_SIZES * (2 + circuits.random_circuits)
    tested = circuits.certificates and circuits.noise_floor
    changed = 1 + circuits.knockouts + 2 * N_REFERENCES
    large = 1 + N_SUBSETS
    certificates = CIRCUIT_PASSES * large + KNOCKOUT_PASSES * changed if tested else 0.0
    runs = (
        2.0 * gradients
        + facts.per_source * n_sources
        + CIRCUIT_PASSES * (searches * SEARCH_SIZES + fixed)
        + certificates
    )
    return _sum(forward(shape, prompts_of(task)) * runs for task in tasks)


def scoring(shape: Shape, tasks: Sequence[Task], heads: Heads) -> Work:
    """Return the work of `score_heads`; most of it is copy suppression."""
    n_heads = shape.layers * shape.heads
    twice = (Prompts(heads.n_sequences, 2 * length) for length in heads.lengths)
    repeated = _sum(forward(shape, prompts) for prompts in twice) * 1.5
    text = forward(shape, Prompts(heads.n_mean + heads.n_documents, heads.n_positions))
    positions = heads.n_documents * heads.n_positions
    suppression = Work(0.25 * n_heads * positions * shape.unembedding, float(shape.layers))
    names = sum(3 * prompts_of(task).count for task in tasks if task.builder == "ioi")
    copying = Work(0.1 * n_heads * names * shape.unembedding, 1.0)
    return repeated + text + suppression + copying


def tracing(shape: Shape, tasks: Sequence[Task]) -> Work:
    """Return the work of `trace_algorithm`.

    It is the sum of the paths of every head, one head at a time; and of those of the heads of a
    role together, and of their ablation, which costs forward passes whatever the number of heads.
    """
    return _sum(
        _paths(shape, prompts_of(task)) + forward(shape, prompts_of(task)) * _role_passes(shape)
        for task in tasks
        if task.builder == "ioi"
    )


def _role_passes(shape: Shape) -> float:
    """Return the forward passes of the role graph, and of self-repair: part of one for each set."""
    n_sets = 1 + min(ROLE_DRAWS, shape.heads - 1)
    return 4.0 + n_sets * (0.6 * ROLE_EDGES + 0.5 * ROLES)


def _paths(shape: Shape, prompts: Prompts) -> Work:
    senders = shape.layers * shape.heads * prompts.count
    later_mlps = shape.layers / 2 * 2.0 * shape.mlp * shape.d_model**2
    to_logits = senders * (later_mlps + shape.unembedding)
    to_heads = senders * prompts.tokens * later_mlps / 2 + senders * shape.unembedding
    flips = FLIPS * senders * (later_mlps + shape.unembedding) / RECEIVERS
    return Work(to_logits + 2 * to_heads + flips, 3.0 * shape.layers)


def transfer(shape: Shape, tasks: Sequence[Task], n_steps: int, random_circuits: int) -> Work:
    """Return the work of evaluating circuits in the model at one step.

    These are the circuits of all steps, random ones of their sizes, and those of other tasks.
    """
    runs = 2 + CIRCUIT_PASSES * (n_steps * (1 + random_circuits) + len(tasks))
    return _sum(forward(shape, prompts_of(task)) * runs for task in tasks)


def swapping(shape: Shape, tasks: Sequence[Task], random_sets: int) -> Work:
    """Return the work of swapping every head set between a pair of steps, and of the control."""
    return _sum(
        forward(shape, prompts_of(task)) * (1.0 + _head_sets(task) * (1.0 + random_sets))
        for task in tasks
    )


def _head_sets(task: Task) -> int:
    """Return the number of head sets: that of the circuit, and those of the task."""
    return 1 + (len(BUILDERS[task.builder].head_sets) if task.builder else 0)


def _sum(parts: Iterable[Work]) -> Work:
    return sum(parts, Work())
