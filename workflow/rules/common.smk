"""The checked configuration, and short names for what several rules ask for."""

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from snakemake.exceptions import WorkflowError

if find_spec("circuitlapse") is None:
    raise WorkflowError(
        "The environment of Snakemake lacks Circuitlapse; add it with `pip install circuitlapse`."
    )

from circuitlapse.config import load_config
from circuitlapse.explorer.registry import EXPLORED
from circuitlapse.errors import ArtifactError, ConfigError, UnknownNameError
from circuitlapse.figures.registry import DIAGRAMS, FIGURES
from circuitlapse.heads.registry import SCORES
from circuitlapse.io.atomic import clear_abandoned
from circuitlapse.manifest.differences import refuse_replaced_inputs
from circuitlapse.plan.audited import audited
from circuitlapse.plan.authors import figures_of, jobs_of, results_of
from circuitlapse.plan.fork_server import start_server
from circuitlapse.plan.gpus import host_mb, slots_or_reason, torch_problem
from circuitlapse.plan.own_files import problem_of_files
from circuitlapse.plan.requests import REQUESTS, VERIFYING, loading_mb, memory_mb
from circuitlapse.plan.requests import memory, minutes, minutes_of
from circuitlapse.plan.run_times import RunTimes, where_to_look
from circuitlapse.processes import note_run
from circuitlapse.plan.workflow import Plan, pattern_of
from circuitlapse.tables.registry import JOBS, TABLES

# Snakemake writes this path into shell commands unquoted, which fails if a folder has a space.
if Path(sys.executable).exists():  # else it is quoted already
    sys.executable = shlex.quote(sys.executable)


def checked_config():
    """Return the configuration and what the last audit says of it, or stop with every problem."""
    files = [*workflow.configfiles, *workflow.config_settings.configfiles]
    try:
        return audited(load_config(config, [Path(file) for file in files]))
    except (ArtifactError, ConfigError) as error:
        raise WorkflowError(str(error)) from None


AUDIT = checked_config()
CONFIG = AUDIT.config
PLAN = Plan(CONFIG)
if workflow.is_main_process and AUDIT.warnings:
    print(*AUDIT.warnings, sep="\n", file=sys.stderr)
RESULTS = results_of(PLAN)
PATHS, TASKS = PLAN.paths, PLAN.tasks
COMPUTE = PLAN.compute
BOOTSTRAP = CONFIG.bootstrap.model_dump(mode="json")
ENVIRONMENT = "../../envs/environment.yaml"
TASK = PATHS.task.format(suite=CONFIG.suite, task="{task}")
VERIFIED = ancient(PLAN.verified) if PLAN.verified else []
TASKS_OF_JOB = "{wildcards.task}" if PLAN.one_task else "all tasks"


# Whether jobs run on this machine; Snakemake knows the number of nodes only on a cluster.
HERE = workflow.is_main_process and workflow.global_resources["_nodes"].value is None


SLOTS, NO_GPU = slots_or_reason(CONFIG) if PLAN.gpus and HERE else (None, "")
if SLOTS:
    for name, amount in (("gpu", len(SLOTS)), ("mem_mb", host_mb())):
        if name not in workflow.global_resources:  # --resources and profiles come first
            workflow.register_resource(name, amount)


# Whether jobs are forks of a server. Elsewhere, or in an environment of their own, they start as
# usual, and so do those with CUDA.
SERVED = (
    HERE
    and sys.platform == "linux"
    and not PLAN.gpus
    and not workflow.deployment_settings.deployment_method
)
TIMES = RunTimes()


onstart:
    jobs = [] if workflow.touch else [*workflow.dag.needrun_jobs()]
    if PLAN.gpus and HERE and any(job.rule.name in REQUESTS for job in jobs):
        foreign = workflow.deployment_settings.deployment_method
        if NO_GPU or (reason := "" if foreign else torch_problem()):
            raise WorkflowError(NO_GPU or reason)
    try:
        refuse_replaced_inputs(CONFIG.results) if jobs else None
    except ArtifactError as error:
        raise WorkflowError(str(error)) from None
    if problem := problem_of_files(PLAN, {job.rule.name for job in jobs}):
        raise WorkflowError(problem)
    note_run()
    clear_abandoned(CONFIG.results)
    if SLOTS:
        SLOTS.tell_jobs()
    logs = [(job.rule.name, log) for job in jobs for log in job.log]
    TIMES.start(logs)
    if SERVED and len(logs) > 1:
        sys.executable = start_server(sys.executable)


wildcard_constraints:
    suite=pattern_of([CONFIG.suite]),
    model=pattern_of(PLAN.models),
    task=pattern_of(TASKS),
    step=r"\d+",


def log_of(job):
    """Return the log of a job: the name of its rule, then its wildcards."""
    return f"{PATHS.logs}/{job}.log"


def memory_of(name):
    """Ask for the memory of a rule that runs the models among its input."""
    return lambda wildcards, input, attempt: PLAN.memory_mb(
        name, input.get("models") or [input.model], attempt
    )


def where(wildcards):
    """Return what identifies the checkpoint of a job in every table."""
    return PLAN.where(wildcards.model, wildcards.step)


def kept_if_asked(path):
    """Mark activations as temporary, unless the configuration keeps them."""
    return path if CONFIG.activations.keep else temp(path)


def fetched(path):
    """Mark a checkpoint as temporary, unless the configuration keeps it."""
    return directory(path) if CONFIG.checkpoints.keep else temp(directory(path))


def task_key(key):
    """Return a function that looks `key` up in the settings of a job's task."""
    return lambda wildcards: getattr(CONFIG.task(wildcards.task), key)


def csv_of(paths, table):
    """Return the path of a table as CSV; the report shows that of `reproduction`."""
    path = paths.table_csv.format(table=table)
    if table != "reproduction":
        return path
    return report(
        path,
        caption="../report/reproduction.rst",
        category="Reproduction",
        labels={"table": TABLES[table]},
    )


def tables_of_a_diagram(wildcards):
    """Return the tables of a diagram, or stop where there is no such circuit."""
    try:
        PLAN.check_diagram(**wildcards)
    except UnknownNameError as error:
        raise WorkflowError(str(error)) from None
    return RESULTS["run"].tables(DIAGRAMS["circuit_diagram"].tables)


def of_saved_steps(path):
    return expand(path, step=CONFIG.training.save_steps, allow_missing=True)
