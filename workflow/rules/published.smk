"""The authors' results, read from a clone of their repository; see docs/published.md."""

AUTHORS = RESULTS["authors"].plan

for model in AUTHORS.models:

    rule:
        name:
            f"read_published_{model}"
        input:
            AUTHORS.sources(model),
        output:
            baselines=AUTHORS.paths.baselines.format(model=model),
            curves=AUTHORS.paths.curves.format(model=model),
            circuits=AUTHORS.circuits(model),
        log:
            log_of(f"read_published/{model}"),
        conda:
            ENVIRONMENT
        resources:
            mem_mb=memory(4000),
            runtime=minutes(120),
        params:
            **AUTHORS.read(model),
        message:
            f"Read the published results of {model}"
        script:
            "../../scripts/read_published.py"


rule published:
    input:
        RESULTS["authors"].table_files,
        RESULTS["authors"].figure_files,
