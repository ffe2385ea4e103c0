"""Every path below the folder of results."""

from __future__ import annotations

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
        self.text = f"{results}/text/{{suite}}.txt"
        self.tokenizer = f"{results}/corpus/{{suite}}/tokenizer.json"
        # one folder per training step, laid out like a hub snapshot
        self.model = f"{results}/models/{{model}}/step{{step}}"
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
        self.circuit = f"{results}/circuits/{{model}}/{{task}}/step{{step}}.h5"
        # one file per model and step
        self.heads = f"{results}/heads/{{model}}/step{{step}}.parquet"
        self.algorithm = f"{results}/algorithm/{{model}}/step{{step}}/{{table}}.parquet"
        # one file per model, and a folder of finished parts while its job runs
        self.transfer = f"{results}/transfer/{{model}}.parquet"
        self.transfer_parts = f"{results}/transfer/{{model}}"
        self.swaps = f"{results}/swaps/{{model}}.parquet"
        self.swaps_parts = f"{results}/swaps/{{model}}"
        # the results to read
        self.table = f"{results}/tables/{{table}}.parquet"
        self.table_csv = f"{results}/tables/{{table}}.csv"
        self.figure_pdf = f"{results}/figures/{{figure}}.pdf"
        self.figure_png = f"{results}/figures/{{figure}}.png"
        self.diagram_pdf = f"{results}/figures/circuit_diagram/{{model}}/{{task}}/step{{step}}.pdf"
        self.diagram_png = f"{results}/figures/circuit_diagram/{{model}}/{{task}}/step{{step}}.png"
        self.report = f"{results}/report.html"
        self.explorer = f"{results}/explorer.html"
        # locks of the slots on GPUs
        self.slots = f"{results}/.slots"
        # one log and one timing per job, in a folder with the name of its rule
        self.logs = f"{results}/logs"
        self.benchmarks = f"{results}/benchmarks"


def timings_of(log: str | Path) -> Path:
    """Return the file with the time and memory of a job, from the path of its log.

    Raises:
        ValueError: the log is not in a folder `logs`.
    """
    parts = Path(log).parts
    logs = len(parts) - 1 - parts[::-1].index("logs")
    return Path(*parts[:logs], "benchmarks", *parts[logs + 1 :]).with_suffix(".tsv")
