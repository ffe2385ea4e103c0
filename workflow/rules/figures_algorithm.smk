"""Figures about algorithms: what heads do for each other, as shares, diagrams and swaps."""


rule plot_algorithm:
    input:
        consistency=PATHS.table.format(table="algorithm_consistency"),
    output:
        pdf=PATHS.figure_pdf.format(figure="algorithm"),
        png=report(
            PATHS.figure_png.format(figure="algorithm"),
            caption="../report/algorithm.rst",
            category="Figures",
            labels={"figure": "IOI algorithm over training"},
        ),
    log:
        f"{PATHS.logs}/plot_algorithm.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_algorithm.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        labels=LABELS,
        task=IOI,
        min_step=CONFIG.figures.min_step,
    message:
        "Draw the consistency of the IOI algorithm"
    script:
        "../../scripts/plot_algorithm.py"


rule plot_greater_than:
    input:
        checks=PATHS.table.format(table="gt_algorithm"),
        summary=PATHS.table.format(table="circuit_summary"),
    output:
        pdf=PATHS.figure_pdf.format(figure="greater_than"),
        png=report(
            PATHS.figure_png.format(figure="greater_than"),
            caption="../report/greater_than.rst",
            category="Figures",
            labels={"figure": "Greater-Than algorithm over training"},
        ),
    log:
        f"{PATHS.logs}/plot_greater_than.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_greater_than.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        labels=LABELS,
        task=GREATER_THAN,
        min_step=CONFIG.figures.min_step,
    message:
        "Draw the checks of the Greater-Than algorithm"
    script:
        "../../scripts/plot_greater_than.py"


rule plot_swaps:
    input:
        swaps=PATHS.table.format(table="swaps"),
    output:
        pdf=PATHS.figure_pdf.format(figure="swaps"),
        png=report(
            PATHS.figure_png.format(figure="swaps"),
            caption="../report/swaps.rst",
            category="Figures",
            labels={"figure": "component swaps"},
        ),
    log:
        f"{PATHS.logs}/plot_swaps.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_swaps.tsv"
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
        "Draw how models do with heads of another step"
    script:
        "../../scripts/plot_swaps.py"


rule plot_circuit_diagram:
    input:
        unpack(tables_of_a_diagram),
    output:
        pdf=PATHS.diagram_pdf,
        png=report(
            PATHS.diagram_png,
            caption="../report/circuit_diagram.rst",
            category="Circuit diagrams",
            labels={"model": "{model}", "task": "{task}", "step": "{step}"},
        ),
    log:
        f"{PATHS.logs}/plot_circuit_diagram/{{model}}/{{task}}/step{{step}}.log",
    benchmark:
        f"{PATHS.benchmarks}/plot_circuit_diagram/{{model}}/{{task}}/step{{step}}.tsv"
    wildcard_constraints:
        # any: the input says what is wrong with a name or step that is not analysed
        model="[^/]+",
        task="[^/]+",
        step="[^/]+",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        model="{model}",
        task="{task}",
        step=lambda wildcards: int(wildcards.step),
        label=lambda wildcards: CONFIG.model(wildcards.model).label,
    message:
        "Draw the {wildcards.task} circuit of {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/plot_circuit_diagram.py"
