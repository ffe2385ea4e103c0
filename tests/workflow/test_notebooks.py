"""The notebooks run on the results of the smoke run, and are stored with what they print."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))
SMOKE = {
    '"results"': '"results-smoke"',
    '"pocket-0.6m", [300, 800, 2200]': '"pocket-tiny", [0, 100, 400]',
    'task = "ioi"': 'task = "sva"',
}
"""What stands in the first cells of a notebook -> the same for the smoke run."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, copied):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for demo, smoke in SMOKE.items():
            cell.source = cell.source.replace(demo, smoke)
    assert "results-smoke" in "".join(cell.source for cell in notebook.cells)
    there = {"metadata": {"path": str(copied.folder)}}
    NotebookClient(notebook, timeout=120, resources=there, kernel_name="python3").execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_was_run_from_top_to_bottom(path):
    text = path.read_text()
    assert len(text) < 300_000
    assert "/tmp/" not in text
    assert "/home/" not in text
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert kinds <= {"execute_result", "display_data", "stream"}
    assert "display_data" in kinds
