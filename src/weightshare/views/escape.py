"""Text from outside made harmless for a terminal. For HTML, jinja2's autoescape does it."""

import unicodedata


def visible(text: str) -> str:
    """The text with control, format and line-breaking characters written out, so that a terminal obeys none.

    >>> print(visible("cat\\x1b[31m"))
    cat\\x1b[31m
    """
    return "".join(_written(c) if unicodedata.category(c) in _OBEYED else c for c in text)


_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
