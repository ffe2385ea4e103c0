"""The command `circuitlapse`: make a folder with the workflow of the installed package, and run it.

circuitlapse demo                          the pocket suite, in the folder `circuitlapse-demo`
circuitlapse demo --config smoke FOLDER    one tiny model, in FOLDER
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

from circuitlapse.config.__main__ import DEFAULT, checked
from circuitlapse.errors import ConfigError, UnknownNameError, printable, unknown_name

PROJECT = Path(__file__).parents[1] / "project"
"""The files of the workflow, which `pyproject.toml` lists and the wheel holds."""
SNAKEFILE = Path("workflow/Snakefile")


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="circuitlapse", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="make a folder with the workflow, and run it")
    demo.add_argument("folder", nargs="?", default="circuitlapse-demo", type=Path, metavar="FOLDER")
    demo.add_argument("--config", default="config", metavar="NAME", help="config/NAME.yaml of it")
    demo.add_argument("--cores", default="2", type=cores, metavar="N", help="two by default")
    demo.add_argument("--dry-run", action="store_true", help="only list the jobs")
    asked = parser.parse_args()
    try:
        make_folder(asked.folder)
        command = snakemake(asked.folder, asked.config, asked.cores)
    except (ConfigError, UnknownNameError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"The workflow is in {asked.folder}; `make help` says what it can do.", flush=True)
    os.chdir(asked.folder)
    checked([DEFAULT, *([] if asked.config == "config" else [Path(f"config/{asked.config}.yaml")])])
    os.execv(sys.executable, [*command, *(["--dry-run"] if asked.dry_run else [])])


def cores(text: str) -> str:
    """Return a number of cores.

    Raises:
        ArgumentTypeError: it is neither a whole number of at least 1 nor "all".
    """
    if text != "all" and not re.fullmatch("0*[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(
            f"{printable(text)!r}: expected a whole number of at least 1, or all"
        )
    return text


def make_folder(folder: Path, project: Path = PROJECT) -> None:
    """Copy the workflow into a new folder; leave one that has it as it is.

    Raises:
        ConfigError: The folder holds something else, or the package is a checkout.
    """
    if (folder / SNAKEFILE).is_file():
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"{folder} has files, but no {SNAKEFILE}; name a new folder.")
    if not project.is_dir():
        raise ConfigError("this is a checkout, not an installed package; run `make demo` in it.")
    # pip compiles whatever Python it installs
    left_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(project, folder, dirs_exist_ok=True, ignore=left_out)


def snakemake(folder: Path, config: str, cores: str) -> list[str]:
    """Return the command that runs a configuration in its folder.

    Raises:
        UnknownNameError: `config` is no file of the folder `config`.
    """
    known = {path.stem for path in folder.glob("config/*.yaml")}
    if config not in known:
        raise UnknownNameError(unknown_name("configuration", config, known))
    command = [sys.executable, "-m", "snakemake", "--cores", cores]
    command += ["--workflow-profile", "workflow/profiles/local"]
    # config.yaml is always read first
    return command + ([] if config == "config" else ["--configfile", f"config/{config}.yaml"])
