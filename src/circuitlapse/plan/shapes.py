"""How large a model is, before anything of it is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from circuitlapse.config.models import Model
from circuitlapse.errors import UnknownNameError, unknown_name

POCKET_VOCABULARY = 500
"""About the number of tokens of the pocket suite."""


@dataclass(frozen=True)
class Shape:
    """The shape of a GPT-NeoX model.

    Attributes:
        layers, heads, d_model: as usual; the MLP is four times as wide.
        vocabulary: rows of the embedding, padding included.
        stored_bytes: bytes per weight on disk.
    """

    layers: int
    heads: int
    d_model: int
    vocabulary: int
    stored_bytes: int

    @property
    def parameters(self) -> int:
        """Number of weights, biases, LayerNorms and both embeddings included."""
        per_layer = 12 * self.d_model**2 + 13 * self.d_model
        return self.layers * per_layer + 2 * self.d_model * (self.vocabulary + 1)

    @property
    def stored_gb(self) -> float:
        """Size of a checkpoint on disk."""
        return self.parameters * self.stored_bytes / 1e9

    @property
    def forward_per_token(self) -> float:
        """Operations of a forward pass per token, unembedding left out."""
        return 24.0 * self.layers * self.d_model**2

    @property
    def unembedding(self) -> float:
        """Operations to unembed one position."""
        return 2.0 * self.d_model * self.vocabulary


PYTHIA: Mapping[str, Shape] = {
    "70m": Shape(6, 8, 512, 50304, 2),
    "160m": Shape(12, 12, 768, 50304, 2),
    "410m": Shape(24, 16, 1024, 50304, 2),
    "1b": Shape(16, 8, 2048, 50304, 2),
    "1.4b": Shape(24, 16, 2048, 50304, 2),
    "2.8b": Shape(32, 32, 2560, 50304, 2),
    "6.9b": Shape(32, 32, 4096, 50432, 2),
    "12b": Shape(36, 40, 5120, 50688, 2),
}
"""Sizes of Pythia (arXiv 2304.01373), whose hub weights are 16 bits wide."""


def shape_of(model: Model) -> Shape:
    """Return the shape of a model of the configuration.

    Raises:
        UnknownNameError: if it is published and not one of Pythia.
    """
    if model.train is not None:
        train = model.train
        return Shape(train.layers, train.heads, train.d_model, POCKET_VOCABULARY, 4)
    repo = model.hub.repo if model.hub else ""
    size = repo.rpartition("pythia-")[2].partition("-")[0]
    if "pythia-" not in repo or size not in PYTHIA:
        known = [f"EleutherAI/pythia-{name}" for name in PYTHIA]
        raise UnknownNameError(unknown_name("model whose size the plan knows", repo, known))
    return PYTHIA[size]
