"""How the word lists are written: as text, one word after the other."""


def listing(text: str) -> tuple[str, ...]:
    """Return the words of `text`."""
    return tuple(text.split())
