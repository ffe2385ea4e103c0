"""One function per figure: tables in, a matplotlib figure out."""

from circuitlapse.figures.algorithm import algorithm_figure, greater_than_figure
from circuitlapse.figures.behaviour import behaviour_figure
from circuitlapse.figures.circuit_diagram import circuit_diagram, why_no_edge
from circuitlapse.figures.circuits import circuits_figure
from circuitlapse.figures.components import (
    components_figure,
    components_per_model_figure,
    tertiary_heads_figure,
)
from circuitlapse.figures.exchange import swaps_figure, transfer_figure, transfer_tasks_figure
from circuitlapse.figures.faithfulness import faithfulness_figure, faithfulness_over_training_figure
from circuitlapse.figures.ioi_components import ioi_components_figure
from circuitlapse.figures.seeds import seeds_figure
from circuitlapse.figures.sizes import (
    circuit_sizes_figure,
    size_and_performance_figure,
    size_correlation_figure,
)
from circuitlapse.figures.stability import (
    stability_edges_figure,
    stability_figure,
    stability_reference_figure,
)

__all__ = [
    "algorithm_figure",
    "behaviour_figure",
    "circuit_diagram",
    "circuit_sizes_figure",
    "circuits_figure",
    "components_figure",
    "components_per_model_figure",
    "faithfulness_figure",
    "faithfulness_over_training_figure",
    "greater_than_figure",
    "ioi_components_figure",
    "seeds_figure",
    "size_and_performance_figure",
    "size_correlation_figure",
    "stability_edges_figure",
    "stability_figure",
    "stability_reference_figure",
    "swaps_figure",
    "tertiary_heads_figure",
    "transfer_figure",
    "transfer_tasks_figure",
    "why_no_edge",
]
