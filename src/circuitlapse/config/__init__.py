"""The configuration: typed settings, and a loader that reports every problem at once."""

from circuitlapse.config.loader import load_config
from circuitlapse.config.schema import Config
from circuitlapse.settings import (
    Activations,
    Bootstrap,
    Circuits,
    Compute,
    Figures,
    Model,
    Task,
    Train,
    Training,
)

__all__ = [
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
