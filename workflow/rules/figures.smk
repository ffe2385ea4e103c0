"""One rule per figure."""


rule plot_behaviour:
    input:
        behaviour=PATHS.table.format(table="behaviour"),
    output:
        pdf=PATHS.figure_pdf.format(figure="behaviour"),
        png=report(
            PATHS.figure_png.format(figure="behaviour"),
            caption="../report/behaviour.rst",
            category="Figures",
            labels={"figure": "abilities over training"},
        ),
    log:
        f"{PATHS.logs}/plot_behaviour.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_behaviour.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        labels=LABELS,
        tasks=TASKS,
        min_step=CONFIG.figures.min_step,
    message:
        "Draw the figure about abilities over training"
    script:
        "../../scripts/plot_behaviour.py"


rule plot_circuits:
    input:
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="circuits"),
        png=report(
            PATHS.figure_png.format(figure="circuits"),
            caption="../report/circuits.rst",
            category="Figures",
            labels={"figure": "circuit size and faithfulness over training"},
        ),
    log:
        f"{PATHS.logs}/plot_circuits.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_circuits.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        labels=LABELS,
        tasks=TASKS,
        threshold=CONFIG.circuits.threshold,
        min_step=CONFIG.figures.min_step,
    message:
        "Draw the figure about circuits over training"
    script:
        "../../scripts/plot_circuits.py"


rule plot_faithfulness:
    input:
        curve=PATHS.table.format(table="faithfulness_curve"),
        rankings=PATHS.table.format(table="ranking_curve"),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="faithfulness"),
        png=report(
            PATHS.figure_png.format(figure="faithfulness"),
            caption="../report/faithfulness.rst",
            category="Figures",
            labels={"figure": "faithfulness against circuit size"},
        ),
    log:
        f"{PATHS.logs}/plot_faithfulness.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_faithfulness.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        labels=LABELS,
        tasks=TASKS,
        threshold=CONFIG.circuits.threshold,
    message:
        "Draw the figure about faithfulness against circuit size"
    script:
        "../../scripts/plot_faithfulness.py"


rule figures:
    input:
        expand(PATHS.figure_pdf, figure=FIGURES),
        expand(PATHS.figure_png, figure=FIGURES),
        diagrams(PATHS.diagram_pdf),
        diagrams(PATHS.diagram_png),
    message:
        "All figures are there"
