"""What an unfinished training keeps, so that the next attempt goes on where it stopped."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from circuitlapse.errors import ArtifactError, reading
from circuitlapse.io.atomic import atomic_path, remove
from circuitlapse.io.provenance import (
    FILES,
    PROVENANCE,
    checked_hash,
    read_record,
    write_provenance,
)

STATE = "state.pt"
"""Weights and state of the optimizer after a step."""

_log = logging.getLogger(__name__)


class UnfinishedTraining:
    """A folder with the saved steps of a training, and with its state after the last of them.

    Snakemake deletes the output of a job that fails, runs out of time or is killed, but not this
    folder.

    Args:
        folder: for this training only.
        origins: what `provenance` returned for each step to save, in the order of the steps.
    """

    def __init__(self, folder: str | Path, origins: Mapping[int, Mapping[str, str]]) -> None:
        self._folder, self._origins = Path(folder), origins

    def resume(self, model: nn.Module, optimizer: torch.optim.AdamW) -> int | None:
        """Load the state after the last saved step; return the step, or None to start anew.

        If anything is damaged, or was made from other inputs or settings or by other code, all of
        it is deleted.
        """
        for done in sorted(self._origins, reverse=True):
            try:
                if not self._is_whole(self._folder / f"state{done}", done):
                    continue
                earlier = [step for step in self._origins if step <= done]
                if all(self._is_whole(self._folder / f"step{step}", step) for step in earlier):
                    self._load(self._folder / f"state{done}" / STATE, model, optimizer)
                    _log.info("going on after step %d of an unfinished training", done)
                    return done
            except ArtifactError as error:
                _log.info("training starts anew: %s", error)
        remove(self._folder)
        return None

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.AdamW,
        write_model: Callable[[Path], None],
    ) -> None:
        """Keep a step and the state after it, in place of the state before.

        Args:
            step: one of those to save.
            model: after the step.
            optimizer: after the step.
            write_model: writes the model to a folder.
        """
        with atomic_path(self._folder / f"step{step}") as scratch:
            write_model(scratch)
            write_provenance(scratch / PROVENANCE, self._origins[step], scratch.iterdir())
        with atomic_path(self._folder / f"state{step}") as scratch:
            scratch.mkdir()
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, scratch / STATE)
            write_provenance(scratch / PROVENANCE, self._origins[step], scratch.iterdir())
        for old in self._folder.glob("state*"):
            if old.name != f"state{step}":
                remove(old)

    def finish(self, outputs: Mapping[int, str | Path]) -> None:
        """Copy every saved step to its place among the outputs."""
        for step, output in outputs.items():
            with atomic_path(output) as scratch:
                shutil.copytree(self._folder / f"step{step}", scratch)

    def discard(self) -> None:
        """Delete the folder, when nothing of the job can fail any more."""
        remove(self._folder)

    def _is_whole(self, folder: Path, step: int) -> bool:
        """Return whether a folder was made for this training, and is as it was written.

        Raises:
            ArtifactError: if it was made for this training, but is damaged.
        """
        record = read_record(folder)
        if record.get("key") != self._origins[step]["key"]:
            return False
        for name in record[FILES]:
            checked_hash(folder / name)
        return True

    @staticmethod
    def _load(path: Path, model: nn.Module, optimizer: torch.optim.AdamW) -> None:
        with reading(path, "state of a training"):
            state = torch.load(path, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
