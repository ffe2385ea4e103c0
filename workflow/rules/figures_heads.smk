"""One rule per figure about attention heads."""


rule plot_components:
    input:
        components=PATHS.table.format(table="components"),
    output:
        pdf=PATHS.figure_pdf.format(figure="components"),
        png=report(
            PATHS.figure_png.format(figure="components"),
            caption="../report/components.rst",
            category="Figures",
            labels={"figure": "heads over training, by three rules"},
        ),
    log:
        f"{PATHS.logs}/plot_components.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_components.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(20),
    params:
        labels=LABELS,
        tasks=TASKS,
        length=CONFIG.heads.length,
        min_step=CONFIG.figures.min_step,
    message:
        "Draw the figure about heads by three rules"
    script:
        "../../scripts/plot_components.py"


rule plot_components_per_model:
    input:
        components=PATHS.table.format(table="components"),
    output:
        pdf=PATHS.figure_pdf.format(figure="components_per_model"),
        png=report(
            PATHS.figure_png.format(figure="components_per_model"),
            caption="../report/components_per_model.rst",
            category="Figures",
            labels={"figure": "heads of each model over training"},
        ),
    log:
        f"{PATHS.logs}/plot_components_per_model.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_components_per_model.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(20),
    params:
        labels=LABELS,
        tasks=TASKS,
        length=CONFIG.heads.length,
        min_step=CONFIG.figures.min_step,
    message:
        "Draw the figure about heads of each model"
    script:
        "../../scripts/plot_components_per_model.py"


rule plot_tertiary_heads:
    input:
        components=PATHS.table.format(table="components"),
    output:
        pdf=PATHS.figure_pdf.format(figure="tertiary_heads"),
        png=report(
            PATHS.figure_png.format(figure="tertiary_heads"),
            caption="../report/tertiary_heads.rst",
            category="Figures",
            labels={"figure": "induction, duplicate and previous-token heads"},
        ),
    log:
        f"{PATHS.logs}/plot_tertiary_heads.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_tertiary_heads.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(20),
    params:
        labels=LABELS,
        length=CONFIG.heads.length,
        min_step=CONFIG.figures.min_step,
    message:
        "Draw the figure about induction, duplicate and previous-token heads"
    script:
        "../../scripts/plot_tertiary_heads.py"


rule plot_ioi_components:
    input:
        components=PATHS.table.format(table="components"),
        s2i=PATHS.table.format(table="s2i"),
    output:
        pdf=PATHS.figure_pdf.format(figure="ioi_components"),
        png=report(
            PATHS.figure_png.format(figure="ioi_components"),
            caption="../report/ioi_components.rst",
            category="Figures",
            labels={"figure": "heads of the IOI circuit over training"},
        ),
    log:
        f"{PATHS.logs}/plot_ioi_components.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_ioi_components.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(20),
    params:
        labels=LABELS,
        task=IOI,
        min_step=CONFIG.figures.min_step,
    message:
        "Draw the figure about heads of the IOI circuit"
    script:
        "../../scripts/plot_ioi_components.py"
