"""Every path below the folder of results, and in a clone of the authors' results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Paths:
    """Path templates; wildcards always come in the order model, task, step.

    Args:
        results: folder that holds everything made.
    """

    def __init__(self, results: str) -> None:
        # the pocket suite: training text, its token ids, held-out text, tokenizer
        self.corpus_text = f"{results}/corpus/{{suite}}/train.txt"
        self.corpus_tokens = f"{results}/corpus/{{suite}}/train.npz"
        self.corpus_record = f"{results}/corpus/{{suite}}/provenance.json"
        self.held_out_text = f"{results}/corpus/{{suite}}/held_out.txt"
        self.text = f"{results}/text/{{suite}}/text.txt"
        self.text_record = f"{results}/text/{{suite}}/provenance.json"
        self.tokenizer = f"{results}/corpus/{{suite}}/tokenizer.json"
        # one folder per training step, laid out like a hub snapshot
        self.model = f"{results}/models/{{model}}/step{{step}}"
        # saved steps and the optimizer, while a model is trained
        self.unfinished = f"{results}/training/{{model}}"
        # what is kept of the weights: norms and samples
        self.weights = f"{results}/weights/{{model}}/step{{step}}.h5"
        # what a comparison with TransformerLens found: for a model at its first step, or for a step
        self.verified = f"{results}/verified/{{model}}/first.json"
        self.verified_step = f"{results}/verified/{{model}}/step{{step}}.json"
        # what the hub serves: the last audit, and what a run has taken from it
        self.audit_found = f"{results}/audit/hub.json"
        self.audit_listings = f"{results}/audit/listings.json"
        self.audit_report = f"{results}/audit/audit"
        self.audited = f"{results}/audit/checkpoints.json"
        # an empty file: disk space for this checkpoint of a published model is free
        self.reserved = f"{results}/reserved/{{model}}/step{{step}}"
        # prompt pairs, shared by every model with this tokenizer
        self.task = f"{results}/tasks/{{suite}}/{{task}}.parquet"
        # one file per model, task and step
        self.activations = f"{results}/activations/{{model}}/{{task}}/step{{step}}.h5"
        self.behaviour = f"{results}/behaviour/{{model}}/{{task}}/step{{step}}.parquet"
        self.by_group = f"{results}/behaviour_by_group/{{model}}/{{task}}/step{{step}}.parquet"
        self.circuit = f"{results}/circuits/{{model}}/{{task}}/step{{step}}.h5"
        # one file per model and step
        self.heads = f"{results}/heads/{{model}}/step{{step}}.parquet"
        self.algorithm = f"{results}/algorithm/{{model}}/step{{step}}/{{table}}.parquet"
        # one file per model, and a folder of finished parts while its job runs
        self.transfer = f"{results}/transfer/{{model}}.parquet"
        self.transfer_parts = f"{results}/transfer/{{model}}"
        self.swaps = f"{results}/swaps/{{model}}.parquet"
        self.swaps_parts = f"{results}/swaps/{{model}}"
        self.table = f"{results}/tables/{{table}}.parquet"
        self.table_csv = f"{results}/tables/{{table}}.csv"
        self.figure_pdf = f"{results}/figures/{{figure}}.pdf"
        self.figure_png = f"{results}/figures/{{figure}}.png"
        self.diagram_pdf = f"{results}/figures/circuit_diagram/{{model}}/{{task}}/step{{step}}.pdf"
        self.diagram_png = f"{results}/figures/circuit_diagram/{{model}}/{{task}}/step{{step}}.png"
        self.report = f"{results}/report.html"
        self.explorer = f"{results}/explorer.html"
        # the authors' results: a folder like this one, and what only it has
        self.authors = f"{results}/published"
        self.baselines = f"{results}/baselines/{{model}}.parquet"
        self.curves = f"{results}/curves/{{model}}.parquet"
        # locks of the slots on GPUs
        self.slots = f"{results}/.slots"
        # one log, one timing and one record of what it wrote per job, below the name of its rule
        self.logs = f"{results}/logs"
        self.benchmarks = f"{results}/benchmarks"
        self.manifest = f"{results}/manifest"

    @property
    def set_aside(self) -> str:
        """What `make verify REPAIR=1` found in the way."""
        return str(Path(self.manifest).with_name("set_aside"))

    @property
    def aside(self) -> list[str]:
        """What lies among the results and is none."""
        marks = [self.reserved, self.audit_found, self.audit_listings]
        return [self.logs, self.benchmarks, self.manifest, self.slots, self.set_aside, *marks]

    @property
    def left_over(self) -> list[str]:
        """What jobs that were stopped leave for their next attempt."""
        folder = Path(self.model)
        received = folder.with_name(f".{folder.name}.parts")
        return [self.unfinished, self.transfer_parts, self.swaps_parts, str(received)]

    @property
    def without_list(self) -> list[str]:
        """Results whose names say that jobs make them; tables and figures have lists of names."""
        listed = {self.table, self.table_csv, self.figure_pdf, self.figure_png}
        others = {*listed, *self.aside, *self.left_over}
        templates = [one for one in vars(self).values() if isinstance(one, str)]
        return [one for one in templates if one not in others]


def timings_of(log: str | Path) -> Path:
    """Return the file with the time and memory of a job, from the path of its log.

    Raises:
        ValueError: the log is not in a folder `logs`.
    """
    root, job = place_of(log)
    return root / "benchmarks" / f"{job}.tsv"


def place_of(log: str | Path) -> tuple[Path, str]:
    """Return the folder of all results, and the name of a job, from the path of its log.

    Raises:
        ValueError: the log is not in a folder `logs`.
    """
    parts = Path(log).parts
    logs = len(parts) - 1 - parts[::-1].index("logs")
    return Path(*parts[:logs]), str(Path(*parts[logs + 1 :]).with_suffix(""))


class Clone:
    """The JSON files in a clone of the authors' repository.

    The repository is https://github.com/curt-tigges/circuits-over-time, with the results of
    arXiv 2407.10827 below `results/`. Its pickles (`.pt`) are never opened.

    Args:
        folder: of the clone.
    """

    TASKS: Mapping[str, str] = {
        "ioi": "ioi",
        "gendered_pronoun": "gender_pronoun",
        "greater_than": "greater_than",
        "sva": "sva",
    }
    """Built-in task -> its name there."""
    GRAPHS = ("faithful/raw", "faithful", "raw", "")
    """Where the graphs of a task may lie, below its folder; the first that has any is taken.

    Those below `faithful` have the faithful size of the paper; others of the same task may have a
    fixed size."""

    def __init__(self, folder: str | Path) -> None:
        self.results = Path(folder) / "results"

    @staticmethod
    def name_of(model: str, repo: str | None) -> str:
        """Return the name of a model there: that of its repository, or without one, its own."""
        return repo.rpartition("/")[2] if repo else model

    def models(self) -> list[str]:
        """Return the names of all models with graphs."""
        folder = self.results / "graphs"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def baselines(self, model: str, task: str) -> list[Path]:
        """Return the files with the metric: that of all steps, then those of single steps."""
        folder = self.results / "baselines" / model / self.TASKS[task]
        whole = folder.with_name(f"{folder.name}.json")
        return [*([whole] if whole.is_file() else []), *_per_step(folder).values()]

    def curves(self, model: str, task: str) -> dict[int, Path]:
        """Return the file with the faithfulness of every size tried, by step."""
        return _per_step(self.results / "faithfulness" / model / self.TASKS[task])

    def graphs(self, model: str, task: str) -> dict[int, Path]:
        """Return the file of the graph, by step."""
        folder = self.results / "graphs" / model / self.TASKS[task]
        found = (_per_step(folder / below) for below in self.GRAPHS)
        return next((files for files in found if files), {})


def _per_step(folder: Path) -> dict[int, Path]:
    """Return the files `STEP.json` of a folder, by step."""
    if not folder.is_dir():
        return {}
    files = {int(path.stem): path for path in folder.glob("*.json") if path.stem.isdecimal()}
    return dict(sorted(files.items()))
