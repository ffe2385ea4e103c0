"""Get the tokenizer of the first model, from a hub or from a local folder."""

from circuitlapse.jobs import job_logging
from circuitlapse.hub import RetryPolicy, copy_tokenizer, fetch_tokenizer

source = snakemake.params.source
with job_logging(snakemake.log[0]) as log:
    if "folder" in source:
        copy_tokenizer(source["folder"], snakemake.output[0])
    else:
        retry = RetryPolicy.configured(snakemake.config)
        fetch_tokenizer(source["repo"], source["revision"], snakemake.output[0], retry=retry)
    log.info("tokenizer of %s", " at ".join(source.values()))
