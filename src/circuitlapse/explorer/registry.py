"""What the explorer is made from. Rules read this module, so it imports nothing heavy."""

EXPLORED = (
    "behaviour",
    "circuit_summary",
    "circuit_edges",
    "components",
    "roles",
    "stability",
    "transfer",
)
"""Names of the tables."""
