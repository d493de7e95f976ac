"""Describe what is at a path, for errors."""

from pathlib import Path


def describe_path(path: Path) -> str:
    """Return what is at a path, as words for an error."""
    if path.is_symlink():
        return "a link, which is not followed"
    if path.is_dir():
        return "a folder"
    if path.is_file():
        return "a file"
    return "a special file" if path.exists() else "a path that does not exist"
