"""One function per figure: tables in, a matplotlib figure out."""

from circuitlapse.figures.behaviour import behaviour_figure
from circuitlapse.figures.circuits import circuits_figure
from circuitlapse.figures.faithfulness import faithfulness_figure

__all__ = ["behaviour_figure", "circuits_figure", "faithfulness_figure"]
