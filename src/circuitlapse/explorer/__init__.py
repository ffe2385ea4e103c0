"""The explorer: one HTML file in which a reader moves through training and looks into circuits.

`run_data` makes its data from tables, `bundle` puts data and page together. The page itself is in
`page/`. docs/explorer.md documents the data.
"""
