"""Circuits: edge scores, selection, faithfulness, and the search for the smallest faithful one."""
