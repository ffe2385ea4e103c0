"""The command line of the audit."""
