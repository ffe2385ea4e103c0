"""Audit what a hub serves for every checkpoint of a configuration; nothing is downloaded.

python -m circuitlapse.audit [FILE] [--quick]

FILE overrides keys of config/config.yaml. The table is written to `results/audit/audit.csv`, and a
picture beside it. With --quick, nothing is asked that the last audit has answered, nothing is
drawn, and only what is wrong is printed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from circuitlapse.manifest.job_record import record
from circuitlapse.config.__main__ import DEFAULT, checked
from circuitlapse.config.schema import Config
from circuitlapse.errors import CircuitlapseError
from circuitlapse.paths import Paths
from circuitlapse.plan.audited import asked_of, left_out, warnings, without
from circuitlapse.redaction import redact

SHOWN = ("model", "step", "status", "same_as", "instead_of", "file", "hash", "bytes")


def main() -> None:
    """Do what the module docstring says."""
    parser = argparse.ArgumentParser(prog="python -m circuitlapse.audit", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", nargs="*", type=Path)
    parser.add_argument("--quick", action="store_true", help="ask only what is not known")
    asked = parser.parse_args()
    config = checked([DEFAULT, *asked.file])
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    try:
        audit(config, quick=asked.quick)
    except CircuitlapseError as error:
        sys.exit(redact(f"{type(error).__name__}: {error}"))


def audit(config: Config, *, quick: bool) -> None:
    """Audit a configuration, write what was found, and print it.

    Raises:
        HubError: see `hub.audit.audit`.
        ConfigError: see `plan.audited`.
    """
    places, policy, paths = asked_of(config), config.checkpoints.duplicates, Paths(config.results)
    if not places:
        if not quick:
            print("No checkpoint comes from a hub. A run compares those in folders and those that")
            print("it trains: see the table `audit` among its results.")
        return
    records = _records(places, config, again=not quick)
    if Path(paths.audited).exists():
        record(config.results, "audit/checkpoints", "audit", [paths.audited])
    if not quick:
        rows = _written(records, paths, config)
        written = [f"{paths.audit_report}.{suffix}" for suffix in ("csv", "png", "pdf")]
        record(config.results, "audit/report", "audit", written)
        wrong = rows[(rows["status"] != "ok") | (rows["instead_of"] != "")]
        if len(wrong):
            print(wrong[list(SHOWN)].assign(hash=wrong["hash"].str[:12]).to_string(index=False))
        repos = len({place["repo"] for place in places})
        print(f"{len(places)} checkpoints in {repos} repositories; {_count(records)}")
        print(f"The whole table is in {paths.audit_report}.csv, a picture in its .png and .pdf.")
    print(*warnings(records, policy), sep="\n", file=sys.stderr, end="\n" * bool(records))
    without(config, left_out(records, policy))


def _records(places: Sequence[dict[str, Any]], config: Config, *, again: bool) -> list[Any]:
    """Return the records of all checkpoints, with what names them in tables."""
    from circuitlapse.hub.audit import PLACE, Asked, known_audit, named_records, write_json
    from circuitlapse.hub.retry import RetryPolicy

    asked = [Asked(**{name: place[name] for name in PLACE}) for place in places]
    paths, retry = Paths(config.results), RetryPolicy.configured(config.model_dump())
    files = paths.audit_found, paths.audit_listings
    found = named_records(known_audit(asked, *files, again=again, retry=retry), places)
    if Path(paths.audited).exists():  # of a run that goes on with what is now known
        write_json(paths.audited, found)
    return found


def _written(records: Sequence[Any], paths: Paths, config: Config) -> pd.DataFrame:
    """Write the table and the picture of an audit; return the table."""
    from circuitlapse.figures.audit import audit_figure
    from circuitlapse.figures.style import save_figure
    from circuitlapse.tables.checkpoints import audit_rows

    rows = audit_rows(records, duplicates=config.checkpoints.duplicates)
    rows.to_csv(f"{paths.audit_report}.csv", index=False)
    figure = audit_figure(rows, run_labels={model.name: model.label for model in config.models})
    for suffix in ("png", "pdf"):
        save_figure(figure, f"{paths.audit_report}.{suffix}")
    return rows


def _count(records: Sequence[Any]) -> str:
    """Return how many checkpoints have each status."""
    counts = pd.Series([one["status"] for one in records]).value_counts()
    return ", ".join(f"{n} {status}" for status, n in counts.items())


if __name__ == "__main__":
    main()
