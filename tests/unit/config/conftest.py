"""A valid configuration, and the errors in what is put on top of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_config
from snakemake.utils import update_config

from circuitlapse.config import load_config
from circuitlapse.errors import ConfigError

BASE = """
seed: 3
steps: [0, 10]
models:
  - name: tiny
    train: {layers: 2, heads: 2, d_model: 32}
training:
  phases: [{steps: 30}]
  save_steps: [0, 10, 20]
tasks:
  - name: ioi
circuits: {threshold: 0.8}
"""


def _load(texts: dict[str, str], command_line: list[str]):
    """Write the files and load them as Snakemake would: by its own merging and parsing."""
    merged: dict = {}
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
        values = yaml.safe_load(text)
        update_config(merged, values if isinstance(values, dict) else {})
    update_config(merged, parse_config(command_line))
    return load_config(merged, [Path(name) for name in texts])


@pytest.fixture
def load(tmp_path, monkeypatch) -> Callable:
    """Load `user.yaml` with this text, on top of the valid `base.yaml`."""
    monkeypatch.chdir(tmp_path)
    return lambda text="", *command_line, base=BASE: _load(
        {"base.yaml": base, "user.yaml": text}, list(command_line)
    )


@pytest.fixture
def errors(load) -> Callable:
    """Return the lines of the error that `load` raises."""

    def lines(*args, **options) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(*args, **options)
        return str(caught.value).splitlines()

    return lines
