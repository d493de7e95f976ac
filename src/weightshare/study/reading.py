"""Read the result of a study from its records, and draw its report again, without its data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, StudyError, describe_exception
from ..views.files import write_atomic
from .data import DataFacts
from .description import Description, parse_facts
from .journal import parse_object, split_torn
from .records import RECORDS, REPORT
from .report.page import render_page
from .result import StudyResult
from .statistics.scale import Scale
from .statistics.scores import to_key
from .summary import RowFacts
from .trials.trial import Trial


def read(folder: Path | str) -> StudyResult:
    """Return the result of a study from its records. Its data are not needed, and nothing is written.

    The study may be unfinished or in use, and another version may have made it.

    Args:
        folder: Folder of the study.

    Raises:
        ArgumentError: If `folder` is neither text nor a path.
        StudyError: If the folder has no records of finished trials, if they belong to several studies, or if
            an older version made them, which did not describe the study.
    """
    if not isinstance(folder, str | Path):
        raise ArgumentError("study", "folder must be text or a pathlib.Path", repr(folder))
    file = Path(folder) / RECORDS
    try:
        if file.exists() and not file.is_file():
            raise OSError("records.jsonl is not a file")
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        got, hint = describe_exception(error), "name the folder that a study was given with --out"
        raise StudyError(
            f"folder {str(folder)!r}", f"must contain the {RECORDS} of a study", got, hint
        ) from None
    trials: dict[tuple[str, int], Trial] = {}
    rows: dict[str, RowFacts] = {}
    descriptions: list[Description] = []
    for number, line in enumerate(split_torn(content)[0].splitlines(), 1):
        where = f"file {str(file)!r}, line {number}"
        try:
            record = parse_object(line) or {}
            row = parse_facts(RowFacts, record["row"])
            descriptions.append(_parse_description(record))
            trial = _parse_trial(record, descriptions[-1])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise StudyError(
                where,
                "must be the record of a trial, with a description of the study",
                "something else",
                "run the study again; records of older versions cannot be read",
            ) from None
        if descriptions[-1].digest != descriptions[0].digest:
            raise StudyError(where, "all records must belong to one study", "another study")
        rows[trial.key] = row
        trials[trial.key, trial.seed] = trial
    if not trials:
        raise StudyError(f"file {str(file)!r}", "must contain a finished trial", "none")
    places = {key: place for place, key in enumerate(descriptions[-1].keys)}
    keys = tuple(sorted(rows, key=lambda key: places.get(key, len(places))))  # records are in any order
    description = replace(descriptions[-1], rows=tuple(rows[key] for key in keys), keys=keys)
    ordered = sorted(trials, key=lambda pair: (pair[1], keys.index(pair[0])))
    named = [replace(trials[key, seed], sharing=rows[key].sharing) for key, seed in ordered]
    return StudyResult.from_trials(description, named, out=Path(folder))


def redraw(folder: Path | str, out: Path | str | None = None) -> Path:
    """Draw the report of a study again from its records, and return its path.

    Args:
        folder: Folder of the study.
        out: File to write; by default `report.html` in the folder.

    Raises:
        StudyError: If the records cannot be read, or if the file cannot be written.
    """
    page = render_page(read(folder))
    path = Path(folder) / REPORT if out is None else Path(out)
    try:
        write_atomic(path, page)
    except (OSError, ValueError) as error:
        raise StudyError(
            f"file {str(path)!r}",
            "must be writable",
            getattr(error, "strerror", None) or str(error),
            "choose another file with --out",
        ) from None
    return path


def _parse_trial(record: dict[str, Any], description: Description) -> Trial:
    scale, data = description.scale, description.data
    shifts = record[to_key("score_shifted", scale.name)]
    trial = Trial.from_record(record, [int(amount) for amount in shifts], scale)
    if len(trial.class_scores) != len(data.test_counts):
        raise ValueError
    return trial


def _parse_description(record: dict[str, Any]) -> Description:
    data, scale = parse_facts(DataFacts, record["data"]), parse_facts(Scale, record["scale"])
    keys, planned = tuple(map(str, record["rows"])), int(record["planned"])
    return Description(record["study"], dict(record["options"]), data, scale, (), keys, planned)
