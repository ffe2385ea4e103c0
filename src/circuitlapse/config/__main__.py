"""Questions about the configuration; run it in the root of the repository.

python -m circuitlapse.config                    print the JSON schema, as YAML
python -m circuitlapse.config --write            write it, and the tables of config/README.md
python -m circuitlapse.config --report [FILE]    print where `make report` puts its page; FILE
                                                 is read on top of config/config.yaml
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from circuitlapse.config.document import schema_text, with_tables
from circuitlapse.config.load import load_config
from circuitlapse.config.sources import merged_values, read_sources
from circuitlapse.paths import Paths

DEFAULT = Path("config/config.yaml")
SCHEMA = Path("workflow/schemas/config.schema.yaml")
README = Path("config/README.md")


def main() -> None:
    """Do what the module docstring says."""
    parser = argparse.ArgumentParser(prog="python -m circuitlapse.config", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--write", action="store_true", help=f"write {SCHEMA} and {README}")
    parser.add_argument("--report", nargs="*", metavar="FILE", type=Path, help="print a path")
    asked = parser.parse_args()
    if asked.write:
        SCHEMA.write_text(schema_text(), encoding="utf-8")
        README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
    elif asked.report is not None:
        print(report_path([DEFAULT, *asked.report]))
    else:
        print(schema_text(), end="")


def report_path(files: Sequence[Path]) -> str:
    """Return where the report of the configuration in `files` goes."""
    config = load_config(merged_values(read_sources(files)), files)
    return Paths(config.results).report


if __name__ == "__main__":
    main()
