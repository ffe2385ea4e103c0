"""Nouns for things that last for years."""

from circuitlapse.tasks.words.listing import listing

EVENTS = listing(
    """
    war siege campaign project battle crisis reign conflict dispute famine
    drought epidemic plague rebellion revolt revolution uprising expedition journey voyage
    tour mission operation occupation invasion alliance treaty dynasty era period
    regime rule government empire colony construction restoration renovation exploration inquiry
    investigation trial case debate discussion negotiation exhibition tournament league competition
    contest rivalry feud quarrel strike boycott embargo blockade ban restriction
    protest movement struggle fight resistance persecution purge exile imprisonment sentence
    marriage friendship partnership romance engagement career tenure presidency course program
    study experiment survey trend fashion boom recession depression inflation decline
    recovery expansion growth migration settlement trade monopoly lease contract agreement
    pact collaboration cooperation effort initiative reform transition outbreak illness pursuit
    search quest adventure production shortage hostility peace prosperity unrest controversy
    """
)
