"""Circuitlapse: a time-lapse of circuits across training and scale. Stages from top to bottom."""

import sys
from os.path import relpath
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


# a working directory without this file takes the one beside this Snakefile
CONFIG_FILE = Path("config/config.yaml")


configfile: str(CONFIG_FILE if CONFIG_FILE.exists() else workflow.basedir / CONFIG_FILE)


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/hub.smk" if PLAN.published else "workflow/rules/pocket.smk"
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
    if took := TIMES.table():
        print(took, file=sys.stderr)
    files = [relpath(file) for file in workflow.config_settings.configfiles]
    if text := where_to_look(expand(PATHS.figure_png, figure=FIGURES), files):
        print(text, file=sys.stderr)


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.activations.input,
    message:
        "All tables and figures are complete"
