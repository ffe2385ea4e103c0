"""A zoo of hand-set models whose circuits are known, also over training.

    still        models of one step: which edges do the task, and what makes them hard to find
    edge_scores  how well each attribution method finds these edges
    lapses       models over training: heads that hand their role over, and a rival algorithm
    changes      whether the statistics over training report these changes, at the right step
    emerging     models of three sizes, in which a task and a component emerge at known times
    ioi          what models of IOI have in common

`make zoo` prints the whole tables; the tests here hold a small part of them.
"""
