"""Get one checkpoint of a published model, from a hub or from a local folder."""

from circuitlapse.jobs import job_logging
from circuitlapse.hub import fetch_snapshot, link_snapshot

source = snakemake.params.source
with job_logging(snakemake.log[0]) as log:
    if "folder" in source:
        link_snapshot(source["folder"], snakemake.output[0])
    else:
        where = source["repo"], source["revision"], snakemake.output[0]
        fetch_snapshot(*where, weights=source.get("weights", ""))
    log.info("%s is complete", snakemake.output[0])
