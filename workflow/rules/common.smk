"""The checked configuration, the paths, and the only functions of the workflow."""

import re
import shlex
import sys
from os.path import relpath
from pathlib import Path

from snakemake.exceptions import WorkflowError

from circuitlapse.config import load_config
from circuitlapse.errors import ConfigError
from circuitlapse.figures.registry import DIAGRAMS, FIGURES
from circuitlapse.paths import Paths
from circuitlapse.tables.registry import JOBS, TABLES
from circuitlapse.tasks.registry import BUILDERS

# Snakemake writes this path into shell commands unquoted, which fails if a folder has a space.
if Path(sys.executable).exists():  # else it is quoted already
    sys.executable = shlex.quote(sys.executable)


def checked_config():
    """Return the configuration, or stop with every problem in it."""
    files = [*workflow.configfiles, *workflow.config_settings.configfiles]
    try:
        return load_config(config, [Path(file) for file in files])
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


CONFIG = checked_config()
PATHS = Paths(CONFIG.results)
MODELS = [model.name for model in CONFIG.models]
PUBLISHED = [model.name for model in CONFIG.models if model.hub]
ANALYSED = [model for model in CONFIG.models if model.circuits]
MEASURED = [model.name for model in CONFIG.models if not model.circuits]
ORIGINALS = [model.name for model in ANALYSED if not model.variant_of]
LABELS = {model.name: model.label for model in CONFIG.models if not model.variant_of}
VARIANTS = {
    name: [name, *(model.name for model in CONFIG.models if model.variant_of == name)]
    for name in LABELS
}
TASKS = [task.name for task in CONFIG.tasks]
IOI, GREATER_THAN = CONFIG.built_by("ioi"), CONFIG.built_by("greater_than")
BOOTSTRAP = CONFIG.bootstrap.model_dump(mode="json")
GPUS = 1 if CONFIG.compute.device.startswith("cuda") else 0
# CUDA takes memory of the host, but what a forward pass holds lies on the GPU then
FORWARD_MB = 3000 if GPUS else CONFIG.compute.memory_mb or 500
# a job on a cluster starts Snakemake twice for itself, which takes 310 MB
SNAKEMAKE_MB = 350
ENVIRONMENT = "../../envs/environment.yaml"


def one_of(names):
    """Return the pattern of these names alone; without any, that of nothing."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    suite=re.escape(CONFIG.suite),
    model=one_of(MODELS),
    task=one_of(TASKS),
    step=r"\d+",


def per_step(template, models=ANALYSED, **values):
    """Return one path for every model that has circuits, its analysed steps and other values."""
    return [
        path
        for model in models
        for path in expand(template, model=model.name, step=model.steps, **values)
    ]


def diagrams(template):
    """Return the paths of the diagrams that are always drawn: the last original's last step."""
    last = [model for model in ANALYSED if not model.variant_of][-1:]
    return [
        path
        for model in last
        for path in expand(template, model=model.name, task=TASKS, step=model.steps[-1])
    ]


def where_to_look():
    """Return where the figures are, and how to get them on one page; nothing before all are."""
    if not all(
        Path(path).exists() for path in expand(PATHS.figure_png, figure=FIGURES)
    ):
        return ""
    files = [relpath(file) for file in workflow.config_settings.configfiles]
    config = "".join(f' CONFIG="{file}"' for file in files)
    # make takes one file
    page = f"; all on one page: make report{config}" if len(files) < 2 else ""
    return f"Figures are in {Path(PATHS.figure_png).parent}{page}"


def tables_of(figure):
    """Return the path of each table that a figure is drawn from, by name."""
    return {table: PATHS.table.format(table=table) for table in figure.tables}


def tables_of_a_diagram(wildcards):
    """Return the tables that a diagram is drawn from, or stop where there is no such circuit."""
    steps = {model.name: [str(step) for step in model.steps] for model in ANALYSED}
    choices = {"model": [*steps], "task": TASKS, "step": steps.get(wildcards.model, [])}
    for wildcard, names in choices.items():
        asked = wildcards.get(wildcard)
        if asked not in names:
            whose = f" of {wildcards.model}" if wildcard == "step" else ""
            raise WorkflowError(
                f"there is no circuit of {wildcard} {asked} to draw; "
                f"the analysed {wildcard}s{whose} are {', '.join(names)}"
            )
    return tables_of(DIAGRAMS["circuit_diagram"])


def per_model(template):
    """Return one path for every model that has circuits."""
    return expand(template, model=[model.name for model in ANALYSED])


def made_of(model, step):
    """Return what all jobs together make of one model at one step."""
    templates = [PATHS.behaviour]
    if CONFIG.model(model).circuits:
        templates += [PATHS.circuit, PATHS.heads, PATHS.algorithm]
    return expand(templates, model=model, step=step, task=TASKS, table="effects")


