"""Say what a configuration costs; run it in the root of the repository.

python -m circuitlapse.plan [FILE] [--gpu NAME]

FILE is read on top of config/config.yaml. Nothing is run, fetched or written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from circuitlapse.config.__main__ import DEFAULT, checked
from circuitlapse.config.schema import Config
from circuitlapse.errors import UnknownNameError
from circuitlapse.plan.hardware import Gpu, Machine, gpu_called
from circuitlapse.plan.stages import activations_gb, checkpoints_gb, download_gb, stages


def main() -> None:
    """Do what the module docstring says."""
    parser = argparse.ArgumentParser(prog="python -m circuitlapse.plan", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", nargs="*", type=Path)
    parser.add_argument("--gpu", default="a100", help="such as a100, h100 or rtx4090")
    asked = parser.parse_args()
    try:
        gpu = gpu_called(asked.gpu)
        print(report(checked([DEFAULT, *asked.file]), gpu, name=asked.gpu))
    except UnknownNameError as error:
        sys.exit(f"UnknownNameError: {error}")


def report(config: Config, gpu: Gpu, *, name: str) -> str:
    """Return the plan as text: a table per stage and model, and what it sums up to."""
    frame = pd.DataFrame(stages(config, Machine.of(gpu)))
    by_rule = frame.groupby("rule", sort=False).agg(
        jobs=("jobs", "sum"), hours=("hours", "sum"), ram_gb=("ram_gb", "max"),
        gpu_gb=("gpu_gb", "max"),
    )  # fmt: skip
    by_model = frame.groupby("model", sort=False)["hours"].sum().rename(f"hours on one {name}")
    fetched = download_gb(config)
    lines = [
        f"One {name}: {gpu.memory_gb:g} GB, {gpu.tflops:g} TFLOP/s in float32.",
        "",
        by_rule.to_string(float_format="{:.1f}".format),
        "",
        by_model.to_frame().to_string(float_format="{:.1f}".format),
        "",
        f"Together {frame['hours'].sum():.1f} GPU-hours; tables and figures take minutes.",
        f"Downloads: {_size(fetched) if fetched else 'none'}; on the disk at once at most "
        f"{_size(checkpoints_gb(config))} of checkpoints, {_size(activations_gb(config))} of "
        "activations.",
    ]
    if any(model.train for model in config.models):
        lines.append("Not counted: training on the CPU, one job per model.")
    if large := _too_large(frame, gpu):
        lines.append(f"Too large for this GPU: {', '.join(large)}.")
    return "\n".join([*lines, "An estimate, good to a factor of two; docs/plan.md says how."])


def _size(gb: float) -> str:
    return f"{gb:.0f} GB" if gb >= 1 else f"{1000 * gb:.0f} MB"


def _too_large(frame: pd.DataFrame, gpu: Gpu) -> list[str]:
    """Return the models that do not fit, each with the rules if only some are too large."""
    named = []
    for model, rows in frame.groupby("model", sort=False):
        rules = list(rows.loc[rows["gpu_gb"] > gpu.usable_gb, "rule"])
        if rules:
            named.append(str(model) if len(rules) == len(rows) else f"{model} ({', '.join(rules)})")
    return named


if __name__ == "__main__":
    main()
