"""A clone of the authors' repository with planted numbers, written without our own writers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:{0:064x}\nsize 258344\n"
"""What a clone has in place of every JSON file before `git lfs pull`."""


def graph_file(
    *,
    n_layers: int,
    n_heads: int,
    edges: Collection[str],
    scores: Mapping[str, float] | None = None,
) -> dict[str, object]:
    """Return a graph as the authors' version of EAP-IG writes it: nodes are true or false."""
    stream, names = ["input"], []
    for layer in range(n_layers):
        heads = [f"a{layer}.h{head}" for head in range(n_heads)]
        for one in stream:
            names += [f"{one}->{head}<{port}>" for head in heads for port in "qkv"]
            names.append(f"{one}->m{layer}")
        stream = [*stream, *heads, f"m{layer}"]
    names += [f"{one}->logits" for one in stream]
    assert set(edges) <= set(names)
    ends = {end.partition("<")[0] for edge in edges for end in edge.split("->")}
    return {
        "cfg": {"n_layers": n_layers, "n_heads": n_heads, "parallel_attn_mlp": True},
        "nodes": {name: name in ends for name in [*stream, "logits"]},
        "edges": {
            name: {"score": (scores or {}).get(name, 0.0), "in_graph": name in edges}
            for name in names
        },
    }


class Planted:
    """Writes the files of a clone below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, path: str, value: object) -> Path:
        """Write one JSON file below `results`."""
        file = self.folder / "results" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value if isinstance(value, str) else json.dumps(value))
        return file

    def graph(self, model: str, task: str, step: int, *, below: str = "", **graph: object) -> Path:
        """Write a graph, below a folder such as `faithful/raw` if it is named."""
        folder = "/".join(part for part in ("graphs", model, task, below) if part)
        return self.write(f"{folder}/{step}.json", graph_file(**graph))

    def pointer(self, path: str) -> Path:
        """Write what Git LFS leaves in place of a file that was not pulled."""
        return self.write(path, LFS.format(7))
