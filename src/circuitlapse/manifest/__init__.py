"""The manifest of a run: what every job wrote, whether it is still so, and how to remake it."""
