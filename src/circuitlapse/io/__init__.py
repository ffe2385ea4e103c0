"""Read and write the files of results.

Only scripts, `hub` and tests import this package, and users of the library.
"""
