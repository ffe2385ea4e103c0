"""A zoo of hand-set models whose circuits are known, also over training.

    still        models of one step: which edges do the task, and what makes them hard to find
    edge_scores  how well each attribution method finds these edges
    lapses       models over training: heads that hand their role over, and a rival algorithm
    changes      whether the statistics over training report these changes, at the right step
    ioi          what both have in common

`make zoo` prints the whole tables; the tests here hold a small part of them.
"""
