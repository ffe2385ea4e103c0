"""Whether checkpoints hold the weights of their own steps, by their files and by their weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from circuitlapse.errors import ArtifactError
from circuitlapse.models.contents import Contents, Verdict, WeightFile, classify
from circuitlapse.models.fingerprint import Fingerprint, cosines, matrices
from circuitlapse.schemas import AUDIT, CHECKPOINTS
from circuitlapse.types.status import LEFT_OUT, CheckpointStatus

Place = tuple[str, int]
Record = Mapping[str, Any]
COSINES = ("cos_previous", "cos_next", "cos_last")


class CheckpointTables(NamedTuple):
    """The tables about checkpoints; see `circuitlapse.schemas`."""

    audit: pd.DataFrame
    checkpoints: pd.DataFrame


def checkpoint_tables(
    fingerprints: Iterable[Fingerprint],
    hub: Iterable[Sequence[Record]],
    *,
    models: Sequence[str],
    duplicates: str,
) -> CheckpointTables:
    """Make the tables `audit` and `checkpoints`.

    A checkpoint has the worst status that is found for it:

    - the hub says which files are those of other checkpoints (see `models.contents`);
    - checkpoints whose fingerprints are equal have the same weights, whatever their files are;
    - a step most of whose matrices are closer to those of the last step than to those of both
      neighbouring steps is suspect.

    Args:
        fingerprints: of the checkpoints that are analysed, and were not left out before.
        hub: the records of the audit, if there are any.
        models: the order of rows, as in the configuration.
        duplicates: `checkpoints.duplicates`.

    Raises:
        ArtifactError: if `duplicates` is `refuse` and a checkpoint has the weights of another.
    """
    found = sorted(fingerprints, key=lambda one: (models.index(one.where["model"]), _step(one)))
    records = {(one["model"], one["step"]): dict(one) for several in hub for one in several}
    for one in found:
        records.setdefault(_place(one), _record(one))
    measured = [row for several in _by_model(found) for row in _continuity(several)]
    for place, verdict in _equal(found).items():
        _worsen(records[place], verdict.status, verdict.same_as)
    for place in _closer_to_last(measured):
        _worsen(records[place], CheckpointStatus.SUSPECT, "")
    if duplicates == "refuse":
        _refuse(records.values())
    in_order = sorted(records.values(), key=lambda one: (models.index(one["model"]), one["step"]))
    status = {place: one["status"] for place, one in records.items()}
    rows = [row | {"status": status[row["model"], row["step"]]} for row in measured]
    return CheckpointTables(
        audit_rows(in_order, duplicates=duplicates),
        CHECKPOINTS.cast(pd.DataFrame(rows, columns=list(CHECKPOINTS.columns))),
    )


def audit_rows(records: Iterable[Record], *, duplicates: str) -> pd.DataFrame:
    """Return the rows of the table `audit`, one per weight file, from the records of an audit.

    Args:
        records: of `hub.audit`, with the variant and the tokens of each checkpoint. One without
            weights has a row without a file.
        duplicates: the setting of that name: `keep` leaves nothing out.
    """
    rows = [
        {name: one[name] for name in ("model", "variant", "step", "tokens", "status")}
        | {"same_as": one["same_as"], "instead_of": one["instead_of"]}
        | {"file": file["name"], "hash": file["hash"], "bytes": file["n_bytes"], "unit": "bytes"}
        | {"shared": file["name"] in one["shared"]}
        | {"left_out": duplicates != "keep" and one["status"] in LEFT_OUT}
        for one in records
        for file in one["files"] or [{"name": "", "hash": "", "n_bytes": 0}]
    ]
    return AUDIT.cast(pd.DataFrame(rows, columns=list(AUDIT.columns)))


def _place(one: Fingerprint) -> Place:
    return one.where["model"], one.where["step"]


def _step(one: Fingerprint) -> int:
    return int(one.where["step"])


def _by_model(found: Iterable[Fingerprint]) -> Iterable[list[Fingerprint]]:
    by_model: dict[str, list[Fingerprint]] = defaultdict(list)
    for one in found:
        by_model[one.where["model"]].append(one)
    return by_model.values()


def _record(one: Fingerprint) -> dict[str, Any]:
    """Return the record of a checkpoint that no hub has served."""
    blank = {"status": str(CheckpointStatus.OK), "same_as": "", "instead_of": "", "shared": []}
    return {**one.where, **blank, "files": [asdict(file) for file in one.files]}


def _worsen(record: dict[str, Any], status: CheckpointStatus, same_as: str) -> None:
    """Give a record a status, if that is worse than its own."""
    order = list(CheckpointStatus)
    if order.index(status) > order.index(CheckpointStatus(record["status"])):
        record |= {"status": str(status), "same_as": same_as or record["same_as"]}


def _equal(found: Iterable[Fingerprint]) -> dict[Place, Verdict]:
    """Judge checkpoints by the contents of their weights, as if each were one file."""
    return classify(
        Contents(*_place(one), ((WeightFile("", one.content, 0),),), f"step {_step(one)}")
        for one in found
    )


def _continuity(several: Sequence[Fingerprint]) -> Iterator[dict[str, Any]]:
    """Yield a row per matrix and step of one model, whose steps are in order."""
    last = several[-1]
    for place, one in enumerate(several):
        beside = {
            "cos_previous": several[place - 1] if place else None,
            "cos_next": several[place + 1] if one is not last else None,
            "cos_last": last if one is not last else None,
        }
        unknown = np.full(len(one.names), np.nan)
        to = {name: cosines(one, other) if other else unknown for name, other in beside.items()}
        for at in matrices(one):
            shape = one.shapes[at]
            yield {**one.where, "matrix": one.names[at], "shape": shape, "unit": "cosine"} | {
                "norm": float(one.norms[at]),
                **{name: float(values[at]) for name, values in to.items()},
            }


def _closer_to_last(rows: Sequence[Mapping[str, Any]]) -> list[Place]:
    """Return the steps most of whose matrices are closer to the last step than to neighbours."""
    frame = pd.DataFrame(rows, columns=["model", "step", *COSINES])
    nearest = frame[["cos_previous", "cos_next"]].max(axis=1)
    share = (frame["cos_last"] > nearest).groupby([frame["model"], frame["step"]]).mean()
    return [(str(model), int(step)) for model, step in share[share > 0.5].index]


def _refuse(records: Iterable[Record]) -> None:
    wrong = [one for one in records if one["status"] in LEFT_OUT]
    if wrong:
        named = "; ".join(f"{one['model']} at step {one['step']}" for one in wrong)
        raise ArtifactError(
            f"checkpoints.duplicates is refuse, and these have the weights of a later step: {named}"
        )
