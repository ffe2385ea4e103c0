"""Compare every output of a run with its manifest: `make verify`.

python -m circuitlapse.manifest [FILE] [--repair COMMAND ...]
python -m circuitlapse.manifest [FILE] --made NAME PATH ...

FILE overrides keys of config/config.yaml. One line is printed for each file that is missing,
changed, unknown to the manifest, of another run or half-written; the exit status is 1 if there is
any. With --repair, the rest of the line is Snakemake with all of its options, which remakes them.
With --made, files that no job wrote are put into the manifest; NAME is the target of make.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import product
from pathlib import Path

from circuitlapse.manifest.job_record import Manifest, record
from circuitlapse.config.__main__ import DEFAULT, checked
from circuitlapse.config.schema import Config
from circuitlapse.errors import CircuitlapseError
from circuitlapse.manifest.differences import Comparison, Expected
from circuitlapse.manifest.repair import repair
from circuitlapse.plan.audited import audited
from circuitlapse.plan.authors import deleted_after_use, final_files, results_of
from circuitlapse.plan.workflow import Plan
from circuitlapse.processes import active_run


def main() -> None:
    """Do what the module docstring says."""
    parser = argparse.ArgumentParser(prog="python -m circuitlapse.manifest", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", nargs="*", type=Path)
    parser.add_argument("--made", nargs="+", metavar=("NAME", "PATH"), help="put into the manifest")
    parser.add_argument("--repair", nargs=argparse.REMAINDER, metavar="COMMAND", help="Snakemake")
    asked = parser.parse_args()
    try:
        config = audited(checked([DEFAULT, *asked.file])).config
    except CircuitlapseError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if asked.made:
        name, *files = asked.made
        record(config.results, name, name, files)
        return
    found = compare(config)
    if asked.repair and found.differences:
        if active := active_run():
            sys.exit(active)
        print(*found.differences, sep="\n", flush=True)
        repair(found, asked.repair)
        found = compare(config)
    sys.exit(tell(found))


def compare(config: Config) -> Comparison:
    """Return the results of a configuration beside their manifest, or exit if there is none."""
    root = Path(config.results)
    manifest = Manifest.read(root)
    if not manifest.records and not manifest.broken:
        sys.exit(f"{root}: no manifest. Either nothing was made here, or by an older version.")
    return Comparison(manifest, expected(Plan(config)))


def expected(plan: Plan) -> Expected:
    """Return what a configuration asks of its folder of results."""
    root = plan.config.results

    def below(path: str) -> str:
        return os.path.relpath(path, root)

    diagrams = (plan.paths.diagram_pdf, plan.paths.diagram_png)
    on_request = [
        path
        for template, task in product(diagrams, plan.tasks)
        for path in plan.per_step(template, task=task)
    ]
    return Expected(
        final=frozenset(map(below, final_files(results_of(plan)))),
        on_request=frozenset(map(below, on_request)),
        deleted=tuple(map(below, deleted_after_use(plan))),
    )


def tell(found: Comparison) -> int:
    """Print what differs, or that nothing does; return the exit status."""
    if found.differences:
        print(*found.differences, sep="\n")
        return 1
    print(f"{found.n_files} files, all as written")
    return 0


if __name__ == "__main__":
    main()
