"""First names, common in the United States; each list starts with the most familiar ones.

Any prefix of `FEMALE_NAMES` with the prefix of `MALE_NAMES` of the same length is balanced.
"""

from circuitlapse.tasks.words.listing import listing

FEMALE_NAMES = listing(
    """
    Mary Jennifer Sarah Jessica Lisa Susan Linda Emily Anna Laura
    Karen Nancy Amanda Patricia Michelle Rachel Amy Nicole Emma Rebecca
    Sandra Betty Ashley Donna Carol Melissa Deborah Stephanie Sharon Kathleen
    Angela Helen Katherine Christine Catherine Janet Maria Diane Julie Heather
    Victoria Christina Lauren Olivia Martha Megan Andrea Alice Hannah Julia
    """
)

MALE_NAMES = listing(
    """
    John James Robert Michael David William Thomas Daniel Kevin Matthew
    Richard Joseph Charles Christopher Anthony Steven Paul Andrew Joshua Brian
    Kenneth George Edward Ronald Timothy Jason Jeffrey Ryan Jacob Gary
    Nicholas Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel
    Gregory Alexander Raymond Patrick Jack Adam Nathan Henry Peter
    """
)
