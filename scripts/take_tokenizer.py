"""Take the tokenizer of a suite from its first checkpoint."""

import shutil
from pathlib import Path

from circuitlapse.io.atomic import atomic_path
from circuitlapse.jobs import job_logging

with job_logging(snakemake.log[0]) as log:
    source = Path(snakemake.input[0]) / "tokenizer.json"
    with atomic_path(snakemake.output[0]) as scratch:
        shutil.copyfile(source, scratch)
    log.info("copied %s", source)
