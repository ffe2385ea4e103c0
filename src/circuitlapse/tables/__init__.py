"""The tables: results of all jobs, collected and compared. No torch.

`registry` lists every table, what it is made from and the function that makes it.
"""
