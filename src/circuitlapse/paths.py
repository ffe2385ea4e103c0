"""Where everything lies. Wildcards always come in the order model, task, step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paths:
    """Path templates below the folder of results."""

    results: str

    def __post_init__(self) -> None:
        """Fill in the templates; `{model}`, `{task}`, `{step}` stay for Snakemake."""
        for name, template in _TEMPLATES.items():
            object.__setattr__(self, name, f"{self.results}/{template}")

    def __getattr__(self, name: str) -> str:
        """Only reached for a template that does not exist."""
        raise AttributeError(f"no path is called {name!r}; known: {', '.join(_TEMPLATES)}")


_TEMPLATES = {
    # the pocket suite: its text, its token ids, its tokenizer
    "corpus_text": "corpus/{suite}/train.txt",
    "corpus_tokens": "corpus/{suite}/train.npy",
    "tokenizer": "corpus/{suite}/tokenizer.json",
    # one folder per training step, laid out like a hub snapshot
    "model": "models/{model}/step{step}",
    # prompt pairs, shared by every model that has this tokenizer
    "task": "tasks/{suite}/{task}.parquet",
    "activations": "activations/{model}/{task}/step{step}.h5",
    "behaviour": "behaviour/{model}/step{step}.parquet",
    "circuit": "circuits/{model}/{task}/step{step}.h5",
    "table": "tables/{table}.parquet",
    "table_csv": "tables/{table}.csv",
    "figure_pdf": "figures/{figure}.pdf",
    "figure_png": "figures/{figure}.png",
    "log": "logs/{rule}",
    "benchmark": "benchmarks/{rule}",
}
