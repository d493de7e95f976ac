"""The folder of a sharing test: one line per finished trial, so that an interrupted test continues."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from math import inf, isfinite
from pathlib import Path
from typing import Any

from ..errors import StudyError
from ..study.journal import append_line, hold_lock, parse_object, read_lines
from .training import Trial

RECORDS, LOCK = "records.jsonl", ".lock"
_BEGINNING = '{"sharing_test": "'


class Records:
    """The finished trials of a test.

    Args:
        path: Path of the folder.
        digest: Digest of model, data and options.
        counts: Number of judged examples per fold.
    """

    def __init__(self, path: Path, digest: str, counts: Sequence[int]):
        self.path, self.digest, self._counts = path, digest, counts

    def read(self) -> dict[Trial, list[float]]:
        """Return the losses of the finished trials. An incomplete last line is removed."""
        trials: dict[Trial, list[float]] = {}
        where = f"folder {str(self.path)!r}"
        for line in read_lines(self.path / RECORDS, (_BEGINNING + self.digest).encode()):
            record: dict[str, Any] = parse_object(line) or {}
            if record.get("sharing_test") != self.digest:
                got = "another test, or other files" if "sharing_test" in record else "something else"
                expected = "must be empty or contain the test of this model with these data and options"
                raise StudyError(where, expected, got, "choose another folder")
            try:
                trial, losses = self._parse(record)
                trials[trial] = losses
            except (LookupError, TypeError, ValueError) as error:
                expected, got = "must contain complete records", f"a damaged one in {RECORDS}"
                raise StudyError(where, expected, got, "choose another folder") from error
        return trials

    def _parse(self, record: dict[str, Any]) -> tuple[Trial, list[float]]:
        losses = [inf if loss is None else float(loss) for loss in record["losses"]]
        if len(losses) != self._counts[record["fold"]]:
            raise ValueError(len(losses))
        return Trial(record["kind"], record["layer"], record["fold"], record["sharing"]), losses

    def append(self, trial: Trial, losses: list[float]) -> None:
        """Append a finished trial; it is on the disk when this returns."""
        record = {"sharing_test": self.digest, **vars(trial)}
        record["losses"] = [loss if isfinite(loss) else None for loss in losses]
        append_line(self.path / RECORDS, record, f"{trial.kind}, {trial.layer}")


@contextmanager
def open_records(path: Path, digest: str, counts: Sequence[int]) -> Generator[Records]:
    """Create the folder if it is missing, and lock it.

    Raises:
        StudyError: If the folder cannot be written, or if another run has locked it.
    """
    with hold_lock(path / LOCK, "must not be in use"):
        yield Records(path, digest, counts)
