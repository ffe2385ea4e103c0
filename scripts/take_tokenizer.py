"""Get the tokenizer of the first model, from a hub or from a local folder."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.hub import RetryPolicy, copy_tokenizer, fetch_tokenizer
from circuitlapse.hub.fetch import record_fetched

source = snakemake.params.source
with recorded_job(snakemake) as log:
    if "folder" in source:
        origin = copy_tokenizer(source["folder"], snakemake.output[0])
    else:
        retry = RetryPolicy.configured(snakemake.config)
        repo, revision = source["repo"], source["revision"]
        origin = fetch_tokenizer(repo, revision, snakemake.output[0], retry=retry)
    record_fetched(snakemake.output[1], snakemake.output[0], origin)
    log.info("tokenizer of %s", " at ".join(source.values()))
