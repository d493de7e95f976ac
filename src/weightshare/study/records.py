"""The folder of a study: records, results, report, and the states of interrupted trials.

Only one run can use a folder at a time. Files that are not those of this study are never changed.
"""

import json
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import StudyError, describe_exception
from ..views.files import write_atomic
from .spec import StudySpec
from .tasks import Metric
from .trials.states import STATES
from .trials.trial import Trial

RECORDS, RESULTS, REPORT, LOCK = "records.jsonl", "results.json", "report.html", ".lock"
FILES = {RECORDS, RESULTS, REPORT, LOCK}
OTHER_FOLDER = "choose another folder with --out"
#: Beginning of the records of all studies.
BEGINNING = b'{"study": "'


class Folder:
    """The folder of a study, locked by `open_folder`.

    Args:
        path: Path of the folder.
        digest: Digest of the specification, the data and the version.
        spec: Specification of the study, which is also stored with every record.
    """

    def __init__(self, path: Path, digest: str, spec: StudySpec):
        self.path, self.digest, self.spec = path, digest, spec

    def read_trials(self, shifts: Sequence[int], metric: Metric) -> list[Trial]:
        """Return the finished trials, measured by this metric at these shifts.

        An incomplete last record of this study is removed.

        Raises:
            StudyError: If the file cannot be read, or if a line is not a record or belongs to another study.
        """
        file = self.path / RECORDS
        with _catch_os_error(file):
            complete, torn = split_torn(file.read_bytes()) if file.exists() else (b"", b"")
        trials: list[Trial] = []
        lines = complete.splitlines()
        for number, line in enumerate(lines, 1):
            record = _parse(line)
            if record is None:
                raise _record_error(file, number)
            if record.get("study") != self.digest:
                raise StudyError(
                    f"folder {str(self.path)!r}",
                    f"must be empty or contain this study ({self.spec.title}, digest {self.digest})",
                    f"another study ({record.get('title')}, digest {record.get('study')}"
                    f"{describe_changes(record.get('spec'), self.spec.fixed())})",
                    f"{OTHER_FOLDER}, or use the options of that study",
                )
            try:
                trials.append(Trial.from_record(record, shifts, metric))
            except (KeyError, TypeError, ValueError, OverflowError):
                raise _record_error(file, number) from None
        if torn:
            ours = BEGINNING + self.digest.encode()
            if not torn.startswith(ours) and not ours.startswith(torn):
                raise _record_error(file, len(lines) + 1)
            with _catch_os_error(file):
                os.truncate(file, len(complete))
        return trials

    def append(self, trial: Trial, description: dict[str, Any]) -> None:
        """Append the record of a finished trial; it is on the disk when this returns.

        Args:
            trial: The trial.
            description: What else to store, as `Description.to_record` returns it.
        """
        about = {"study": self.digest, "title": self.spec.title, "spec": self.spec.fixed(), **description}
        line = json.dumps({**about, **trial.to_record()}, allow_nan=False) + "\n"
        path = self.path / RECORDS
        what = f", record of {trial.sharing}, seed {trial.seed}"
        with _catch_os_error(path, what), open(path, "a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def remove_states(self) -> None:
        """Delete the states of trials that a killed run had finished."""
        shutil.rmtree(self.path / STATES, ignore_errors=True)

    def has_text(self, name: str, text: str) -> bool:
        """Return whether a file exists with exactly this text."""
        try:
            return (self.path / name).read_bytes() == text.encode()
        except OSError:
            return False

    def write(self, name: str, text: str) -> None:
        """Write a file atomically."""
        with _catch_os_error(self.path / name):
            write_atomic(self.path / name, text)


@contextmanager
def open_folder(path: Path | str, digest: str, spec: StudySpec) -> Generator[Folder]:
    """Create the folder if it is missing, and lock it.

    Raises:
        StudyError: If the path is not a writable folder, if the folder contains something other than a
            study, or if another run has locked it.
    """
    path = Path(path)
    where = f"folder {str(path)!r}"
    try:
        if path.exists() and not path.is_dir():
            raise StudyError(where, "must be a folder", "a file", "choose another path with --out")
        is_new = not path.exists()
        if not is_new:
            _check_entries(path, where)
        (path / STATES).mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise StudyError(
            where,
            "must not be in use",
            "a folder that another run has locked",
            f"wait until it finishes, or {OTHER_FOLDER}",
        ) from None
    except (OSError, RecursionError) as error:  # pathlib recurses into a path with many folders
        raise StudyError(
            where, "must be a writable folder", describe_exception(error), "choose another path with --out"
        ) from None
    try:
        yield Folder(path, digest, spec)
    finally:
        with suppress(OSError):  # it contains states, or this folder is gone
            (path / STATES).rmdir()
        if is_new and [entry.name for entry in path.iterdir()] == [LOCK]:
            (path / LOCK).unlink()
            path.rmdir()
        lock.release()


def _check_entries(path: Path, where: str) -> None:
    """Raise a StudyError if the folder contains something other than a study."""
    for name in sorted(FILES):
        if (path / name).exists() and not (path / name).is_file():
            raise StudyError(f"{where}, {name}", "must be a file", "something else", OTHER_FOLDER)
    with open(path / RECORDS, "rb") if (path / RECORDS).exists() else BytesIO() as file:
        beginning = file.read(len(BEGINNING))
    if beginning and not BEGINNING.startswith(beginning):
        raise _record_error(path / RECORDS, 1)
    if beginning != BEGINNING:
        known = {LOCK, STATES, *([RECORDS] if (path / RECORDS).exists() else [])}
        others = sorted(entry.name for entry in path.iterdir() if entry.name not in known)
        others = [name for name in others if not name.startswith(".weightshare-")]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise StudyError(where, "must be empty or contain a study", f"{others[0]!r}{more}", OTHER_FOLDER)


@contextmanager
def _catch_os_error(file: Path, what: str = "") -> Generator[None]:
    """Turn an OSError, such as a full disk, into a StudyError that names the file, and what part of it."""
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"file {str(file)!r}{what}",
            "must be readable and writable",
            error.strerror or type(error).__name__,
            f"free disk space or {OTHER_FOLDER}; finished trials are saved",
        ) from None


def describe_changes(stored: Any, current: dict[str, Any]) -> str:
    """Return how the options of the stored study differ from the current ones; "" if none were stored.

    >>> describe_changes({"width": 16, "seeds": 3}, {"width": 8, "seeds": 3})
    '; width=16 instead of 8'
    """
    if not isinstance(stored, dict):
        return ""
    names = [name for name in current if stored.get(name) != current[name]]
    changes = [f"{name}={_format(stored.get(name))} instead of {_format(current[name])}" for name in names]
    return "; " + ("; ".join(changes) or "the same options, but other images or another version")


def _format(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def split_torn(content: bytes) -> tuple[bytes, bytes]:
    """Split the content of a file into complete records and the rest that a killed run left at the end.

    >>> split_torn(b'{"a": 1}\\n{"a"')
    (b'{"a": 1}\\n', b'{"a"')
    """
    complete = content[: content.rfind(b"\n") + 1]
    last = complete.splitlines()[-1:]
    if last and _parse(last[0]) is None:
        complete = complete[: len(complete) - len(last[0]) - 1]
    return complete, content[len(complete) :]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _record_error(file: Path, number: int) -> StudyError:
    return StudyError(
        f"file {str(file)!r}, line {number}",
        "must be the record of a trial",
        "something else",
        f"{OTHER_FOLDER}, or remove this line",
    )
