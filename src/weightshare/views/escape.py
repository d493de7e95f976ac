"""Escape text from outside, so that it cannot control a terminal, reverse a line or break UTF-8.

Markup is not touched: jinja2's autoescape takes care of HTML, `views.markdown` of Markdown.
"""

import unicodedata

#: Unicode categories that terminals and editors obey: control, format (including bidirectional), surrogate,
#: line separator and paragraph separator.
_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def escape_controls(text: str) -> str:
    """Return the text with control, format, surrogate and line-breaking characters as escape sequences.

    >>> print(escape_controls("cat\\x1b[31m"))
    cat\\x1b[31m
    """
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _OBEYED else c for c in text)


def shorten_middle(text: str, length: int) -> str:
    """Return the text with an ellipsis in the middle if it is longer than `length`; the end keeps more.

    >>> shorten_middle("model.layers.0.self_attn.q_proj", 20)
    'model.…f_attn.q_proj'
    """
    if len(text) <= length:
        return text
    head = (length - 1) // 3
    return text[:head] + "…" + text[len(text) - (length - 1 - head) :]


def quote(text: str, length: int = 60) -> str:
    """Return the text as a quoted Python string, cut to at most `length` characters.

    >>> quote("cat\\x1b[31m"), quote("a long text", length=9)
    ("'cat\\\\x1b[31m'", "'a long...'")
    """
    return repr(text if len(text) <= length else text[: length - 3] + "...")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
