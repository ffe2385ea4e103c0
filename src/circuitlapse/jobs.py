"""The log of a job and its progress. Scripts import this module first: see the end of it."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tqdm import tqdm

from circuitlapse.errors import CircuitlapseError

Item = TypeVar("Item")

EVERY_S = 5.0


class _LogStream:
    """The file that tqdm writes to: each of its updates becomes a log record."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._last = ""

    def write(self, text: str) -> None:
        """Log `text` unless it only moves the cursor or repeats the last line."""
        line = text.strip()
        if line and line != self._last:
            self._last = line
            self._log.info(line)

    def flush(self) -> None:
        """Do nothing: no text is buffered."""


def progress(
    items: Iterable[Item],
    what: str,
    *,
    log: logging.Logger,
    total: int | None = None,
    every_s: float = EVERY_S,
) -> tqdm[Item]:
    """Iterate over `items`; every `every_s` seconds, log how many are done and the time left.

    `total` is the number of items when `items` has no length. Call
    `set_postfix_str(..., refresh=False)` of the returned bar to add text to the next line.
    """
    return tqdm(
        items,
        desc=what,
        total=total,
        bar_format="{desc}: {n_fmt}/{total_fmt}, {elapsed} elapsed, ETA {remaining}{postfix}",
        **_to_log(log, every_s),
    )


def byte_progress(
    n_bytes: int, what: str, *, log: logging.Logger, every_s: float = EVERY_S
) -> tqdm[NoReturn]:
    """Return a bar that logs the bytes done, the rate and the time left every `every_s` seconds.

    Call its `update(n)` after every `n` bytes. A transfer shorter than `every_s` logs nothing.
    """
    return tqdm(
        desc=what,
        total=n_bytes,
        unit="B",
        unit_scale=True,
        delay=every_s,
        bar_format="{desc}: {n_fmt}B/{total_fmt}B, {elapsed} elapsed, {rate_fmt}, ETA {remaining}",
        **_to_log(log, every_s),
    )


def _to_log(log: logging.Logger, every_s: float) -> dict[str, Any]:
    return {"file": _LogStream(log), "mininterval": every_s, "maxinterval": every_s}


@contextmanager
def job_logging(path: str | Path) -> Iterator[logging.Logger]:
    """Send log records, warnings and an uncaught exception to the job's log file.

    The terminal shows only the library's own warnings and the message of an exception. The log
    adds the traceback, except for a `CircuitlapseError`, whose message says everything.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    log = logging.getLogger("circuitlapse")
    log.setLevel(logging.INFO)
    terminal = logging.StreamHandler()
    terminal.addFilter(lambda record: record.levelno == logging.WARNING)
    terminal.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.addHandler(terminal)
    try:
        yield log
    except CircuitlapseError as error:
        log.error("%s: %s", type(error).__name__, error)
        sys.exit(f"{type(error).__name__}: {error}")
    except Exception as error:
        log.exception("failed")
        sys.exit(f"{type(error).__name__}: {error}\n(traceback in {path})")
    finally:
        logging.captureWarnings(False)
        log.removeHandler(terminal)
        root.removeHandler(handler)
        handler.close()


# With Python's default (a collection after every 700 new objects), garbage collection takes a
# fifth of the time of importing PyTorch, transformers and TransformerLens, which is most of the
# time of a small job. Snakemake defines `snakemake` in the main module of a job; the session of
# somebody who uses the library keeps its own threshold.
if hasattr(sys.modules["__main__"], "snakemake"):
    gc.set_threshold(100_000)
