"""By how much computed outputs differ from the ablated ones, and sums of that."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitlapse.evaluation.plan import Plan, Versions


class Changes:
    """One change per version of a plan, known at all positions or at the end position only.

    Args:
        plan: says which versions there are.
        like: a tensor [pair, pos, d_model] of the right shape, dtype and device.
        end: end position of each pair.
    """

    def __init__(
        self, plan: Plan, like: Float[Tensor, "pair pos d_model"], end: Int[Tensor, " pair"]
    ) -> None:
        self._slots, self._end = plan.slots, end
        self._everywhere = like.new_empty(plan.n_everywhere, *like.shape)
        self._ends = like.new_empty(len(plan.slots), like.shape[0], 1, like.shape[2])
        self._at_end: set[int] = set()

    def place(self, version: int) -> Float[Tensor, "pair pos_or_one d_model"]:
        """Return where to write a change: at all positions, or at the end position only."""
        slot = self._slots[version]
        if slot >= 0:
            return self._everywhere[slot]
        self._at_end.add(version)
        return self._ends[version]

    def sums(
        self, rows: list[Versions], *, end_only: bool
    ) -> Float[Tensor, "row pair pos_or_one d_model"]:
        """Return, for each row, the sum of the changes of its versions."""
        known = self._ends if end_only else self._everywhere
        if end_only:
            self._fill_ends({version for versions in rows for version in versions})
        slots = range(len(self._slots)) if end_only else self._slots
        ids = torch.tensor([slots[v] for versions in rows for v in versions], dtype=torch.long)
        starts = torch.tensor([0, *(len(versions) for versions in rows[:-1])]).cumsum(0)
        total = torch.nn.functional.embedding_bag(
            ids.to(known.device), known.flatten(1), starts.to(known.device), mode="sum"
        )
        return total.view(len(rows), *known.shape[1:])

    def _fill_ends(self, versions: set[int]) -> None:
        """Take the end position of versions that are known everywhere, where not done yet."""
        new = sorted(versions - self._at_end)
        if new:
            slots = torch.tensor([self._slots[version] for version in new])
            pairs = torch.arange(len(self._end), device=self._end.device)
            self._ends[new, :, 0] = self._everywhere[slots[:, None], pairs, self._end]
            self._at_end |= set(new)
