"""Text from outside made harmless: nothing in it steers a terminal, turns a line around or breaks UTF-8.

Markup is not touched: for HTML, jinja2's autoescape does that.
"""

import unicodedata


def visible(text: str) -> str:
    """The text with control, format (bidirectional too), line-breaking and surrogate characters written out.

    >>> print(visible("cat\\x1b[31m"))
    cat\\x1b[31m
    """
    if text.isprintable():
        return text
    return "".join(_written(c) if unicodedata.category(c) in _OBEYED else c for c in text)


_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
