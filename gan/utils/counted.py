"""Counts with their noun in messages and reports."""

_TAKES_ES = ("s", "x", "sh", "tch")  # an epoch has epochs


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, as `1 epoch`, `1,200 images` or `2 classes`."""
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return the plural of a noun that takes -s, -es or -ies."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_TAKES_ES) else f"{noun}s"
