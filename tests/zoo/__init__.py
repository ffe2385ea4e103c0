"""A zoo of hand-set models whose circuits are known, also over training.

    still        models of one step: which edges do the task, and what makes them hard to find
    edge_scores  how well each attribution method finds these edges

`make zoo` prints the whole tables; the tests here hold a small part of them.
"""
