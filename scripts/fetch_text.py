"""Download documents of a dataset, the running text that heads are scored on."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.hub.fetch import dataset_texts, record_fetched
from circuitlapse.io.corpus_files import write_documents

params = snakemake.params
with recorded_job(snakemake) as log:
    texts = dataset_texts(
        params.dataset, n_documents=params.n_documents, min_letters=params.min_letters
    )
    write_documents(snakemake.output[0], texts)
    record_fetched(snakemake.output[1], snakemake.output[0], dict(params.items()))
    log.info("%d documents of %s", len(texts), params.dataset)
