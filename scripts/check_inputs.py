"""Check the text for heads before models are trained or fetched. The prompts are made already."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.io.corpus_files import read_documents, read_tokenizer, refuse_short_text

given, params = snakemake.input, snakemake.params
with recorded_job(snakemake) as log:
    if text := given.get("text"):
        documents = read_documents(text, read_tokenizer(given.tokenizer))
        refuse_short_text(text, documents, **params)
        log.info("%s: %d documents", text, len(documents))
