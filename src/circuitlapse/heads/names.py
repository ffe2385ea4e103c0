"""Where the names stand in IOI prompts."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from circuitlapse.prompts import PromptPairs
from circuitlapse.types import NAME_ROLES


def with_names(pairs: PromptPairs | None) -> PromptPairs:
    """Return the prompts as they are.

    Raises:
        ValueError: if there are no prompts, or they lack one of these roles.
    """
    if pairs is None or not len(pairs):
        raise ValueError(f"this score needs prompt pairs with the roles {', '.join(NAME_ROLES)}")
    if missing := [role for role in NAME_ROLES if role not in pairs.roles]:
        raise ValueError(
            f"the prompt pairs lack the roles {', '.join(missing)}; expected those of an ioi "
            f"task, found {', '.join(pairs.roles) or 'none'}"
        )
    return pairs


def positions_of_names(pairs: PromptPairs) -> Int[Tensor, "pair role"]:
    """Return the positions of io, s1 and s2 in each clean prompt, in this order."""
    return torch.stack([pairs.roles[role] for role in NAME_ROLES], 1).to(pairs.clean.device)


def at_positions(x: Tensor, positions: Int[Tensor, "pair role"]) -> Tensor:
    """Pick from `x` [pair, pos, ...] what stands at the positions [pair, role, ...]."""
    rows = torch.arange(len(x), device=x.device)[:, None]
    picked: Tensor = x[rows, positions.to(x.device)]
    return picked
