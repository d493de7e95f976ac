"""Text from outside is harmless once it is escaped, and unchanged if it already was."""

import pytest

from weightshare.views.escape import escape_controls, quote


@pytest.mark.parametrize("text", ["cat", "Γάτα 猫 [b] <i>", "no\u00a0break"])
def test_harmless_text_is_unchanged(text):
    assert escape_controls(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("\udcff", "\\udcff"), ("\x1b[0m", "\\x1b[0m"), ("\u202egnp", "\\u202egnp"), ("\u2066\n", "\\u2066\\n")],
)
def test_characters_that_terminals_obey_are_escaped(text, escaped):
    assert escape_controls(text) == escaped
    assert escape_controls(text).encode()


def test_quoted_text_is_escaped_and_cut():
    assert quote("\x1b[0m\udcff") == r"'\x1b[0m\udcff'"
    assert quote("a" * 60) == repr("a" * 60)
    assert quote("a" * 61) == repr("a" * 57 + "...")
