"""The rules of the house: where code lies, how large its parts are, and who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import resolve_name
from itertools import chain
from pathlib import Path
from statistics import median

import pytest

import circuitlapse

HOME = Path(circuitlapse.__file__).parent
TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]
FILES = sorted(HOME.rglob("*.py"))
MODULES = [path for path in FILES if path.name != "__init__.py"]

FLAT = {"errors", "paths", "processes", "statistics", "jobs", "redaction"}
FLAT |= {"checkpoint", "records"}
FAMILIES = {"tasks", "heads", "figures"}
"""Packages with one file per task, score or figure; these share names."""
SHORT = FAMILIES | {"tables"}
"""Packages in which one addition may be one short file."""
SHARED_NAMES = {"registry", "base", "__main__"}
REGISTRIES = {"registry", "paths", "__main__"}
"""Modules that hold one list, or only a command line: they may have any length."""

# From left to right; a package may use those to its left.
ORDER = [
    FLAT - {"checkpoint"} | {"types", "schemas"},
    {"tasks"},
    {"settings"},
    {"models"},
    {"circuits"},
    {"heads"},
    {"tables", "exchange"},
    {"checkpoint"},
    {"io"},
    {"hub"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
LIGHT = FLAT - {"checkpoint"} | {"types", "schemas", "settings"}
ASIDE = {
    "config": LIGHT | {"tasks", "plan"},
    "plan": LIGHT | {"tasks", "config"},
    "figures": LIGHT | {"tasks", "tables"},
    "audit": LIGHT | {"config", "plan", "tables", "figures", "hub", "manifest"},
    "manifest": LIGHT | {"config", "plan", "io"},
    "explorer": LIGHT | {"tasks", "figures"},
    "pocket": LIGHT | {"tasks", "models", "io"},
}
"""Packages outside the order -> what they may use."""
EXCEPTIONS = {"statistics": {"settings.analysis"}}
"""A flat module -> what it may use to its right: an interval takes the section `bootstrap`."""
READ_ANYWHERE = {
    f"{package}.registry" for package in ("tasks", "heads", "tables", "figures", "explorer")
}
READ_ANYWHERE |= {"heads.naming"}
"""Modules that load no heavy library, so that rules, tables and figures can read them."""

ONLY_IN = {
    "torch": {"models", "circuits", "heads", "exchange", "checkpoint", "io", "hub", "pocket"},
    "transformer_lens": {"models", "circuits", "exchange", "heads", "checkpoint"},
    "transformers": {"models", "pocket"},
    "h5py": {"io"},
    "matplotlib": {"figures"},
    "huggingface_hub": {"hub"},
    "scipy": {"statistics"},
    "snakemake": set(),
}
"""Libraries -> the only packages that import them."""


def name_of(path: Path) -> str:
    """Return the dotted name below the package: `heads.cspa`, or `heads` for its `__init__`."""
    parts = path.relative_to(HOME).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def package_of(path: Path) -> str:
    return path.relative_to(HOME).parts[0].removesuffix(".py")


OURS = {f"circuitlapse.{name_of(path)}" for path in FILES}


@dataclass(frozen=True)
class Function:
    where: str
    n_lines: int


def functions() -> list[Function]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        Function(f"{name_of(path)}.{node.name}", node.end_lineno - node.lineno + 1)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, kinds)
    ]


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere in it, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(("circuitlapse", *path.relative_to(HOME).parent.parts))
            module = resolve_name("." * node.level + (node.module or ""), package)
            submodules = {f"{module}.{alias.name}" for alias in node.names} & OURS
            names |= submodules or {module}
    return names


def our_imports(path: Path) -> set[str]:
    """Return what a file imports of this library, as dotted names below the package."""
    return {name.removeprefix("circuitlapse.") for name in imports_of(path) & OURS}


# Rule 1: nothing lies flat but these; names are unique.


def test_only_the_named_modules_lie_flat():
    assert {path.stem for path in HOME.glob("*.py")} - {"__init__"} == FLAT


def test_a_file_name_occurs_once_outside_of_families():
    names = Counter(
        path.stem
        for path in MODULES
        if package_of(path) not in FAMILIES and path.stem not in SHARED_NAMES
    )
    assert [name for name, count in names.items() if count > 1] == []


# Rule 2: sizes.


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_60_to_400_lines(path):
    n_lines = len(path.read_text().splitlines())
    assert path.stem in REGISTRIES or n_lines <= 400
    assert path.stem in REGISTRIES or package_of(path) in SHORT or n_lines >= 60


def test_functions_are_short():
    found = functions()
    assert median(one.n_lines for one in found) <= 12
    assert [one for one in found if one.n_lines > 60] == []


def test_the_workflow_is_short():
    snakefile = ROOT / "workflow/Snakefile"
    files = [snakefile, *ROOT.glob("workflow/rules/*.smk")]
    lengths = {path.name: len(path.read_text().splitlines()) for path in files}
    assert lengths["Snakefile"] < 60
    assert sum(lengths.values()) < 900


# Rule 4: settings are typed once.


def _fields(node: ast.ClassDef) -> set[str]:
    return {
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


def _classes(path: Path) -> list[ast.ClassDef]:
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)]


def test_no_class_repeats_a_section_of_the_settings():
    sections = {
        one.name: _fields(one) for path in HOME.glob("settings/*.py") for one in _classes(path)
    }
    copies = [
        (name_of(path), one.name, section)
        for path in FILES
        if package_of(path) != "settings"
        for one in _classes(path)
        for section, keys in sections.items()
        if len(_fields(one) & keys) >= max(3, 2 / 3 * len(_fields(one)))
    ]
    assert copies == []


# Rule 6: direction of imports. (Rule 3 is held beside each registry, rule 5 beside provenance.)


@pytest.mark.parametrize("path", FILES, ids=lambda path: name_of(path) or "__init__")
def test_a_module_imports_only_what_stands_to_its_left(path):
    own = package_of(path)
    if own == "__init__":  # the public names, imported when they are first used
        return
    used = {n for n in our_imports(path) - READ_ANYWHERE if n.split(".")[0] != own}
    if own in ASIDE:
        assert {n for n in used if not ({n, n.split(".")[0]} & ASIDE[own])} == set()
        return
    assert own in LEVEL, f"{own} has no place in ORDER"
    left = {n for n in LEVEL if LEVEL[n] < LEVEL[own]}
    if own in ORDER[0]:
        left |= ORDER[0]
    right = {name for name in used if name.split(".")[0] not in left}
    assert right == EXCEPTIONS.get(own, set())


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library):
    users = {
        package_of(path)
        for path in FILES
        if any(name.split(".")[0] == library for name in imports_of(path))
    }
    assert users <= ONLY_IN[library]


def loaded_by(modules: Iterable[str]) -> set[str]:
    """Return the heavy libraries that importing modules in a new process loads."""
    names = ", ".join(f"circuitlapse.{name}" for name in modules)
    code = f"import sys, {names}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {"torch", "matplotlib", "pandas", "transformers"} & set(done.stdout.split())


@pytest.mark.parametrize(
    "packages",
    [FLAT - {"checkpoint"}, {"settings"}, {"tasks"}, {"config"}, {"plan"}, {"tables"}, {"figures"}],
    ids=lambda packages: min(packages) if len(packages) == 1 else "flat",
)
def test_what_the_workflow_reads_loads_no_torch(packages):
    names = [name_of(path) for path in FILES if package_of(path) in packages]
    found = loaded_by(name for name in names if not name.endswith("__main__"))
    assert not found & {"torch", "transformers"}


def test_a_registry_that_is_read_anywhere_loads_nothing_heavy():
    assert loaded_by(sorted(READ_ANYWHERE)) == set()


# Rule 7: unit tests mirror the modules.


def test_nine_in_ten_modules_have_a_test_of_their_name():
    there = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    mirrored = [
        path.relative_to(HOME).with_name(f"test_{path.stem}.py") in there
        for path in MODULES
        if path.stem != "__main__"
    ]
    assert sum(mirrored) / len(mirrored) >= 0.9


def test_every_unit_test_has_a_module_a_package_or_a_place_of_its_own():
    names = set(chain.from_iterable((path.stem, path.parent.name) for path in FILES))
    whole = {"bad_inputs", "house", "main", "planted_circuit", "precision", "public_api"}
    whole |= {"transformer_lens"}
    mirrors = [path for path in TESTS.rglob("test_*.py") if path.parent.name != "scripts"]
    assert {path.stem.removeprefix("test_") for path in mirrors} - names - whole == set()
