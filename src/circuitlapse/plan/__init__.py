"""What a run costs, before anything is spent."""
