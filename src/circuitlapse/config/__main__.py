"""Print the JSON schema, or write it and the tables of config/README.md anew.

python -m circuitlapse.config            print the JSON schema, as YAML
python -m circuitlapse.config --write    write both files; run it in the root of the repository
"""

from __future__ import annotations

import argparse
from pathlib import Path

from circuitlapse.config.document import schema_text, with_tables

SCHEMA = Path("workflow/schemas/config.schema.yaml")
README = Path("config/README.md")


def main() -> None:
    """Do what the module docstring says."""
    parser = argparse.ArgumentParser(prog="python -m circuitlapse.config", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {SCHEMA} and {README}")
    if parser.parse_args().write:
        SCHEMA.write_text(schema_text(), encoding="utf-8")
        README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(schema_text(), end="")


if __name__ == "__main__":
    main()
