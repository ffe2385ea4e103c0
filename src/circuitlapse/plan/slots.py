"""Slots on the GPUs of one machine: a job takes one, and sees no other GPU.

A slot is a file below the results that is locked as long as its job runs. The operating system
frees the lock when the process ends, however it ends. Where the file system of the results has no
locks (Lustre, NFS), the file is in the temporary folder of the machine. Jobs on a cluster have no
slots: the scheduler of the cluster gives each its GPU.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from circuitlapse.errors import ConfigError
from circuitlapse.settings.analysis import Compute

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs a process sees."""
SLOTS = "CIRCUITLAPSE_GPU_SLOTS"
"""The variable that tells jobs on this machine which slots there are."""
POLL_S = 0.5

_held: list[FileLock] = []
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slots:
    """The slots on the GPUs of this machine.

    Attributes:
        folder: where the locks are.
        gpus: names of GPUs, as in CUDA_VISIBLE_DEVICES.
        jobs_per_gpu: slots on each.
    """

    folder: str
    gpus: tuple[str, ...]
    jobs_per_gpu: int

    def __len__(self) -> int:
        """Return how many jobs can run at once."""
        return len(self.gpus) * self.jobs_per_gpu

    def tell_jobs(self) -> None:
        """Tell the processes that this one starts from now on."""
        os.environ[SLOTS] = json.dumps(asdict(self))

    @classmethod
    def told(cls) -> Slots | None:
        """Return the slots that this process was told of, or None."""
        if (text := os.environ.get(SLOTS)) is None:
            return None
        told = json.loads(text)
        return cls(told["folder"], tuple(told["gpus"]), told["jobs_per_gpu"])

    def take(self) -> str:
        """Wait for a free slot, keep it until this process ends, and return the name of its GPU.

        Raises:
            ConfigError: if no file can be locked, neither in `folder` nor in the temporary folder.
        """
        folder, waiting = _lockable(Path(self.folder)), False
        while True:
            for gpu, lock in self._locks(folder):
                try:
                    lock.acquire(blocking=False)
                except Timeout:
                    continue
                _held.append(lock)  # a lock is freed when nothing refers to it
                return gpu
            if not waiting:
                _log.info("waiting: all %d slots in %s are taken", len(self), folder)
                waiting = True
            time.sleep(POLL_S)

    def _locks(self, folder: Path) -> Iterator[tuple[str, FileLock]]:
        """Yield every slot: the first of each GPU, then the second of each."""
        for number in range(self.jobs_per_gpu):
            for gpu in self.gpus:
                name = f"{gpu.replace('/', '_')}.{number}.lock"
                yield gpu, FileLock(folder / name)


def _lockable(folder: Path) -> Path:
    """Return `folder`, or one of its own below the temporary folder if it cannot lock files."""
    if _can_lock(folder):
        return folder
    temporary = Path(tempfile.gettempdir())
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    other = temporary / f"circuitlapse-{os.getuid()}" / name
    if not _can_lock(other):
        raise ConfigError(
            f"jobs that share GPUs lock files, but neither {folder} nor {temporary} can lock "
            "files; set TMPDIR to a folder on a local disk"
        )
    _log.info("no file can be locked in %s; slots are in %s", folder, other)
    return other


def _can_lock(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def take_gpu(settings: Mapping[str, Any]) -> Compute:
    """Return the section `compute` of a job, and let its process see only the GPU of its slot.

    CUDA must not have started in this process. Without slots, and on a CPU, the job keeps what it
    has and shares it with no other.

    Args:
        settings: of the rule.

    Returns:
        The section, with the number of jobs on this GPU in `jobs_per_gpu`.
    """
    compute, slots = Compute(**settings), Slots.told()
    if compute.device == "cpu" or slots is None:
        return compute.model_copy(update={"jobs_per_gpu": 1})
    os.environ[VISIBLE] = slots.take()
    _log.info("on GPU %s, jobs that share it: %d", os.environ[VISIBLE], slots.jobs_per_gpu)
    return compute.model_copy(update={"jobs_per_gpu": slots.jobs_per_gpu})
