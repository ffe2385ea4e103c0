"""Audit what the hub serves for every checkpoint, before the first one is downloaded."""

import logging

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.errors import HubError
from circuitlapse.hub.audit import PLACE, Asked, known_audit, named_records, write_json
from circuitlapse.hub.retry import RetryPolicy
from circuitlapse.plan.audited import left_out, warnings

params = snakemake.params
with recorded_job(snakemake) as log:
    asked = [Asked(**{name: one[name] for name in PLACE}) for one in params.asked]
    retry = RetryPolicy.configured(snakemake.config)
    records = known_audit(asked, params.found, params.listings, retry=retry)
    said = warnings(records, params.duplicates)
    out = left_out(records, params.duplicates)
    if out != [tuple(place) for place in params.left_out]:
        raise HubError(
            "\n".join(
                [*said, "No weights were downloaded. Run the same command again without them."]
            )
        )
    for line in said:
        log.log(logging.INFO if out else logging.WARNING, line)  # the start has said what is out
    write_json(snakemake.output[0], named_records(records, params.asked))
