"""The log of a job, its progress, and what it took.

Scripts import this module first: see the end of it.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from tqdm import tqdm

from circuitlapse.errors import CircuitlapseError
from circuitlapse.paths import timings_of
from circuitlapse.redaction import install, redact, show_exception

Item = TypeVar("Item")

EVERY_S = 5.0
STOPPED = "stopped by Ctrl-C"
GC_THRESHOLD = 100_000
"""How many new objects start a garbage collection in a job. With Python's default of 700, that
takes a fifth of the time of importing PyTorch, transformers and TransformerLens."""


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
    done: int = 0,
    every_s: float = EVERY_S,
) -> tqdm[Item]:
    """Iterate over `items`; every `every_s` seconds, log how many are done and the time left.

    `total` is the number of items when `items` has no length, and `done` how many of them an
    earlier attempt has done, which `items` does not repeat. Call
    `set_postfix_str(..., refresh=False)` of the returned bar to add text to the next line.
    """
    return tqdm(
        items,
        desc=what,
        total=total,
        initial=done,
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
    adds the traceback, except for a `CircuitlapseError`, whose message says everything. At its
    end, what the job took is written to the file that `timings_of` names.
    """
    timings = timings_of(path)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    except OSError as error:
        sys.exit(f"ArtifactError: {path}: cannot be written: {error.strerror}")
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
    except KeyboardInterrupt:
        log.error(STOPPED)
        sys.exit(f"{STOPPED}: {path}")
    except CircuitlapseError as error:
        log.error("%s: %s", type(error).__name__, error)
        sys.exit(redact(f"{type(error).__name__}: {error}"))
    except Exception as error:
        log.exception("failed")
        sys.exit(redact(f"{type(error).__name__}: {error}\n(traceback in {path})"))
    else:
        try:
            _write_timings(timings)
        except OSError as error:  # the outputs are complete
            log.warning("%s: cannot be written: %s", timings, error.strerror)
    finally:
        logging.captureWarnings(False)
        log.removeHandler(terminal)
        root.removeHandler(handler)
        handler.close()


def show_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an error that ends a job outside of `job_logging`: while it imports, for example."""
    if issubclass(kind, KeyboardInterrupt):
        print(STOPPED, file=sys.stderr)
    else:
        show_exception(kind, error, trace)


_started_s: float
"""When this process started, on the monotonic clock."""


def _note_start() -> None:
    """Note when this process started, if it was busy until now."""
    global _started_s
    _started_s = time.monotonic() - time.process_time()


def _write_timings(path: Path) -> None:
    """Write what this process and its children took since it started, imports included.

    The columns have the names and units of Snakemake's benchmarks: wall seconds, CPU seconds of
    user and system, and the peak memory of one process in MB.
    """
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    wall_s = time.monotonic() - _started_s
    cpu_s = sum(one.ru_utime + one.ru_stime for one in used)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak_mb = max(one.ru_maxrss for one in used) / unit
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tcpu_time\tmax_rss\n{wall_s:.2f}\t{cpu_s:.2f}\t{peak_mb:.1f}\n")


install()
_note_start()
os.register_at_fork(after_in_child=_note_start)
# Snakemake defines `snakemake` in the main module of a job; the session of somebody who uses the
# library keeps its own threshold and its tracebacks.
if hasattr(sys.modules["__main__"], "snakemake"):
    gc.set_threshold(GC_THRESHOLD)
    sys.excepthook = show_error
