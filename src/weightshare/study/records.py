"""The folder of a study: records, results, report, and the states of interrupted trials.

Only one run can use a folder at a time. Files that are not those of this study are never changed.
"""

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import StudyError
from ..views.files import write_atomic
from .journal import (
    OTHER_FOLDER,
    append_line,
    catch_folder_error,
    catch_os_error,
    hold_lock,
    parse_object,
    read_lines,
)
from .spec import StudySpec
from .tasks import Metric
from .trials.states import STATES
from .trials.trial import Trial

RECORDS, RESULTS, REPORT, LOCK = "records.jsonl", "results.json", "report.html", ".lock"
FILES = {RECORDS, RESULTS, REPORT, LOCK}
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

    def read_trials(
        self, shifts: Sequence[int], metric: Metric, parameters: Mapping[str, int]
    ) -> list[Trial]:
        """Return the finished trials. An incomplete last record of this study is removed.

        Args:
            shifts: Shifts at which they must be measured.
            metric: Metric by which they must be measured.
            parameters: Number of parameters of each row, by its key.

        Raises:
            StudyError: If the file cannot be read, or if a line is not a record, or belongs to another study
                or to another network.
        """
        file = self.path / RECORDS
        trials: list[Trial] = []
        for number, line in enumerate(read_lines(file, BEGINNING + self.digest.encode()), 1):
            record = parse_object(line)
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
                trial = Trial.from_record(record, shifts, metric)
                stored = int(record["row"]["parameters"])
            except (KeyError, TypeError, ValueError, OverflowError):
                raise _record_error(file, number) from None
            current = parameters.get(trial.key, stored)
            if current != stored:
                raise StudyError(
                    f"folder {str(self.path)!r}",
                    f"must contain trials of this model, with {current:,} parameters in row {trial.sharing}",
                    f"{stored:,} parameters",
                    OTHER_FOLDER,
                )
            trials.append(trial)
        return trials

    def append(self, trial: Trial, description: dict[str, Any]) -> None:
        """Append the record of a finished trial; it is on the disk when this returns.

        Args:
            trial: The trial.
            description: What else to store, as `Description.to_record` returns it.
        """
        about = {"study": self.digest, "title": self.spec.title, "spec": self.spec.fixed(), **description}
        record = {**about, **trial.to_record()}
        append_line(self.path / RECORDS, record, f"{trial.sharing}, seed {trial.seed}")

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
        with catch_os_error(self.path / name):
            write_atomic(self.path / name, text)


@contextmanager
def open_folder(path: Path | str, digest: str, spec: StudySpec) -> Generator[Folder]:
    """Create the folder if it is missing, and lock it.

    Raises:
        StudyError: If the path is not a writable folder, if the folder contains something other than a
            study, or if another run has locked it.
    """
    path = Path(path)
    with catch_folder_error(path):
        if path.exists():
            _check_entries(path, f"folder {str(path)!r}")
    with hold_lock(path / LOCK, "must not be in use"):
        with catch_folder_error(path):
            (path / STATES).mkdir(exist_ok=True)
        try:
            yield Folder(path, digest, spec)
        finally:
            with suppress(OSError):  # it contains states, or this folder is gone
                (path / STATES).rmdir()


def _check_entries(path: Path, where: str) -> None:
    """Raise a StudyError if the path is a file, or a folder with something other than a study."""
    if not path.is_dir():
        raise StudyError(where, "must be a folder", "a file", "choose another path with --out")
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


def describe_changes(stored: Any, current: dict[str, Any]) -> str:
    """Return how the options of the stored study differ from the current ones; "" if none were stored.

    >>> describe_changes({"width": 16, "seeds": 3}, {"width": 8, "seeds": 3})
    '; width=16 instead of 8'
    """
    if not isinstance(stored, dict):
        return ""
    names = [name for name in current if stored.get(name) != current[name]]
    changes = [f"{name}={_format(stored.get(name))} instead of {_format(current[name])}" for name in names]
    return "; " + (
        "; ".join(changes) or "the same options, but other images, other trained weights or another version"
    )


def _format(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _record_error(file: Path, number: int) -> StudyError:
    return StudyError(
        f"file {str(file)!r}, line {number}",
        "must be the record of a trial",
        "something else",
        f"{OTHER_FOLDER}, or remove this line",
    )
