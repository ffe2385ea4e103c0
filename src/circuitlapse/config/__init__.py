"""Load the configuration, check it across its sections, and report every problem at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitlapse.config.problems import as_line, found_problems
from circuitlapse.config.schema import Config
from circuitlapse.config.sources import (
    Source,
    command_line,
    merged_values,
    place,
    read_sources,
)
from circuitlapse.errors import ConfigError, printable
from circuitlapse.redaction import redact
from circuitlapse.settings.environment import problems_of

LISTED = 50
"""At most this many problems are listed."""


def load_config(merged: Mapping[Any, Any], files: Sequence[Path]) -> Config:
    """Check the configuration and fill in every default.

    Args:
        merged: The values of all files and of `--config`, merged by Snakemake: mappings are
            merged, any other value is replaced by the later one.
        files: The files that it came from; a later file overrides an earlier one.

    Raises:
        ConfigError: Something is wrong. The message has one line per problem, in the order of
            the files: who set the key, the key, the value found, the values allowed. If a file
            cannot be used, nothing else is checked. Variables of the environment that are wrong
            are in it, too. Secrets, such as a token in an address, are not repeated.
    """
    files_read = read_sources(files)
    _refuse_unusable(files_read)
    sources = [*files_read, command_line(merged, files_read)]
    _refuse_unusable(sources)
    config, problems = found_problems(merged_values(sources))
    places = [place(problem.where, sources) for problem in problems]
    in_order = sorted(zip(places, problems, strict=True), key=lambda pair: pair[0])
    lines = [f"{sources[rank].name}: {as_line(problem)}" for (rank, _), problem in in_order]
    lines += problems_of(os.environ, hub=config is not None and config.asks_a_hub)
    if lines or config is None:
        more = [f"and more than these {LISTED}"] if len(lines) > LISTED else []
        raise ConfigError(redact("\n".join([*lines[:LISTED], *more])))
    return config.filled_in()


def _refuse_unusable(sources: Sequence[Source]) -> None:
    if mistakes := [printable(source.mistake) for source in sources if source.mistake]:
        raise ConfigError(redact("\n".join(mistakes)))
