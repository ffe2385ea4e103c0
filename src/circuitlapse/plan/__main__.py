"""Estimate what a configuration costs. Run this in the root of the repository.

python -m circuitlapse.plan [FILE] [--gpu NAME]

FILE overrides keys of config/config.yaml. Nothing is run, downloaded or written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from circuitlapse.config.__main__ import DEFAULT, checked
from circuitlapse.config.schema import Config
from circuitlapse.errors import UnknownNameError
from circuitlapse.plan.hardware import Gpu, Machine, find_gpu
from circuitlapse.plan.stages import (
    activations_gb,
    checkpoints_gb,
    download_gb,
    jobs_per_gpu,
    stages,
)


def main() -> None:
    """Print the plan of a configuration."""
    parser = argparse.ArgumentParser(prog="python -m circuitlapse.plan", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", nargs="*", type=Path)
    parser.add_argument("--gpu", default="a100", help="such as a100, h100 or rtx4090")
    arguments = parser.parse_args()
    try:
        gpu = find_gpu(arguments.gpu)
        print(report(checked([DEFAULT, *arguments.file]), gpu, name=arguments.gpu))
    except UnknownNameError as error:
        sys.exit(f"UnknownNameError: {error}")


def report(config: Config, gpu: Gpu, *, name: str) -> str:
    """Return the plan as text: tables by rule and by model, and the totals."""
    frame = pd.DataFrame(stages(config, Machine.of(gpu, config.compute)))
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
        f"Total: {frame['hours'].sum():.1f} GPU hours; tables and figures take minutes.",
        f"Downloads: {_size(fetched) if fetched else 'none'}. Disk space at once: at most "
        f"{_size(checkpoints_gb(config))} of checkpoints and {_size(activations_gb(config))} of "
        "activations.",
    ]
    if any(model.train for model in config.models):
        lines.append("Not included: training on the CPU, one job per model.")
    if (verify := config.checkpoints.verify) != "none":
        per = "checkpoint" if verify == "all" else "model"
        lines.append(f"Not included: verification on the CPU, one job per {per}.")
    shared = jobs_per_gpu(config, gpu.memory_gb)
    lines.append(f"Jobs at once on one GPU (compute.jobs_per_gpu: auto): {shared}.")
    if large := _too_large(frame, gpu):
        lines.append(f"Too large for this GPU: {', '.join(large)}.")
    return "\n".join([*lines, "These are estimates, good to a factor of two; see docs/plan.md."])


def _size(gb: float) -> str:
    return f"{gb:.0f} GB" if gb >= 1 else f"{1000 * gb:.0f} MB"


def _too_large(frame: pd.DataFrame, gpu: Gpu) -> list[str]:
    """Return the models that do not fit, with the rules if only some do not."""
    named = []
    for model, rows in frame.groupby("model", sort=False):
        rules = list(rows.loc[rows["gpu_gb"] > gpu.usable_gb, "rule"])
        if rules:
            named.append(str(model) if len(rules) == len(rows) else f"{model} ({', '.join(rules)})")
    return named


if __name__ == "__main__":
    main()
