"""What every script needs around its one library call: a log and visible progress."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


@contextmanager
def job_logging(path: str | Path) -> Iterator[logging.Logger]:
    """Send log records, warnings and an uncaught exception to the job's log file.

    The terminal only sees the one line of an exception that we raise on purpose; its
    traceback, like that of any other, is in the log.
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
    try:
        yield log
    except Exception as error:
        log.exception("failed")
        sys.exit(f"{type(error).__name__}: {error}\n(traceback in {path})")
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        handler.close()


class _LogStream:
    """The part of a file that tqdm needs; each of its updates becomes a log record."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._last = ""

    def write(self, text: str) -> None:
        """Log `text` unless it is only cursor movement or what was just said."""
        line = text.strip()
        if line and line != self._last:
            self._last = line
            self._log.info(line)

    def flush(self) -> None:
        """Nothing is buffered."""


def progress(
    items: Sequence[Item], what: str, *, log: logging.Logger, every_s: float = 5.0
) -> Iterable[Item]:
    """Pass `items` on, and log how many are done and the time left every `every_s` seconds."""
    return tqdm(
        items,
        desc=what,
        file=_LogStream(log),
        mininterval=every_s,
        maxinterval=every_s,
        bar_format="{desc}: {n_fmt}/{total_fmt}, {elapsed} elapsed, ETA {remaining}",
    )
