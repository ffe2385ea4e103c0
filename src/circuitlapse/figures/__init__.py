"""Figures: functions from tables to matplotlib figures. `registry` lists them; it is light."""
