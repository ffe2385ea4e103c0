"""Reading and writing of result files; only scripts and tests import this package."""
