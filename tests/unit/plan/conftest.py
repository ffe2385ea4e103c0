"""Configurations of the repository, and the published sizes of models."""

from __future__ import annotations

from pathlib import Path

import yaml

from circuitlapse.config import load_config
from circuitlapse.plan.hardware import Machine, find_gpu
from circuitlapse.plan.stages import Stage, stages
from circuitlapse.settings.analysis import Compute

PUBLISHED = {
    "70m": 70_426_624,
    "160m": 162_322_944,
    "410m": 405_334_016,
    "1b": 1_011_781_632,
    "1.4b": 1_414_647_808,
    "2.8b": 2_775_208_960,
    "6.9b": 6_857_302_016,
    "12b": 11_846_072_320,
}
"""Parameters, from the table in the README of EleutherAI/pythia."""


def config_of(root: Path, name: str, **changes):
    files = [root / "config/config.yaml", root / f"config/{name}.yaml"]
    merged = {}
    for file in files:
        merged |= yaml.safe_load(file.read_text())
    return load_config(merged | changes, files)


def of_model(root: Path, model: str) -> list[Stage]:
    found = stages(config_of(root, "pythia"), Machine.of(find_gpu("h100"), Compute()))
    return [stage for stage in found if stage.model == model]
