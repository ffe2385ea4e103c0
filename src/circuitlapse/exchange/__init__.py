"""Parts of one model in another: circuits (transfer) and heads (swaps)."""
