"""Tasks: pairs of prompts that differ in what decides the next token.

Only `tokenizers`, `pandas` and the standard library are needed here, so a job that makes
prompts does not load torch.
"""
