"""Circuits: edge scores, selection, faithfulness, and the search for a small faithful one."""
