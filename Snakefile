"""Circuitlapse: a time-lapse of circuits across training and scale. Stages from top to bottom."""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


# from another folder that has no such file: the one beside this Snakefile
CONFIG_FILE = Path("config/config.yaml")


configfile: str(CONFIG_FILE if CONFIG_FILE.exists() else workflow.basedir / CONFIG_FILE)


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/hub.smk" if PUBLISHED else "workflow/rules/pocket.smk"
include: "workflow/rules/tasks.smk"
include: "workflow/rules/steps.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"


localrules:
    all,
    models,
    activations,
    circuits,
    heads,
    algorithms,
    transfer,
    swaps,
    tables,
    figures,


onsuccess:
    if said := where_to_look():
        print(said, file=sys.stderr)


rule models:
    input:
        per_step(PATHS.model, CONFIG.models),
        tokenizer=PATHS.tokenizer.format(suite=CONFIG.suite),
        text=text_for_heads,
    message:
        "All models are there, their tokenizer, and text for their heads"


rule activations:
    input:
        kept_activations(),
    message:
        "All activations that activations.keep asks for are there"


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.activations.input,
    message:
        "All tables and figures are there"
