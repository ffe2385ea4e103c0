"""Export circuits in the formats of other tools.

python -m circuitlapse.io mib FOLDER FILE ... [--model M] [--task T] [--d-model N] [--circuits]

writes the circuits in results/circuits/MODEL/TASK/stepSTEP.h5 as a submission to MIB into FOLDER:
the scores of all edges, or with --circuits nine circuits of the sizes that MIB wants. --model and
--task are the names that MIB knows them by.
"""

from __future__ import annotations

import argparse
import sys

from circuitlapse.circuits.selection import Circuit, cut, edge_order, graph_of
from circuitlapse.errors import CircuitlapseError
from circuitlapse.io.circuit_files import read_circuit
from circuitlapse.io.mib import WIDTHS, mib_sizes, write_mib
from circuitlapse.models.graph import EdgeScores


def main() -> None:
    """Do what the module docstring says."""
    parser = argparse.ArgumentParser(prog="python -m circuitlapse.io", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=["mib"])
    parser.add_argument("folder", help="of the submission")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a circuit file")
    parser.add_argument("--model", help="name of the model in MIB; by default, that in the file")
    parser.add_argument("--task", help="name of the task in MIB; by default, that in the file")
    parser.add_argument("--d-model", type=int, help="width of a model that MIB does not know")
    parser.add_argument("--circuits", action="store_true", help="nine circuits, not the scores")
    asked = parser.parse_args()
    for file in asked.files:
        try:
            print(export(file, asked))
        except CircuitlapseError as error:
            sys.exit(str(error))


def export(file: str, asked: argparse.Namespace) -> str:
    """Write the circuit of one file; return the folder that was written, or exit."""
    record = read_circuit(file)
    model = asked.model or record.model
    if (d_model := asked.d_model or WIDTHS.get(model)) is None:
        known = ", ".join(WIDTHS)
        sys.exit(
            f"{file}: MIB does not know the model {model!r}; it knows {known}. Name one of "
            "them with --model, or give the width of the residual stream with --d-model."
        )
    scores = EdgeScores(graph_of(record), record.scores)
    found: EdgeScores | list[Circuit] = scores
    if asked.circuits:
        order = edge_order(scores, how=record.selection)
        found = [cut(scores.graph, order, n) for n in mib_sizes(scores.graph)]
    task = asked.task or record.task
    return str(write_mib(asked.folder, found, task=task, model=model, d_model=d_model))


if __name__ == "__main__":
    main()
