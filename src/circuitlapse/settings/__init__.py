"""Every section of the configuration: its keys, what they mean, and the values they allow.

The sections can be made in Python too: `Circuits(threshold=0.9)`. Each checks its own keys;
`config.cross_field` checks the sections against each other and against the files on disk.
"""
