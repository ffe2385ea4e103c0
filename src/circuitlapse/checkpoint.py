"""A model at one training step, and every measurement that the workflow makes of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor

from circuitlapse.circuits.discovery import discover_circuit, record_of
from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.circuits.selection import Circuit
from circuitlapse.exchange.swaps import swap_sets
from circuitlapse.exchange.transfer import (
    FoundCircuit,
    random_like,
    refuse_other_models,
    transfer,
)
from circuitlapse.heads.algorithm import trace_greater_than, trace_ioi
from circuitlapse.heads.registry import SCORES, needing
from circuitlapse.heads.scoring import score_heads, undefined_scores
from circuitlapse.models.activations import PairActivations, cache_activations, end_logits_of
from circuitlapse.models.batching import Limits
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.graph import Head
from circuitlapse.models.load import DTYPES, load_decoder, model_graph, n_parameters
from circuitlapse.models.memory import keep_to_share, memory_for
from circuitlapse.models.metrics import behaviour, metric_by_group
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.schemas import (
    BEHAVIOUR_BY_GROUP,
    GT_ALGORITHM,
    HEADS,
    IOI_SCHEMAS,
    SWAPS,
    TRANSFER,
)
from circuitlapse.settings.analysis import Algorithm, Bootstrap, Circuits, Compute, Heads
from circuitlapse.tasks.encode import Task
from circuitlapse.types import METRIC_FACTS, HeadSet
from circuitlapse.types.status import CheckpointStatus, ScoreStatus

MATMUL = {"highest": "highest", "tf32": "high"}
"""Values of `compute.matmul` -> what PyTorch calls them."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A loaded model and the columns that say which one it is.

    Attributes:
        model: its weights.
        where: model, variant, step and tokens, as in every table.
        compute: where and how it runs.
    """

    model: Decoder
    where: Mapping[str, Any]
    compute: Compute

    @classmethod
    def load(cls, folder: str | Path, where: Mapping[str, Any], compute: Compute) -> Checkpoint:
        """Load a folder laid out like a hub snapshot, and set up PyTorch as `compute` says.

        That is the number of CPU threads, the precision of matrix products, and the share of the
        GPU.

        Raises:
            ModelError: see `load_decoder`.
            DeviceMemoryError: if the weights do not fit into memory.
        """
        torch.set_num_threads(compute.threads)
        torch.set_float32_matmul_precision(MATMUL[compute.matmul])
        with memory_for(f"the weights in {folder}"):
            keep_to_share(compute.device, jobs_per_gpu(compute))
            model = load_decoder(folder, compute.device, compute.dtype)
        return cls(model, where, compute)

    @property
    def tensors(self) -> dict[str, Any]:
        """Device and dtype of activations that this model computes, for `read_activations`."""
        return {"device": self.compute.device, "dtype": DTYPES[self.compute.dtype]}

    def run(self, task: Task) -> PairActivations:
        """Run the model on both prompts of every pair."""
        return cache_activations(self.model, self._pairs(task), limits=self._limits)

    def end_logits(self, task: Task) -> tuple[Tensor, Tensor]:
        """Return the clean and the corrupted logits at the end of each prompt, [pair, vocab]."""
        limits, pairs = self._limits, self._pairs(task)
        return (
            end_logits_of(self.model, pairs, side="clean", limits=limits),
            end_logits_of(self.model, pairs, side="corrupted", limits=limits),
        )

    def behaviour(
        self,
        task: Task,
        clean: Float[Tensor, "pair vocab"],
        corrupted: Float[Tensor, "pair vocab"],
        bootstrap: Bootstrap,
    ) -> dict[str, Any]:
        """Return the task's row of the table `behaviour`; the logits are those of `end_logits`."""
        measured = behaviour(
            clean,
            corrupted,
            self._pairs(task),
            metric=task.metric,
            n_tokens=self.model.n_tokens,
            bootstrap=bootstrap,
        )
        made: dict[str, Any] = {"prepend_bos": task.prepend_bos, "dtype": self.compute.dtype}
        made |= {"data_seed": task.seed, "n_parameters": self._n_parameters}
        made |= {"checkpoint": str(CheckpointStatus.OK)}  # until it is audited
        return {**self.where, **_named(task), **measured, **made}

    def behaviour_by_group(self, task: Task, clean: Float[Tensor, "pair vocab"]) -> pd.DataFrame:
        """Return the task's rows of the table `behaviour_by_group`; see `end_logits`."""
        means = metric_by_group(clean, self._pairs(task), metric=task.metric)
        return BEHAVIOUR_BY_GROUP.cast(pd.DataFrame(means).assign(**self.where, **_named(task)))

    def circuit(
        self, task: Task, runs: PairActivations, settings: Circuits, bootstrap: Bootstrap
    ) -> CircuitRecord:
        """Find a small faithful circuit; `runs` come from `run` or from disk."""
        found = discover_circuit(
            self.model,
            self._pairs(task),
            activations=runs,
            metric=task.metric,
            settings=settings,
            bootstrap=bootstrap,
            limits=self._limits,
        )
        return record_of(
            found,
            task=task.name,
            metric=task.metric,
            settings=settings,
            bootstrap=bootstrap,
            **self.where,
        )

    def heads(
        self,
        task: Task | None,
        runs: PairActivations | None,
        documents: Sequence[Int64[ndarray, " _"]],
        settings: Heads,
        bootstrap: Bootstrap,
        *,
        seed: int,
        scores: Sequence[str] = tuple(SCORES),
    ) -> pd.DataFrame:
        """Return the table `heads`: scores of every head.

        Args:
            task: an IOI task; with None the scores that need names are NaN.
            runs: from `run` for this task.
            documents: token ids of running text; with none of them `cspa` is NaN.
            settings: options of the detectors.
            bootstrap: for the intervals of `cspa`.
            seed: of all random draws.
            scores: names of scores; by default all.
        """
        text = [torch.from_numpy(document) for document in documents]
        missing = {
            ScoreStatus.NO_PROMPTS: needing("prompts") if task is None else (),
            ScoreStatus.NO_TEXT: needing("text") if not text else (),
        }
        frame = score_heads(
            self.model,
            scores=[name for name in scores if name not in chain(*missing.values())],
            pairs=None if task is None else self._pairs(task),
            text=text,
            clean=None if runs is None else runs.clean,
            seed=seed,
            limits=self._limits,
            bootstrap=bootstrap,
            **settings.model_dump(exclude={"text", "dataset"}),
        )
        nothing = [
            undefined_scores(
                self.model, scores=[name for name in names if name in scores], status=status
            )
            for status, names in missing.items()
        ]
        return HEADS.cast(pd.concat([frame, *nothing]).assign(**self.where))

    def ioi_algorithm(
        self,
        task: Task,
        scores: pd.DataFrame,
        circuit: Circuit | None,
        settings: Algorithm,
        bootstrap: Bootstrap,
        *,
        lengths: Sequence[int],
        edge_scores: Float[ndarray, "source target"] | None = None,
    ) -> dict[str, pd.DataFrame]:
        """Return the tables of `IOI_SCHEMAS`.

        Args:
            task: an IOI task.
            scores: from `heads`.
            circuit: of this task; None if there is none.
            settings: thresholds and rule of the roles, and whether MLPs are held.
            bootstrap: for intervals.
            lengths: numbers of random tokens behind `scores`.
            edge_scores: of all edges on this task.
        """
        found = trace_ioi(
            self.model,
            self._pairs(task),
            scores=scores,
            circuit=circuit,
            settings=settings,
            bootstrap=bootstrap,
            seed=task.seed,
            lengths=lengths,
            edge_scores=edge_scores,
            limits=self._limits,
        )
        frames = {
            "effects": found.effects,
            "s2i": found.s2i,
            "roles": found.roles,
            "algorithm_consistency": found.consistency,
            "role_graph": found.role_graph,
            "role_splits": found.role_splits,
            "self_repair": found.self_repair,
        }
        return {
            table: schema.cast(frames[table].assign(**self.where, task=task.name))
            for table, schema in IOI_SCHEMAS.items()
        }

    def greater_than_algorithm(
        self, task: Task, runs: PairActivations, circuit: Circuit | None
    ) -> pd.DataFrame:
        """Return the table `gt_algorithm`; `runs` come from `run` or from disk."""
        found = trace_greater_than(self.model, self._pairs(task), circuit=circuit, activations=runs)
        return GT_ALGORITHM.cast(found.assign(**self.where, task=task.name))

    def transfer(
        self,
        task: Task,
        runs: PairActivations,
        found: Sequence[FoundCircuit],
        bootstrap: Bootstrap,
    ) -> pd.DataFrame:
        """Return the task's rows of the table `transfer`; `runs` come from `run`.

        `FoundCircuit.runs_on` says which circuits run.

        Raises:
            ArtifactError: if a circuit is of another model, and not a control.
        """
        refuse_other_models(found, model=self.where["model"], variant=self.where["variant"])
        rows = transfer(
            self.model,
            self._pairs(task),
            [one for one in found if one.runs_on(task.name, step=self.where["step"])],
            metric=task.metric,
            bootstrap=bootstrap,
            activations=runs,
            limits=self._limits,
        )
        return TRANSFER.cast(pd.DataFrame(rows).assign(**self.where, **_named(task)))

    def transfer_table(
        self,
        tasks: Sequence[Task],
        found: Sequence[FoundCircuit],
        bootstrap: Bootstrap,
        *,
        random_circuits: int,
        seed: int,
    ) -> pd.DataFrame:
        """Return the rows of `transfer` for every task; the model runs on one task at a time.

        Args:
            tasks: what the circuits are run on.
            found: circuits of this model, and of other seeds as a control.
            bootstrap: see `transfer`.
            random_circuits: number of random circuits beside each one of this model.
            seed: of the random circuits.
        """
        graph = model_graph(self.model)
        random = random_like(found, graph, n_draws=random_circuits, seed=seed)
        every = [*found, *random]
        rows = [self.transfer(task, self.run(task), every, bootstrap) for task in tasks]
        return pd.concat(rows, ignore_index=True)

    def swaps(
        self,
        task: Task,
        source: Checkpoint,
        sets: Mapping[HeadSet, Collection[Head]],
        *,
        random_sets: int,
        seed: int,
        bootstrap: Bootstrap,
    ) -> pd.DataFrame:
        """Return rows of the table `swaps`: this model with sets of heads of another checkpoint.

        Args:
            task: what the metric is measured on.
            source: the same model at another step.
            sets: head sets by name; see `swap_sets`, also for the other arguments.
            random_sets: number of random sets in each control.
            seed: of the random sets.
            bootstrap: for intervals.
        """
        rows = swap_sets(
            self.model,
            source.model,
            sets,
            self._pairs(task),
            metric=task.metric,
            random_sets=random_sets,
            seed=seed,
            bootstrap=bootstrap,
            limits=self._limits,
        )
        named = {name: self.where[name] for name in ("model", "variant")} | _named(task)
        steps = {"source_step": source.where["step"], "target_step": self.where["step"]}
        return SWAPS.cast(pd.DataFrame(rows).assign(**named, **steps))

    def swap_table(
        self,
        tasks: Sequence[Task],
        sources: Iterable[Checkpoint],
        sets: Mapping[tuple[int, str], Mapping[HeadSet, Collection[Head]]],
        **how: Any,
    ) -> pd.DataFrame:
        """Return the rows of `swaps` for every source and task.

        Args:
            tasks: what the metric is measured on.
            sources: the same model at other steps; an iterator may load one at a time.
            sets: head sets, by the step of the source and the name of the task.
            how: random_sets, seed and bootstrap; see `swaps`.
        """
        rows = [
            self.swaps(task, source, sets[source.where["step"], task.name], **how)
            for source in sources
            for task in tasks
        ]
        return pd.concat(rows, ignore_index=True)

    @cached_property
    def _n_parameters(self) -> int:
        return n_parameters(self.model)

    @property
    def _limits(self) -> Limits:
        compute = self.compute
        return Limits(compute.batch_size, compute.memory_mb, jobs_per_gpu(compute))

    def _pairs(self, task: Task) -> PromptPairs:
        return PromptPairs.from_task(task).to(self.compute.device)


def jobs_per_gpu(compute: Compute) -> int:
    """Return how many jobs share the GPU; one that was not told has it for itself."""
    return 1 if compute.jobs_per_gpu == "auto" else compute.jobs_per_gpu


def _named(task: Task) -> dict[str, str]:
    return {"task": task.name, "metric": str(task.metric), "unit": METRIC_FACTS[task.metric].unit}
