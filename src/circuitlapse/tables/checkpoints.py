"""Whether checkpoints hold the weights of their own steps: what the hub says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from circuitlapse.schemas import AUDIT
from circuitlapse.types import LEFT_OUT


def audit_rows(records: Iterable[Mapping[str, Any]], *, duplicates: str) -> pd.DataFrame:
    """Return the rows of the table `audit`, one per weight file, from the records of an audit.

    Args:
        records: of `hub.audit`, with the variant and the tokens of each checkpoint. One without
            weights has a row without a file.
        duplicates: the setting of that name: `keep` leaves nothing out.
    """
    rows = [
        {name: one[name] for name in ("model", "variant", "step", "tokens", "status")}
        | {"same_as": one["same_as"], "instead_of": one["instead_of"]}
        | {"file": file["name"], "hash": file["hash"], "bytes": file["n_bytes"]}
        | {"shared": file["name"] in one["shared"]}
        | {"left_out": duplicates != "keep" and one["status"] in LEFT_OUT}
        for one in records
        for file in one["files"] or [{"name": "", "hash": "", "n_bytes": 0}]
    ]
    return AUDIT.cast(pd.DataFrame(rows, columns=list(AUDIT.columns)))
