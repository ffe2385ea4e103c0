"""Check and document the configuration; run it in the root of the repository.

python -m circuitlapse.config                    print the JSON schema, as YAML
python -m circuitlapse.config --write            write it, and the tables of the pages
python -m circuitlapse.config --check [FILE]     report every problem
python -m circuitlapse.config --report [FILE]    print the path of the page of `make report`
python -m circuitlapse.config --figure NAME [FILE]   print the path of a figure, without its suffix

FILE is read on top of config/config.yaml.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from circuitlapse.config import load_config
from circuitlapse.config.document import PAGES, SCHEMA, schema_text, write_all
from circuitlapse.config.schema import Config
from circuitlapse.config.sources import merged_values, read_sources
from circuitlapse.errors import ConfigError, UnknownNameError, unknown_name
from circuitlapse.paths import Paths
from circuitlapse.plan.authors import results_of
from circuitlapse.plan.workflow import Plan

DEFAULT = Path("config/config.yaml")


def main() -> None:
    """Do what the module docstring says."""
    written = ", ".join([SCHEMA, *PAGES])
    parser = argparse.ArgumentParser(prog="python -m circuitlapse.config", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--write", action="store_true", help=f"write {written}")
    parser.add_argument("--check", nargs="*", metavar="FILE", type=Path, help="look for problems")
    parser.add_argument("--report", nargs="*", metavar="FILE", type=Path, help="print a path")
    parser.add_argument("--figure", nargs="+", metavar=("NAME", "FILE"), help="print a path")
    asked = parser.parse_args()
    if asked.write:
        write_all(Path())
    elif asked.check is not None:
        checked([DEFAULT, *asked.check])
    elif asked.report is not None:
        print(Paths(checked([DEFAULT, *asked.report]).results).report)
    elif asked.figure is not None:
        name, *files = asked.figure
        print(figure_path(name, checked([DEFAULT, *map(Path, files)])))
    else:
        print(schema_text(), end="")


def checked(files: Sequence[Path]) -> Config:
    """Return the configuration in `files`, or exit with every problem in it."""
    sources = read_sources(files)
    if empty := [source.name for source in sources if not (source.values or source.mistake)]:
        sys.exit(f"ConfigError: {empty[0]}: has no keys; Snakemake refuses it, so leave it out.")
    try:
        return load_config(merged_values(sources), files)
    except ConfigError as error:
        sys.exit(f"ConfigError: {error}")


def figure_path(name: str, config: Config) -> str:
    """Return the path of a figure without its suffix, or exit with the known names."""
    plan = Plan(config)
    if diagram := re.fullmatch(r"circuit_diagram/([^/]+)/([^/]+)/step([^/]+)", name):
        try:
            plan.check_diagram(*diagram.groups())
        except UnknownNameError as error:
            sys.exit(str(error))
        return plan.paths.figure_pdf.format(figure=name).removesuffix(".pdf")
    figures = {
        f"{made.prefix.replace('_', '/')}{figure}": made.plan.paths.figure_pdf.format(figure=figure)
        for made in results_of(plan).values()
        for figure in made.figures
    }
    if name not in figures:
        example = plan.diagrams("circuit_diagram/{model}/{task}/step{step}")[-1]
        sys.exit(f"{unknown_name('figure', name, figures)}; diagrams are named like {example}")
    return figures[name].removesuffix(".pdf")


if __name__ == "__main__":
    main()
