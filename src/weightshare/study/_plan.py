"""The plan of a study: what it will train, before it trains anything."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ..errors import ArgumentError
from ..views.escape import escape_controls
from ..views.numbers import format_count
from .data import DataFacts, Examples, load_examples
from .rows import Row, plan_rows
from .spec import StudySpec
from .tasks import METRICS, Metric, find_metric
from .trials.building import Factory


@dataclass(frozen=True)
class Plan:
    """The plan of a study. `str` is a table of its rows.

    Args:
        spec: Specification of the study.
        data: Facts about the data.
        rows: The rows, in the order in which they are trained with each seed.
        data_bytes: Memory of the data in bytes.
        start_digest: Digest of the weights of the trained network, if there is one.
        finished: Number of trials that are finished already.
    """

    spec: StudySpec
    data: DataFacts
    rows: tuple[Row, ...]
    data_bytes: int
    start_digest: str | None = None
    finished: int = 0

    @property
    def trials(self) -> int:
        """Number of trials."""
        return self.spec.seeds * len(self.rows)

    @property
    def memory(self) -> int:
        """Estimated memory in bytes of the data and the largest trial."""
        return self.data_bytes + max(row.memory for row in self.rows)

    def __str__(self) -> str:
        lines = [("row", "parameters", "memory (MB)")]
        lines += [(r.name, format_count(r.parameters), _format_megabytes(r.memory)) for r in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines)]
        table = ["  ".join([a.ljust(widths[0]), b.rjust(widths[1]), c.rjust(widths[2])]) for a, b, c in lines]
        data = self.data
        rows, seeds, epochs, trials = (
            f"{count:,} {word}{'s' * (count > 1)}"
            for count, word in (
                (len(self.rows), "row"),
                (self.spec.seeds, "seed"),
                (self.spec.epochs_max, "epoch"),
                (self.trials, "trial"),
            )
        )
        examples = f"{data.train:,} training, {data.validation:,} validation, {data.test:,} test examples"
        counts = f"{trials} ({rows} x {seeds})"
        finished = f", {self.finished:,} of them finished" if self.finished else ""
        return "\n".join(
            [
                f"Data: {data.name}, {data.task}, {examples}.",
                *map(escape_controls, table),
                f"{counts}{finished}, of {'at most ' if self.spec.start is None else ''}{epochs} each.",
                f"Estimated memory: {_format_megabytes(self.memory)} MB for the data and the largest trial, "
                "in addition to the memory of Python and torch.",
            ]
        )


def _format_megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f}" if count >= 10e6 else f"{count / 1e6:.1f}"


def plan(spec: StudySpec) -> Plan:
    """Return the plan of a study. The data are loaded and everything is checked, but nothing is written.

    Raises:
        DataError, SpecError, SharingError, StudyError: As in `run`.

    Example:
        >>> import weightshare as ws
        >>> ws.study.plan(ws.study.StudySpec(sharings="full,tiled:2", seeds=5)).trials
        15
    """
    return plan_study(spec, load_examples(check_spec(spec)))


def check_spec(spec: object) -> StudySpec:
    """Return a specification; raise `ArgumentError` for anything else."""
    if not isinstance(spec, StudySpec):
        hint = "use StudySpec(data, sharings)"
        raise ArgumentError("study", "spec must be a StudySpec", type(spec).__name__, hint)
    return spec


def plan_study(spec: StudySpec, examples: Examples) -> Plan:
    """Return the plan of a study on these data."""
    _check_metric(find_metric(spec.metric, examples.task), examples)
    pairs = (examples.train, examples.validation, examples.test)
    data_bytes = sum(tensor.nbytes for pair in pairs for tensor in pair)
    facts = DataFacts.from_examples(examples)
    factory = Factory(spec, examples)
    return Plan(spec, facts, tuple(plan_rows(factory)), data_bytes, factory.start_digest)


def _check_metric(metric: Metric, examples: Examples) -> None:
    """Raise a StudyError unless a user-supplied metric returns a number for the validation set.

    The outputs are the targets with noise: a metric can be infinite for perfect outputs, and undefined for
    constant ones.
    """
    if metric in METRICS[examples.task.has_classes].values():
        return
    targets = outputs = examples.validation[1]
    if examples.task.has_classes:
        outputs = F.one_hot(targets.clamp_min(0), examples.outputs).movedim(-1, 1).float()
    noise = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        metric(examples.to_units(outputs + 0.1 * noise), examples.to_units(targets))
