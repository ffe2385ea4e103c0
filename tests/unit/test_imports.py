"""The layers of the library stay layers."""

import ast
from pathlib import Path

import pytest

import circuitlapse

HOME = Path(circuitlapse.__file__).parent
LAYERS = [
    {"batching", "errors", "memory", "types", "graph", "paths", "progress", "prompt_file"}
    | {"component_choice", "snapshots"},
    {"records", "schemas", "scores", "statistics", "tasks", "prompts"},
    {"reproduction"},
    {
        "absence",
        "attention",
        "metrics",
        "selection",
        "faithfulness",
        "head_sets",
        "config",
        "overlap",
    },
    {"forward", "models", "behaviour", "plan", "rankings", "suite"},
    {"readout"},
    {"activations", "aggregate"},
    {"components", "size_correlation", "stability"},
    {"ablation", "across", "figures", "path_patching", "swaps"},
    {"evaluation", "heads"},
    {"algorithm", "attribution", "transfer"},
    {"discovery"},
    {"model_at_step"},
    {"hub", "io", "jobs"},
]
ONLY_IN = {
    "torch": {"ablation", "activations", "algorithm", "attention", "attribution", "batching",
              "behaviour", "discovery", "evaluation", "forward", "heads", "hub", "memory",
              "metrics", "models", "model_at_step", "path_patching", "prompts", "readout",
              "suite", "swaps", "io"},
    "transformer_lens": {"ablation", "activations", "algorithm", "attention", "attribution",
                         "discovery", "evaluation", "forward", "heads", "memory", "model_at_step",
                         "models", "path_patching", "readout", "swaps", "transfer"},
    "transformers": {"attention", "progress", "suite"},
    "h5py": {"io"},
    "matplotlib": {"figures", "io"},
    "huggingface_hub": {"hub"},
    "networkx": {"figures"},
    "scipy": {"statistics"},
    "snakemake": set(),
}  # fmt: skip


def part_of(path: Path) -> str:
    return path.relative_to(HOME).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


FILES = [path for path in sorted(HOME.rglob("*.py")) if path != HOME / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_a_module_imports_only_from_its_own_layer_and_those_below(path):
    level = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    own = part_of(path)
    assert own in level, f"{own} is in no layer; add it to LAYERS"
    ours = {n.split(".")[1] for n in imports_of(path) if n.startswith("circuitlapse.")}
    above = {name for name in ours if level[name] > level[own]}
    assert not above, f"{own} imports {above} from a higher layer"


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_heavy_library_is_imported_only_where_it_belongs(library):
    users = {
        part_of(path)
        for path in FILES
        if any(name.split(".")[0] == library for name in imports_of(path))
    }
    assert users <= ONLY_IN[library]
