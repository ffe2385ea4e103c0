"""One rule per figure about circuits over training, scale and seeds."""


rule plot_stability:
    input:
        stability=PATHS.table.format(table="stability"),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="stability"),
        png=report(
            PATHS.figure_png.format(figure="stability"),
            caption="../report/stability.rst",
            category="Figures",
            labels={"figure": "stability of circuits"},
        ),
    log:
        f"{PATHS.logs}/plot_stability.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_stability.tsv"
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
        "Draw the figure about how nodes of circuits change"
    script:
        "../../scripts/plot_stability.py"


rule plot_stability_edges:
    input:
        stability=PATHS.table.format(table="stability"),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="stability_edges"),
        png=report(
            PATHS.figure_png.format(figure="stability_edges"),
            caption="../report/stability_edges.rst",
            category="Figures",
            labels={"figure": "stability of circuits, edges"},
        ),
    log:
        f"{PATHS.logs}/plot_stability_edges.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_stability_edges.tsv"
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
        "Draw the figure about how edges of circuits change"
    script:
        "../../scripts/plot_stability_edges.py"


rule plot_stability_reference:
    input:
        stability=PATHS.table.format(table="stability"),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="stability_reference"),
        png=report(
            PATHS.figure_png.format(figure="stability_reference"),
            caption="../report/stability_reference.rst",
            category="Figures",
            labels={"figure": "stability of circuits, against one step"},
        ),
    log:
        f"{PATHS.logs}/plot_stability_reference.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_stability_reference.tsv"
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
        "Draw the figure about circuits against the reference step"
    script:
        "../../scripts/plot_stability_reference.py"


rule plot_transfer:
    input:
        transfer=PATHS.table.format(table="transfer"),
    output:
        pdf=PATHS.figure_pdf.format(figure="transfer"),
        png=report(
            PATHS.figure_png.format(figure="transfer"),
            caption="../report/transfer.rst",
            category="Figures",
            labels={"figure": "circuits in models of other steps"},
        ),
    log:
        f"{PATHS.logs}/plot_transfer.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_transfer.tsv"
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
        "Draw the figure about circuits run at other steps"
    script:
        "../../scripts/plot_transfer.py"


rule plot_transfer_tasks:
    input:
        transfer=PATHS.table.format(table="transfer"),
    output:
        pdf=PATHS.figure_pdf.format(figure="transfer_tasks"),
        png=report(
            PATHS.figure_png.format(figure="transfer_tasks"),
            caption="../report/transfer_tasks.rst",
            category="Figures",
            labels={"figure": "circuits on other tasks"},
        ),
    log:
        f"{PATHS.logs}/plot_transfer_tasks.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_transfer_tasks.tsv"
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
        "Draw the figure about circuits run on other tasks"
    script:
        "../../scripts/plot_transfer_tasks.py"


rule plot_circuit_sizes:
    input:
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="circuit_sizes"),
        png=report(
            PATHS.figure_png.format(figure="circuit_sizes"),
            caption="../report/circuit_sizes.rst",
            category="Figures",
            labels={"figure": "circuit size in edges and nodes"},
        ),
    log:
        f"{PATHS.logs}/plot_circuit_sizes.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_circuit_sizes.tsv"
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
        "Draw the figure about sizes of circuits"
    script:
        "../../scripts/plot_circuit_sizes.py"


rule plot_size_and_performance:
    input:
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="size_and_performance"),
        png=report(
            PATHS.figure_png.format(figure="size_and_performance"),
            caption="../report/size_and_performance.rst",
            category="Figures",
            labels={"figure": "circuit size and performance"},
        ),
    log:
        f"{PATHS.logs}/plot_size_and_performance.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_size_and_performance.tsv"
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
        "Draw the figure about size and performance"
    script:
        "../../scripts/plot_size_and_performance.py"


rule plot_seeds:
    input:
        behaviour=PATHS.table.format(table="behaviour"),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="seeds"),
        png=report(
            PATHS.figure_png.format(figure="seeds"),
            caption="../report/seeds.rst",
            category="Figures",
            labels={"figure": "differences between seeds"},
        ),
    log:
        f"{PATHS.logs}/plot_seeds.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_seeds.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        labels=LABELS,
        variants=VARIANTS,
        names={model.name: model.label for model in CONFIG.models},
        tasks=TASKS,
        min_step=CONFIG.figures.min_step,
    message:
        "Draw the figure about differences between seeds"
    script:
        "../../scripts/plot_seeds.py"


rule plot_size_correlation:
    input:
        summary=PATHS.table.format(table="circuit_summary"),
        behaviour=PATHS.table.format(table="behaviour"),
        correlation=PATHS.table.format(table="size_correlation"),
    output:
        pdf=PATHS.figure_pdf.format(figure="size_correlation"),
        png=report(
            PATHS.figure_png.format(figure="size_correlation"),
            caption="../report/size_correlation.rst",
            category="Figures",
            labels={"figure": "circuit size against model size"},
        ),
    log:
        f"{PATHS.logs}/plot_size_correlation.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_size_correlation.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        labels=LABELS,
        tasks=TASKS,
    message:
        "Draw the figure about circuit size against model size"
    script:
        "../../scripts/plot_size_correlation.py"


rule plot_faithfulness_over_training:
    input:
        curve=PATHS.table.format(table="faithfulness_curve"),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="faithfulness_over_training"),
        png=report(
            PATHS.figure_png.format(figure="faithfulness_over_training"),
            caption="../report/faithfulness_over_training.rst",
            category="Figures",
            labels={"figure": "faithfulness against size, per step"},
        ),
    log:
        f"{PATHS.logs}/plot_faithfulness_over_training.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_faithfulness_over_training.tsv"
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
        "Draw the figure about faithfulness per step"
    script:
        "../../scripts/plot_faithfulness_over_training.py"
