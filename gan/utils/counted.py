"""Counts with their noun in messages and reports."""


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, as `1 epoch` or `1,200 images`.

    Args:
        many: the plural, if it is not the noun with an s.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