def before_fetching(wildcards):
    """Return everything made of the checkpoint that has to go before this one is fetched."""
    every = [(model.name, step) for model in CONFIG.models for step in model.steps]
    position = every.index((wildcards.model, int(wildcards.step)))
    earlier = position - CONFIG.checkpoints.at_once
    return made_of(*every[earlier]) if earlier >= 0 else []


def pythia_sizes():
    """Return the size of every standard Pythia model of the run -> its name here."""
    start = "EleutherAI/pythia-"
    repos = {model.name: model.hub.repo for model in CONFIG.models if model.hub}
    return {
        repo.removeprefix(start): name
        for name, repo in repos.items()
        if re.fullmatch(rf"{start}[\d.]+[mb]", repo)
    }


def text_for_heads(wildcards):
    """Return the running text that heads are measured on, if there is any."""
    if CONFIG.heads.text:
        return CONFIG.heads.text
    if PUBLISHED:
        return PATHS.text.format(suite=CONFIG.suite) if CONFIG.heads.dataset else []
    return PATHS.held_out_text.format(suite=CONFIG.suite)


def kept_if_asked(path):
    """Mark bulk as temporary, unless the configuration keeps it."""
    return path if CONFIG.activations.keep else temp(path)


def kept_activations():
    """Return every file of activations, or none where they are deleted after use."""
    return per_step(PATHS.activations, task=TASKS) if CONFIG.activations.keep else []


def model_at(model, step):
    """Return what identifies a model at a step in every table."""
    return {
        "model": model,
        "variant": CONFIG.model(model).variant,
        "step": step,
        "tokens": step * CONFIG.tokens_per_step(model),
    }


def model_params(wildcards):
    """Return what identifies the model of a job at its step."""
    return model_at(wildcards.model, int(wildcards.step))


def at_steps(template, steps):
    """Return a function that gives a path for each of the steps that `steps` names for a model."""
    return lambda wildcards: expand(
        template, model=wildcards.model, step=steps(wildcards.model)
    )


def params_at(steps):
    """Return a function that identifies a job's model at each of the steps named for it."""
    return lambda wildcards: [
        model_at(wildcards.model, step) for step in steps(wildcards.model)
    ]


def lending_steps(model):
    """Return the steps of a model that lend heads to others."""
    return sorted({source for source, _ in CONFIG.swap_pairs(model)})


def swapping_steps(model):
    """Return the steps of a model that lend or borrow heads."""
    return sorted({step for pair in CONFIG.swap_pairs(model) for step in pair})


def known_heads(wildcards):
    """Return what is known about heads at the steps that lend them, as far as tasks ask for it."""
    roles = expand(PATHS.algorithm, table="roles", allow_missing=True)
    wanted = {"roles": (IOI, roles), "heads": (GREATER_THAN, PATHS.heads)}
    return {
        name: at_steps(template, lending_steps)(wildcards)
        for name, (task, template) in wanted.items()
        if task is not None
    }


def ioi_prompts(wildcards):
    """Return the prompts of the IOI task and what the model computes on them, if there is one."""
    if IOI is None:
        return {}
    return {
        "task": PATHS.task.format(suite=CONFIG.suite, task=IOI),
        "activations": PATHS.activations.format(task=IOI, **wildcards),
    }


def known_tasks(wildcards):
    """Return what is needed of the tasks whose algorithms are known, of those that there are."""
    needed = [
        (IOI, {"ioi_task": PATHS.task, "ioi_circuit": PATHS.circuit}),
        (
            GREATER_THAN,
            {
                "gt_task": PATHS.task,
                "gt_circuit": PATHS.circuit,
                "gt_activations": PATHS.activations,
            },
        ),
    ]
    return {
        name: template.format(suite=CONFIG.suite, task=task, **wildcards)
        for task, templates in needed
        if task is not None
        for name, template in templates.items()
    }


def task_source(wildcards):
    """Return the user's own file of prompts, for a task that has one."""
    file = CONFIG.task(wildcards.task).file
    return {"file": str(file)} if file else {}


def task_key(key):
    """Return a function that looks `key` up for the task of a job."""
    return lambda wildcards: getattr(CONFIG.task(wildcards.task), key)


def memory(mb):
    """Return what a job asks for that needs `mb` for itself; that grows when it is retried."""
    return lambda wildcards, attempt: mb * attempt + SNAKEMAKE_MB


def weights_mb(folder):
    """Return how large the weights in a folder are; nothing where they are still to be made."""
    return (
        sum(file.stat().st_size for file in Path(folder).glob("*.safetensors")) / 2**20
    )


def memory_with_models(mb, at_once=1):
    """Return the same for a job that also loads models of its input, so many at once.

    One in half precision, as on a hub, takes three times the size of its files. That is known
    when the job starts; what is planned before leaves it out.
    """

    def asked(wildcards, input, attempt):
        largest = max(map(weights_mb, input.get("models") or [input.model]))
        return round((mb + 3 * at_once * largest) * attempt) + SNAKEMAKE_MB

    return asked


def minutes(first):
    """Return how long a job may take; that grows when it is retried."""
    return lambda wildcards, attempt: first * attempt
