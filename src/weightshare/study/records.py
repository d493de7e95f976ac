"""A study's folder: one line a finished trial, the results, the report; one run at a time."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import StudyError
from ..views.files import write_atomic
from .spec import StudySpec
from .trials import Trial

RECORDS, RESULTS, REPORT, LOCK = "records.jsonl", "results.json", "report.html", ".lock"
OURS = {RECORDS, RESULTS, REPORT, LOCK}


class Folder:
    """The folder of one study, locked; made by `open_folder`.

    Args:
        path: The folder.
        digest: Of the study: spec, data and version.
        spec: What is asked, kept with every record for errors.
    """

    def __init__(self, path: Path, digest: str, spec: StudySpec):
        self.path, self.digest, self.spec = path, digest, spec

    def trials(self, shifts: Sequence[int]) -> list[Trial]:
        """The finished trials, measured at these shifts; a torn last line is cut off the file.

        Raises:
            StudyError: records of another study, lines that are no records, or a file that cannot be read.
        """
        file = self.path / RECORDS
        with _working_on(file):
            whole, torn = split_torn(file.read_bytes()) if file.exists() else (b"", b"")
        trials = []
        for number, line in enumerate(whole.splitlines(), 1):
            record = _parsed(line)
            if record is None:
                raise _no_record(file, number)
            if record.get("study") != self.digest:
                raise StudyError(
                    f"folder {str(self.path)!r}",
                    f"must be empty or hold this study ({self.spec.title}, digest {self.digest})",
                    f"another study ({record.get('title')}, digest {record.get('study')}"
                    f"{differing(record.get('spec'), self.spec.to_dict())})",
                    "choose another folder with --out, or give the options of the study that is there",
                )
            try:
                trials.append(Trial.from_record(record, shifts))
            except (KeyError, TypeError, ValueError, OverflowError):
                raise _no_record(file, number) from None
        if torn:
            with _working_on(file):
                os.truncate(file, len(whole))
        return trials

    def append(self, trial: Trial) -> None:
        """Add a finished trial; it is on the disk when this returns."""
        about = {"study": self.digest, "title": self.spec.title, "spec": self.spec.to_dict()}
        line = json.dumps({**about, **trial.to_record()}, allow_nan=False) + "\n"
        path = self.path / RECORDS
        with _working_on(path), open(path, "a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def holds(self, name: str, text: str) -> bool:
        """Whether a file is there with just this text."""
        try:
            return (self.path / name).read_bytes() == text.encode()
        except OSError:
            return False

    def write(self, name: str, text: str) -> None:
        """Write a file as a whole: readers see the old one or the new one, never a part."""
        with _working_on(self.path / name):
            write_atomic(self.path / name, text)


@contextmanager
def open_folder(path: Path | str, digest: str, spec: StudySpec) -> Iterator[Folder]:
    """Make the folder if it is missing, and hold its lock.

    Raises:
        StudyError: the path is a file, the folder holds something else, or another run holds its lock.
    """
    path = Path(path)
    where = f"folder {str(path)!r}"
    if path.exists() and not path.is_dir():
        raise StudyError(where, "must be a folder", "a file", "choose another path with --out")
    try:
        path.mkdir(parents=True, exist_ok=True)
        others = sorted(entry.name for entry in path.iterdir() if entry.name not in OURS)
        others = [name for name in others if not name.startswith(".weightshare-")]
        if others and not (path / RECORDS).is_file():
            raise StudyError(
                where,
                "must be empty or hold a study",
                f"{len(others)} other entries, such as {others[0]!r}",
                "choose a new folder with --out",
            )
        for name in sorted(OURS):
            if (path / name).exists() and not (path / name).is_file():
                raise StudyError(
                    f"{where}, {name}", "must be a file", "something else", "choose another folder with --out"
                )
        lock = FileLock(path / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise StudyError(
            where,
            "must not be in use",
            "a folder that another run writes to",
            "wait for it or choose another",
        ) from None
    except OSError as error:
        raise StudyError(
            where, "must be a folder that can be written", f"{error.strerror or error}", "choose another path"
        ) from None
    try:
        yield Folder(path, digest, spec)
    finally:
        lock.release()


@contextmanager
def _working_on(file: Path) -> Iterator[None]:
    """A disk that is full or will not be written ends the study with an error of ours."""
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"file {str(file)!r}",
            "must be a file that can be read and written",
            error.strerror or type(error).__name__,
            "make room or choose another folder with --out; finished trials are kept",
        ) from None


def differing(theirs: Any, ours: dict[str, Any]) -> str:
    """The options in which the study that is there differs from ours; nothing where it kept none.

    >>> differing({"width": 16, "seeds": 3}, {"width": 8, "seeds": 3})
    '; width=16 there, 8 here'
    """
    if not isinstance(theirs, dict):
        return ""
    names = [name for name in ours if theirs.get(name) != ours[name]]
    said = [f"{name}={_plain(theirs.get(name))} there, {_plain(ours[name])} here" for name in names]
    return "; " + ("; ".join(said) or "the same options on other images or with another version")


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def split_torn(content: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and what a run that was killed left behind them.

    >>> split_torn(b'{"a": 1}\\n{"a"')
    (b'{"a": 1}\\n', b'{"a"')
    """
    whole = content[: content.rfind(b"\n") + 1]
    last = whole.splitlines()[-1:]
    if last and _parsed(last[0]) is None:
        whole = whole[: len(whole) - len(last[0]) - 1]
    return whole, content[len(whole) :]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _no_record(file: Path, number: int) -> StudyError:
    return StudyError(
        f"file {str(file)!r}, line {number}",
        "must be the record of a trial",
        "something else",
        "choose another folder with --out, or remove this line",
    )
