"""Circuitlapse: a time-lapse of circuits across training and scale. Stages from top to bottom."""

from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/tasks.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/circuits.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"


localrules:
    all,
    models,
    activations,
    circuits,
    tables,
    figures,


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
