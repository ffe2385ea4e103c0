"""Which rows of the vocabulary are words."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.errors import ModelError
from circuitlapse.models import n_tokens


def plain_tokens(model: TransformerBridge) -> Int[Tensor, " token"]:
    """Return the ids that are neither special tokens nor padding of the vocabulary, on the CPU.

    Raises:
        ModelError: if there are none, as without a tokenizer in the model's folder.
    """
    n_rows = len(model.embed.original_component.weight)
    known = torch.arange(min(n_tokens(model), n_rows))
    plain = known[~torch.isin(known, torch.tensor(model.tokenizer.all_special_ids))]
    if not len(plain):
        raise ModelError(
            f"{model.cfg.model_name}: the tokenizer has no tokens but special ones; expected "
            "the tokenizer's files in the folder of the model"
        )
    return plain
