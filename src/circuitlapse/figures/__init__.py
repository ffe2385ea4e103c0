"""Functions from tables to matplotlib figures; `registry` lists them without importing them."""
