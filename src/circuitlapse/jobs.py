"""What every script needs around its one library call: a log."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
