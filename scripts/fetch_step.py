"""Get one checkpoint of a published model, from a hub or from a local folder."""

from circuitlapse.jobs import job_logging
from circuitlapse.hub import fetch_snapshot, link_snapshot
from circuitlapse.hub.audit import found_revision

source = snakemake.params.source
with job_logging(snakemake.log[0]) as log:
    if "folder" in source:
        link_snapshot(source["folder"], snakemake.output[0])
    else:
        where = snakemake.wildcards.model, int(snakemake.wildcards.step)
        revision = found_revision(snakemake.input.audited, *where) or source["revision"]
        weights = source.get("weights", "")
        fetch_snapshot(source["repo"], revision, snakemake.output[0], weights=weights)
    log.info("%s is complete", snakemake.output[0])
