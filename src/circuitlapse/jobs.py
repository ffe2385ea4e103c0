"""What every script needs around its one library call: a log. To be imported first."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from circuitlapse.errors import CircuitlapseError

# Looking for garbage after every 700 new objects takes a fifth of the time of importing PyTorch,
# transformers and TransformerLens, which is most of the time of a small job.
gc.set_threshold(100_000)


@contextmanager
def job_logging(path: str | Path) -> Iterator[logging.Logger]:
    """Send log records, warnings and an uncaught exception to the job's log file.

    The terminal sees our own warnings, and the message of an exception. An exception that we
    raise on purpose says all there is to say; of any other, the log has the traceback.
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
