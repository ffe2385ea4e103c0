"""Build the explorer, one HTML page to look into all circuits of a run, from its tables."""

from circuitlapse.manifest.job_record import recorded_job
from circuitlapse.explorer.bundle import page
from circuitlapse.explorer.run_data import Described, document
from circuitlapse.io.atomic import atomic_path
from circuitlapse.io.table_files import read_table
from circuitlapse.schemas import SCHEMAS

with recorded_job(snakemake) as log:
    given = dict(snakemake.params.items())
    tables = {name: read_table(path, SCHEMAS[name]) for name, path in snakemake.input.items()}
    models = {name: Described(*about) for name, about in given.pop("models").items()}
    text = page(document(tables, models=models, **given))
    with atomic_path(snakemake.output.page) as scratch:
        scratch.write_text(text, encoding="utf-8")
    log.info("built %s, %.1f MB", snakemake.output.page, len(text) / 1e6)
