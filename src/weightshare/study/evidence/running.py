"""Run an experiment, in this process or in several, and keep the results of finished seeds."""

import json
import os
import platform
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..._args import check_integer
from ..._version import __version__
from ...errors import ArgumentError, SpecError, StudyError
from ...views.files import write_atomic
from ..engines import LostWorkerError, ProcessExecutor, run_tasks
from ..journal import OTHER_FOLDER, append_line, catch_os_error, hold_lock, parse_object, read_lines
from ..spec import MOST
from ..trials.trial import use_threads
from .base import Evidence, Experiment, Record
from .images import load_images
from .registry import find_experiment

DIGITS = "digits"
#: Suffixes of the files of an experiment: one line per seed, and the results.
SUFFIXES = (".jsonl", ".json", ".md", ".html")


@dataclass(frozen=True)
class Progress:
    """The progress of an experiment.

    Args:
        name: Name of the experiment.
        done: Number of finished seeds, with those of earlier runs.
        total: Number of seeds.
        seconds: Time since the run began.
    """

    name: str
    done: int
    total: int
    seconds: float


def run(
    name: str,
    *,
    data: str | None = None,
    seeds: int | None = None,
    out: str | os.PathLike[str] | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Evidence:
    """Rerun a published comparison.

    Results do not depend on the number of workers, except for times.

    Args:
        name: Name of the experiment, one of `NAMES`.
        data: Images to train on: "digits", or "npz:FILE" with `x_train`, `y_train`, `x_test`, `y_test`; None
            for the digits, or for an experiment that makes its own data.
        seeds: Number of seeds; None for the experiment's default.
        out: Folder for NAME.jsonl, with one line per finished seed, from which an interrupted run continues,
            and for NAME.json, NAME.md and NAME.html; None to write nothing.
        workers: Number of processes.
        executor: Where to run the seeds instead.
        on_progress: Called at the beginning and after each seed.

    Raises:
        SpecError: If the experiment is unknown, or if `data` is given and it takes no images.
        StudyError: If NAME.jsonl belongs to another run, or the folder is in use.
        DataError: If the data cannot be read.

    Example:
        >>> run("kunin2019", seeds=1).verdict
        'Comparisons that agree: 1 of 1.'
    """
    experiment = find_experiment(name)
    seeds = experiment.seeds if seeds is None else check_integer("evidence", "seeds", seeds, 1)
    workers = check_integer("evidence", "workers", workers, 1)
    if out == "":
        raise ArgumentError("evidence", "out must be a folder", "''", "use '.' for the current folder")
    if seeds > MOST["seeds"]:
        raise ArgumentError("evidence", f"seeds must be at most {MOST['seeds']:,}", f"{seeds:,}")
    if experiment.data is None:
        data = DIGITS if data is None else data
        images = load_images(data)
        description, digest = images.description, images.digest
    elif data is not None:
        raise SpecError("evidence", f"{name} makes its own data and takes none", repr(data), "omit --data")
    else:
        data, description, digest = "", experiment.data, ""
    key = {
        "experiment": name,
        "version": __version__,
        "data": digest,
        "settings": json.loads(json.dumps(dict(experiment.settings))),
    }
    with ExitStack() as stack:
        journal = None if out is None else stack.enter_context(_open_journal(Path(out), name, key))
        known: dict[int, Record] = {} if journal is None else journal.read()
        missing = [seed for seed in range(seeds) if seed not in known]
        done, begin = seeds - len(missing), time.perf_counter()
        on_progress(Progress(name, done, seeds, 0.0))
        for seed, record in _run_seeds(name, data, missing, workers, executor):
            known[seed] = record
            if journal is not None:
                journal.append(seed, record)
            done += 1
            on_progress(Progress(name, done, seeds, time.perf_counter() - begin))
        evidence = make_evidence(experiment, description, [known[seed] for seed in range(seeds)])
        if journal is not None:
            journal.write(".json", evidence.to_json())
            journal.write(".md", evidence.to_markdown())
            journal.write(".html", evidence.to_html())
    return evidence


def make_evidence(experiment: Experiment, data: str, records: list[Record]) -> Evidence:
    """Return the evidence of these records, by seed. Torch's generators are restored."""
    with torch.random.fork_rng():
        findings = tuple(experiment.judge(records))
    return Evidence(
        name=experiment.name,
        title=experiment.title,
        question=experiment.question,
        source=experiment.source,
        data=data,
        seeds=len(records),
        settings=experiment.settings,
        environment=(
            f"weightshare {__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
            f"{platform.machine()}, one thread per process"
        ),
        findings=findings,
        plots=tuple(experiment.plot(records)),
    )


def run_seed(name: str, data: str, seed: int) -> Record:
    """Return the measurements of one seed. Torch's generators and number of threads are restored."""
    with torch.random.fork_rng(), use_threads(1):
        torch.manual_seed(seed)
        record = find_experiment(name).run_seed(data, seed)
    return json.loads(json.dumps(record, allow_nan=False))


def _run_seeds(
    name: str, data: str, seeds: list[int], workers: int, executor: Executor | None
) -> Iterable[tuple[int, Record]]:
    """Yield each seed and its record when it is finished."""
    if executor is None and workers == 1:
        for seed in seeds:
            yield seed, run_seed(name, data, seed)
        return
    lost: list[str] = []
    with ExitStack() as stack:
        if executor is None:
            executor = stack.enter_context(ProcessExecutor(min(workers, len(seeds) or 1)))
        tasks = ((seed, (name, data, seed)) for seed in seeds)
        for seed, record in run_tasks(executor, run_seed, tasks):
            if isinstance(record, LostWorkerError):
                lost.append(f"{seed} ({record})")
            else:
                yield seed, record
    if lost:
        raise StudyError(
            f"evidence, {name}",
            "every seed must finish",
            f"seeds that lost their process again and again: {', '.join(lost)}",
            "use fewer workers if memory has run out; with --out, all other seeds are saved",
        )


class _Journal:
    """The file with one line per finished seed, locked by `_open_journal`."""

    def __init__(self, folder: Path, name: str, key: dict[str, Any]):
        self.folder, self.key = folder, key
        self.path = folder / f"{name}.jsonl"

    def read(self) -> dict[int, Record]:
        """Return the records by seed. An incomplete last line is removed.

        Raises:
            StudyError: If a line is not a record of this run.
        """
        records: dict[int, Record] = {}
        beginning = json.dumps(self.key).removesuffix("}").encode()
        for number, line in enumerate(read_lines(self.path, beginning), 1):
            entry = parse_object(line) or {}
            seed, record = entry.get("seed"), entry.get("record")
            if not entry.keys() >= self.key.keys() or type(seed) is not int or not isinstance(record, dict):
                raise self._error(number, "something else")
            if any(entry[name] != value for name, value in self.key.items()):
                raise self._error(number, "one of other data, settings or another version")
            records[seed] = record
        return records

    def append(self, seed: int, record: Record) -> None:
        """Append a record; it is on the disk when this returns."""
        append_line(self.path, {**self.key, "seed": seed, "record": record}, f"seed {seed}")

    def write(self, suffix: str, text: str) -> None:
        """Write a file with the result atomically."""
        path = self.path.with_suffix(suffix)
        with catch_os_error(path):
            write_atomic(path, text)

    def _error(self, number: int, got: str) -> StudyError:
        return StudyError(
            f"file {str(self.path)!r}, line {number}",
            "must be a seed of this experiment with the same data, settings and version",
            got,
            f"{OTHER_FOLDER}, or remove the file",
        )


@contextmanager
def _open_journal(folder: Path, name: str, key: dict[str, Any]) -> Generator[_Journal]:
    """Create the folder if it is missing, and lock the journal of the experiment."""
    with hold_lock(folder / f".{name}.lock", f"{name} must not be running there"):
        for path in (folder / f"{name}{suffix}" for suffix in SUFFIXES):
            if path.exists() and not path.is_file():
                where = f"folder {str(folder)!r}, {path.name}"
                raise StudyError(where, "must be a file", "something else", OTHER_FOLDER)
        yield _Journal(folder, name, key)
