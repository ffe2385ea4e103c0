"""Run a script as Snakemake does, in this process."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.iocontainers import Namedlist


class Named(dict[str, Any]):
    """Values by name, like `snakemake.params`."""

    __getattr__ = dict.__getitem__


def as_text(paths: Any) -> Any:
    """Return paths as text and as the list with names that Snakemake passes to a script."""
    if isinstance(paths, list):
        return [str(path) for path in paths]
    given = Namedlist()
    for name, value in paths.items():
        several, start = isinstance(value, list), len(given)
        given.extend(as_text(value) if several else [str(value)])
        given._set_name(name, start, end=len(given) if several else None)
    return given


@pytest.fixture
def run_script(root: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs `scripts/NAME.py` and returns its log; `output` is a list, or values by name."""

    def run(
        name: str, *, inputs: dict[str, Any], output: Any, params: dict[str, Any], rule: str = ""
    ) -> str:
        log = tmp_path / f"logs/{name}.log"
        given = SimpleNamespace(
            input=as_text(inputs), output=as_text(output), params=Named(params), log=[str(log)]
        )
        given.config = {"checkpoints": {"slowest_kb_s": 40}}
        given.rule = rule or name
        runpy.run_path(str(root / "scripts" / f"{name}.py"), {"snakemake": given})
        return log.read_text()

    return run
