"""Get one checkpoint of a published model, from a hub or from a local folder."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.hub import RetryPolicy, fetch_snapshot, link_snapshot
from circuitlapse.hub.audit import found_revision
from circuitlapse.io.weight_files import keep_fingerprint

source, (folder, weights) = snakemake.params.source, snakemake.output
with recorded_job(snakemake) as log:
    if "folder" in source:
        link_snapshot(source["folder"], folder)
    else:
        place = snakemake.wildcards.model, int(snakemake.wildcards.step)
        revision = found_revision(snakemake.input.audited, *place) or source["revision"]
        retry = RetryPolicy.configured(snakemake.config)
        weights_in = source.get("weights", "")
        fetch_snapshot(source["repo"], revision, folder, weights=weights_in, retry=retry)
    keep_fingerprint(folder, weights, snakemake.params.where)
    log.info("%s is complete", folder)
