"""Files are replaced as a whole, and only regular files are."""

import os

import pytest

from weightshare.views.files import write_atomic


def test_the_content_is_replaced(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    write_atomic(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_a_failed_write_changes_nothing(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "\ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path):
    target, link = tmp_path / "folder" / "page.html", tmp_path / "link"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_link_to_an_open_file_stays_a_link(tmp_path):
    """`/dev/stdout` is such a link if the output goes to a file."""
    target, link = tmp_path / "output", tmp_path / "link"
    with open(target, "w") as file:
        link.symlink_to(f"/proc/self/fd/{file.fileno()}")
        if not link.exists():
            link.unlink()
            link.symlink_to(target)
        write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_what_is_not_a_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(OSError, match="it exists and is not a regular file"):
            write_atomic(path, "new")
