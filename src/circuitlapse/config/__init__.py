"""The configuration: one typed source for its keys, and a loader that finds every mistake."""

from circuitlapse.config.analysis import Activations, Bootstrap, Circuits, Compute, Figures
from circuitlapse.config.load import load_config
from circuitlapse.config.models import Model, Train, Training
from circuitlapse.config.schema import Config
from circuitlapse.config.tasks import BUILDERS, Task

__all__ = [
    "BUILDERS",
    "Activations",
    "Bootstrap",
    "Circuits",
    "Compute",
    "Config",
    "Figures",
    "Model",
    "Task",
    "Train",
    "Training",
    "load_config",
]
