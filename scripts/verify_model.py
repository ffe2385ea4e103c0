"""Compare a model with TransformerLens at one step, before it is analysed."""

from dataclasses import asdict

import torch

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.provenance import notes_on, provenance, weights_hash, write_provenance
from circuitlapse.models.verify import verify_model

given, params = snakemake.input, snakemake.params
with recorded_job(snakemake) as log:
    torch.set_num_threads(1)
    found = verify_model(given.model)
    rounding = f"logits differ by at most {found.difference:.1g} of the largest"
    log.info("%s on %d prompts: %s", found.judge, found.n_prompts, rounding)
    inputs = {"weights": weights_hash(given.model)}
    origin = provenance(inputs, dict(params.items()), stage="verification", script=__file__)
    record = asdict(found) | {"step": params.step} | origin | notes_on(given.model)
    with atomic_path(snakemake.output[0]) as scratch:
        write_provenance(scratch, record)
