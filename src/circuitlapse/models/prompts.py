"""Prompt pairs as the tensors that a model is run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray
from torch import Tensor

if TYPE_CHECKING:
    from circuitlapse.tasks.encode import Task


@dataclass(frozen=True, eq=False)
class PromptPairs:
    """Clean and corrupted prompts, aligned token by token, padded on the right.

    Attributes:
        clean: token ids [pair, pos].
        corrupted: token ids [pair, pos].
        end: last real position, whose next token the model predicts [pair]; padding follows.
        correct: ids of the right answers to the clean prompt, one list per pair.
        wrong: ids of the wrong answers, one list per pair.
        roles: name of a role -> the position of the word that has it in each clean prompt
            [pair], such as io, s1 and s2 in IOI.
        groups: the group of each pair, 0..n_groups-1; pairs of one group, such as twins, are no
            independent measurements. Given as any whole numbers, equal within a group; None
            makes every pair a group of its own.

    Raises:
        ValueError: if the shapes disagree, `end` lies outside, or an answer list is empty.
    """

    clean: Int[Tensor, "pair pos"]
    corrupted: Int[Tensor, "pair pos"]
    end: Int[Tensor, " pair"]
    correct: Sequence[Sequence[int]]
    wrong: Sequence[Sequence[int]]
    roles: Mapping[str, Int[Tensor, " pair"]] = field(default_factory=dict)
    groups: Int[ndarray, " pair"] = None  # type: ignore[assignment]  # never None once made

    def __post_init__(self) -> None:
        """Check that the parts describe the same pairs, and number the groups."""
        n_pairs, n_pos = self.clean.shape
        if self.corrupted.shape != self.clean.shape:
            raise ValueError(
                f"clean is {tuple(self.clean.shape)} but corrupted {tuple(self.corrupted.shape)}; "
                "both must be [pair, pos] of one size"
            )
        counts = {"end": len(self.end), "correct": len(self.correct), "wrong": len(self.wrong)}
        groups = np.arange(n_pairs) if self.groups is None else self.groups
        # Some pairs of a task may be left, such as every second one: number their groups again.
        object.__setattr__(self, "groups", np.unique(groups, return_inverse=True)[1])
        counts |= {"groups": len(groups)}
        counts |= {f"role {name}": len(positions) for name, positions in self.roles.items()}
        for name, count in counts.items():
            if count != n_pairs:
                raise ValueError(f"{name} has {count} entries for {n_pairs} pairs")
        if n_pairs and not (int(self.end.min()) >= 0 and int(self.end.max()) < n_pos):
            raise ValueError(f"end must lie in 0..{n_pos - 1}, found {self.end.tolist()}")
        if not all(len(answers) for answers in (*self.correct, *self.wrong)):
            raise ValueError("every pair needs at least one correct and one wrong answer")

    @classmethod
    def from_lists(
        cls,
        clean: Sequence[Sequence[int]],
        corrupted: Sequence[Sequence[int]],
        *,
        correct: Sequence[Sequence[int]],
        wrong: Sequence[Sequence[int]],
    ) -> PromptPairs:
        """Pad token lists on the right with token 0; the last token of each clean list is its end.

        Raises:
            ValueError: if the two prompts of a pair differ in length.
        """
        for row, (one, other) in enumerate(zip(clean, corrupted, strict=True)):
            if len(one) != len(other):
                raise ValueError(
                    f"pair {row} has {len(one)} clean and {len(other)} corrupted tokens; "
                    "both prompts of a pair must be equally long"
                )
        width = max(len(tokens) for tokens in clean)
        rows = [
            [[*tokens, *[0] * (width - len(tokens))] for tokens in side]
            for side in (clean, corrupted)
        ]
        end = torch.tensor([len(tokens) - 1 for tokens in clean])
        return cls(torch.tensor(rows[0]), torch.tensor(rows[1]), end, correct, wrong)

    @classmethod
    def from_task(cls, task: Task) -> PromptPairs:
        """Return the pairs of a task."""
        columns = ("clean_tokens", "corrupted_tokens", "correct", "wrong")
        clean, corrupted, correct, wrong = (
            [[int(token) for token in row] for row in task.frame[name]] for name in columns
        )
        pairs = cls.from_lists(clean, corrupted, correct=correct, wrong=wrong)
        positions = task.frame.filter(like="pos_").dropna(axis="columns")
        roles = {
            str(name).removeprefix("pos_"): torch.tensor(column.to_numpy(dtype="int64"))
            for name, column in positions.items()
        }
        return replace(pairs, roles=roles, groups=task.frame["group"].to_numpy(dtype="int64"))

    def __repr__(self) -> str:
        """Return for instance `PromptPairs(100 pairs of up to 15 tokens)`."""
        longest = int(self.end.max()) + 1 if len(self) else 0
        return f"PromptPairs({len(self)} pairs of up to {longest} tokens)"

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.end)

    @property
    def n_groups(self) -> int:
        """Number of independent groups of pairs: the n of every interval."""
        return len(np.unique(self.groups))

    @property
    def attention_mask(self) -> Bool[Tensor, "pair pos"]:
        """True up to the end of each prompt."""
        positions = torch.arange(self.clean.shape[1], device=self.end.device)
        return positions <= self.end[:, None]  # [pos] against [pair, 1]

    def batch(self, start: int, stop: int) -> PromptPairs:
        """Return the pairs from `start` up to, not including, `stop`."""
        part = slice(start, stop)
        return PromptPairs(
            self.clean[part],
            self.corrupted[part],
            self.end[part],
            self.correct[part],
            self.wrong[part],
            {name: positions[part] for name, positions in self.roles.items()},
            self.groups[part],
        )

    def take(self, rows: Int[ndarray, " row"]) -> PromptPairs:
        """Return the pairs in these rows, in that order."""
        index = torch.as_tensor(rows, device=self.end.device)
        return PromptPairs(
            self.clean[index],
            self.corrupted[index],
            self.end[index],
            [self.correct[row] for row in rows],
            [self.wrong[row] for row in rows],
            {name: positions[index] for name, positions in self.roles.items()},
            self.groups[rows],
        )

    def repeat(self, times: int) -> PromptPairs:
        """Return all pairs `times` times, one copy after the other."""
        return PromptPairs(
            self.clean.repeat(times, 1),
            self.corrupted.repeat(times, 1),
            self.end.repeat(times),
            [*self.correct] * times,
            [*self.wrong] * times,
            {name: positions.repeat(times) for name, positions in self.roles.items()},
            np.tile(self.groups, times),
        )

    def to(self, device: torch.device | str) -> PromptPairs:
        """Return the same pairs on `device`."""
        clean, corrupted, end = (t.to(device) for t in (self.clean, self.corrupted, self.end))
        roles = {name: positions.to(device) for name, positions in self.roles.items()}
        return PromptPairs(clean, corrupted, end, self.correct, self.wrong, roles, self.groups)
