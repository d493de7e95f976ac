"""List the folders and images of a data set, and count what is skipped. Links are not followed."""

import os
from collections import Counter
from pathlib import Path

from ...errors import DataError
from ...views.escape import escape_controls
from .describe import describe_path
from .pixels import SUFFIXES

#: Files and folders of operating systems and Python, which are skipped like hidden ones.
SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "__pycache__", "$recycle.bin", "@eadir")
#: Types of images that cannot be read. They are an error, because skipping them would lose data.
OTHER_IMAGES = (".avif", ".dcm", ".dng", ".exr", ".heic", ".heif", ".jp2", ".nef", ".psd", ".svg", ".tga")
#: Files of which the folder of a study contains at least one.
STUDY_FILES = {"records.jsonl", ".lock"}
ONE_PER_CLASS = "must have one subfolder of images per class"


class Listing:
    """A walk through the folders of a data set.

    Args:
        root: Folder of the data set.
        name: Name of the data, for errors.
    """

    def __init__(self, root: Path, name: str):
        self.root, self.name = root, name
        self.hidden = 0
        self.others: Counter[str] = Counter()

    def label(self, path: Path) -> str:
        """Return the name of a file or folder for errors."""
        inside = path.relative_to(self.root).as_posix()
        return self.name if inside == "." else f"{self.name}, {escape_controls(inside)}"

    def list_folders(self, folder: Path) -> list[Path]:
        """Return the subfolders of a folder, which must not contain images itself."""
        folders, images = self._list(folder)
        if images:
            got = f"{len(images)} image{'s' * (len(images) > 1)}, such as {images[0].name!r}"
            hint = "move each image into the folder of its class"
            raise DataError(self.label(folder), f"{ONE_PER_CLASS} and no images itself", got, hint)
        if not folders:
            count = sum(self.others.values())
            got = f"no subfolder ({count} file{'s' * (count > 1)})" if count else "an empty folder"
            raise DataError(self.label(folder), ONE_PER_CLASS, got)
        return folders

    def list_images(self, folder: Path) -> list[Path]:
        """Return the images in a folder, which must not contain subfolders."""
        folders, images = self._list(folder)
        if folders:
            hint = "name a folder that has the classes, or only train and test, as its subfolders"
            got = f"the folder {folders[0].name!r}"
            raise DataError(self.label(folder), "the folder of a class must contain only images", got, hint)
        if not images:
            hint = "add images or remove the folder"
            raise DataError(self.label(folder), "must contain images", "no images", hint)
        return images

    def describe(self) -> list[str]:
        """Return what was skipped, as sentences."""
        notes: list[str] = []
        if self.hidden:
            notes.append(f"{_count(self.hidden, 'hidden or system file')} skipped.")
        if self.others:
            types = ", ".join(escape_controls(suffix) for suffix in sorted(self.others)[:8])
            notes.append(
                f"{_count(sum(self.others.values()), 'file')} skipped that are not images ({types})."
            )
        return notes

    def _list(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Return subfolders and images, sorted by name."""
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            raise DataError(self.label(folder), "must be readable", str(error.strerror)) from None
        folders: list[Path] = []
        images: list[Path] = []
        for path in (folder / name for name in names):
            if path.name.startswith(".") or path.name.lower() in SYSTEM:
                self.hidden += 1
                continue
            kind = describe_path(path)
            if kind == "a folder":
                folders += [] if _is_study(path) else [path]
            elif kind != "a file":
                hint = "copy the images instead" if "link" in kind else "remove it"
                raise DataError(self.label(path), "must be a folder or a file", kind, hint)
            elif path.suffix.lower() in SUFFIXES:
                images.append(path)
            elif path.suffix.lower() in OTHER_IMAGES:
                expected = f"images must be {', '.join(SUFFIXES)}"
                raise DataError(self.label(path), expected, path.suffix, "convert them to .png")
            else:
                self.others[path.suffix.lower() or "no suffix"] += 1
        return folders, images


def _is_study(folder: Path) -> bool:
    """Return whether a folder is that of a study, which can be within the folder of its data."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return bool(STUDY_FILES & set(names)) and not any(n.lower().endswith(SUFFIXES) for n in names)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}s were" if number != 1 else f"1 {noun} was"
