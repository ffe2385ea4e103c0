"""Load the configuration, check it across its sections, and report every problem at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitlapse.config.problems import as_line, found_problems
from circuitlapse.config.schema import Config
from circuitlapse.config.sources import command_line, merged_values, place, read_sources
from circuitlapse.errors import ConfigError


def load_config(merged: Mapping[str, Any], files: Sequence[Path]) -> Config:
    """Check the configuration and fill in every default.

    Args:
        merged: The values of all files and of `--config`, merged by Snakemake: mappings are
            merged, any other value is replaced by the later one.
        files: The files that it came from; a later file overrides an earlier one.

    Raises:
        ConfigError: Something is wrong. The message has one line per problem, in the order of
            the files: who set the key, the key, the value found, the values allowed.
    """
    files_read = read_sources(files)
    sources = [*files_read, command_line(merged, files_read)]
    config, problems = found_problems(merged_values(sources))
    places = [place(problem.where, sources) for problem in problems]
    in_order = sorted(zip(places, problems, strict=True), key=lambda pair: pair[0])
    lines = [source.mistake for source in sources if source.mistake]
    lines += [f"{sources[rank].name}: {as_line(problem)}" for (rank, _), problem in in_order]
    if lines or config is None:
        raise ConfigError("\n".join(lines))
    return config.filled_in()
