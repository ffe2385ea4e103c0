"""One rule per figure of the registry, one for diagrams of circuits, one for the explorer."""

for made, name, figure in figures_of(RESULTS):

    rule:
        name:
            f"plot_{made.prefix}{name}"
        input:
            **made.tables(figure.tables),
        output:
            pdf=made.plan.paths.figure_pdf.format(figure=name),
            png=report(
                made.plan.paths.figure_png.format(figure=name),
                caption=f"../report/{name}.rst",
                category="Published results" if made.prefix else "Figures",
                labels={"figure": figure.title},
            ),
        log:
            log_of(f"plot_{made.prefix}{name}"),
        conda:
            ENVIRONMENT
        resources:
            mem_mb=memory(2000),
            runtime=minutes(20),
        params:
            **{
                setting: made.plan.figure_settings[setting]
                for setting in figure.settings
            },
        message:
            f"Draw the figure {made.prefix}{name}: {figure.title}"
        script:
            "../../scripts/plot.py"


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
        log_of("plot_circuit_diagram/{model}/{task}/step{step}"),
    wildcard_constraints:
        # anything: the input function names what is wrong with a name or step
        model="[^/]+",
        task="[^/]+",
        step="[^/]+",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(2000),
        runtime=minutes(20),
    params:
        model="{model}",
        task="{task}",
        step=lambda wildcards: int(wildcards.step),
        label=lambda wildcards: CONFIG.model(wildcards.model).label,
    message:
        "Draw the {wildcards.task} circuit of {wildcards.model} at step {wildcards.step}"
    script:
        "../../scripts/plot.py"


rule build_explorer:
    input:
        **{table: PATHS.table.format(table=table) for table in EXPLORED},
    output:
        page=PATHS.explorer,
    log:
        log_of("build_explorer"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
    params:
        **PLAN.explorer_settings,
    message:
        "Build the explorer, one page to look into all circuits"
    script:
        "../../scripts/build_explorer.py"


rule figures:
    input:
        PATHS.explorer,
        [made.figure_files for made in RESULTS.values()],
        PLAN.diagrams(PATHS.diagram_pdf),
        PLAN.diagrams(PATHS.diagram_png),
    message:
        "All figures and the explorer are complete"


if CONFIG.compare.published:

    include: "published.smk"
