"""Circuitlapse: a time-lapse of the circuits inside language models."""
