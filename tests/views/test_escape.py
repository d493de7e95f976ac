import pytest

from weightshare.views.escape import visible


@pytest.mark.parametrize("text", ["cat", "Γάτα 猫 [b] <i>", "no\u00a0break"])
def test_harmless_text_stays(text):
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\udcff", "\\udcff"), ("\x1b[0m", "\\x1b[0m"), ("\u202egnp", "\\u202egnp"), ("\u2066\n", "\\u2066\\n")],
)
def test_what_would_be_obeyed_is_written_out(text, shown):
    assert visible(text) == shown
    assert visible(text).encode()
