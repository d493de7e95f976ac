"""The rows of a study: each requested sharing, size-matched rows, and the rows of further questions."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..counting import explain
from ..errors import StudyError
from ..sharing import Full, Local, Sharing
from .data import Examples
from .spec import StudySpec, get_step
from .trials.building import RUNS_AGAIN, Factory, catch_failure, count_macs, measure_activations
from .trials.network import DEPTH, Network
from .trials.start import check_unseen

MAX_PARAMETERS = 2**27
MAX_WIDTH = 4096
#: Copies of each parameter during training: itself, its gradient, two moments of Adam and its best value.
COPIES = 5
#: Bytes of a parameter.
BYTES = 4


@dataclass(frozen=True)
class Row:
    """A network of the study, and how it is trained.

    Args:
        name: Name of the row in tables.
        sharing: Sharing of its convolutions.
        width: Output channels of its convolutions.
        matches: Sharings that a size-matched row is matched to; empty for a requested sharing.
        parameters: Number of parameters of the network.
        macs: Multiply-accumulates of the network per example.
        is_tied: Whether the decoders of an autoencoder use the weights of its encoders.
        question: Option whose question the row answers, such as "train_sizes"; empty in the main table.
        setting: Value of that option.
        train_size: Number of training examples; None for all.
        augment: Largest random shift of training inputs in pixels; 0 for none.
        relax_after: Number of epochs with full sharing at the beginning of training.
        layers: Pattern of the convolutions that have the sharing; None for those of the specification.
        memory: Estimated memory of a trial in bytes, without the data: weights, gradients, the state of Adam,
            the weights of the best epoch, and the activations of a batch.
    """

    name: str
    sharing: Sharing
    width: int
    matches: tuple[str, ...]
    parameters: int
    macs: int
    is_tied: bool = False
    question: str = ""
    setting: str = ""
    train_size: int | None = None
    augment: int = 0
    relax_after: int = 0
    layers: str | None = None
    memory: int = 0

    @property
    def base(self) -> str:
        """Name of the row without its setting."""
        return self.name.removesuffix(f" [{self.setting}]") if self.question else self.name

    @property
    def key(self) -> str:
        """Name that does not depend on the other rows of the study; it identifies the row in records."""
        base = f"full (width {self.width})" if self.matches else self.base
        return f"{base} [{self.setting}]" if self.question else base

    def build_network(self, factory: Factory, device: str | None = None) -> nn.Module:
        """Return the network of this row, as it is before training."""
        return factory.build(self.sharing, self.width, self.is_tied, self.layers, device)


def plan_rows(factory: Factory) -> list[Row]:
    """Return the rows of a study: those of the main table, followed by those of each further question.

    The main table has each sharing and, after each partly shared one, its size-matched row. If several
    sharings have size-matched rows of the same width, the study has only one such row for them.

    A user's function that takes `sharing=` is called with each sharing. Any other one is called without, and
    the convolutions of its network are given the sharing afterwards, with new weights. There are size-matched
    rows only if it takes `width=`.

    A trained network is relaxed to each sharing, with the weights that it has; the row "full" is the network
    as it is. There are no size-matched rows.

    Nothing large is allocated: the networks of the study are counted on the meta device.

    Raises:
        DataError: If the trained network cannot be loaded, or if the test inputs are in the training set.
        SharingError: If a sharing does not fit the size of the inputs.
        SpecError: If the trained network or the function cannot be found.
        StudyError: If a network is too large to train, cannot be built or does not take the data, or if a
            further question does not fit the data.
    """
    spec, examples = factory.spec, factory.examples
    if factory.start is not None:
        check_unseen(examples)
    if factory.function is None:
        for sharing in spec.sharings:
            _check_sharing(spec, examples, sharing)
    elif factory.patterns and "sharing" in factory.parameters:
        expected = "layers needs a model function without sharing=, so that the layers can be changed"
        raise StudyError(factory.where, expected, "one with sharing=", "omit layers")
    if factory.patterns and set(spec.sharings) == {Full()}:
        raise StudyError("study", "layers needs a sharing that shares less", "only full")
    with torch.random.fork_rng():  # networks of a user-supplied function get new weights
        return _plan_rows(factory)


def _plan_rows(factory: Factory) -> list[Row]:
    spec, examples = factory.spec, factory.examples
    rows = _plan_main_rows(spec, factory)
    requested = [row for row in rows if not row.matches]
    less = [row for row in requested if row.sharing != Full()]
    return [
        *rows,
        *_plan_train_sizes(spec, examples, rows),
        *_plan_widths(spec, factory, requested),
        *_plan_layers(factory, less),
        *_plan_steps(spec, "augment", "augment", rows, min(examples.size)),
        *_plan_steps(spec, "schedules", "relax_after", less, spec.epochs_max),
    ]


def _check_sharing(spec: StudySpec, examples: Examples, sharing: Sharing) -> None:
    size = " x ".join(map(str, examples.size))
    source = f" from images of {size} pixels" if len(examples.size) == 2 else f" from inputs of size {size}"
    sharing.check(examples.size, "study: sharing=", source)
    kernel = 3 ** len(examples.size) * spec.width * (examples.channels + (DEPTH - 1) * spec.width)
    if examples.task_name != "reconstruction":
        _check_parameters(examples, sharing, spec.width, sharing.banks(examples.size) * kernel)


def _plan_main_rows(spec: StudySpec, factory: Factory) -> list[Row]:
    rows: list[Row] = []
    matched: dict[int, Row] = {}
    for sharing in spec.sharings:
        row = _make_row(str(sharing), factory, sharing, spec.width)
        rows.append(row)
        if factory.has_ties:
            rows.append(_make_row(f"{sharing} (tied)", factory, sharing, spec.width, is_tied=True))
        if isinstance(sharing, Full | Local) or not factory.has_widths:
            continue
        width = match_width(row.parameters, lambda width: count_parameters(factory, Full(), width))
        if width == spec.width and Full() in spec.sharings:
            continue
        before = matched.get(width)
        matches = (row.name,) if before is None else (*before.matches, row.name)
        name = f"full (width {width}, size-matched to {' and '.join(matches)})"
        matched[width] = replace(_make_row(name, factory, Full(), width), matches=matches)
        if before is None:
            rows.append(matched[width])
        else:
            rows[rows.index(before)] = matched[width]
    return rows


def _plan_train_sizes(spec: StudySpec, examples: Examples, rows: list[Row]) -> Iterator[Row]:
    most = len(examples.train[1])
    for size in spec.train_sizes:
        least = examples.outputs if examples.task_name == "classification" else 2
        if not least <= size <= most:
            raise StudyError(
                "study",
                f"train_sizes must be between {least} and {most}, the number of training examples",
                str(size),
            )
        for row in rows:
            setting = f"{size} examples"
            yield _ask(row, "train_sizes", setting, train_size=size)


def _plan_widths(spec: StudySpec, factory: Factory, rows: list[Row]) -> Iterator[Row]:
    if spec.widths and not factory.has_widths:
        raise StudyError("study", "widths needs a model function that takes width=", "one that does not")
    for width in spec.widths:
        for row in rows:
            wide = _make_row(row.name, factory, row.sharing, width, is_tied=row.is_tied)
            yield _ask(wide, "widths", f"width {width}")


def _plan_layers(factory: Factory, rows: list[Row]) -> Iterator[Row]:
    """Yield rows in which the convolutions of one pattern share less, if there are several patterns."""
    patterns = factory.patterns
    for pattern in patterns if len(patterns) > 1 else []:
        for row in rows:
            part = _make_row(row.name, factory, row.sharing, row.width, row.is_tied, pattern)
            yield _ask(part, "layers", pattern)


def _plan_steps(spec: StudySpec, question: str, name: str, rows: list[Row], end: int) -> Iterator[Row]:
    """Yield rows whose field `name` has the number of each entry, which must be less than `end`."""
    for entry in getattr(spec, question):
        step = get_step(entry)
        if step >= end:
            limit = "the size of the inputs" if question == "augment" else "epochs_max"
            raise StudyError("study", f"{question} must be less than {end}, {limit}", repr(entry))
        for row in rows:
            yield _ask(row, question, entry, **{name: step})


def _ask(row: Row, question: str, setting: str, **changes: int) -> Row:
    name = f"{row.name} [{setting}]"
    return replace(row, name=name, question=question, setting=setting, **changes)


def count_parameters(factory: Factory, sharing: Sharing, width: int) -> int:
    """Return the number of parameters of a network."""
    return sum(p.numel() for p in factory.build(sharing, width, device="meta").parameters())


def match_width(parameters: int, parameters_at: Callable[[int], int]) -> int:
    """Return the width at which `parameters_at`, an increasing function, is closest to `parameters`.

    >>> match_width(1000, lambda width: width**2)
    32
    """
    above = bisect_left(range(1, MAX_WIDTH), parameters, key=parameters_at) + 1
    candidates = [width for width in (above - 1, above) if width >= 1]
    return min(candidates, key=lambda width: abs(parameters_at(width) - parameters))


def _make_row(
    name: str,
    factory: Factory,
    sharing: Sharing,
    width: int,
    is_tied: bool = False,
    layers: str | None = None,
) -> Row:
    network = factory.build(sharing, width, is_tied, layers, "meta")
    parameters = sum(p.numel() for p in network.parameters())
    _check_parameters(factory.examples, sharing, width, parameters)
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    inputs = factory.examples.train[0][:2].to(device, copy=True)  # a storage of their own, to be measured
    batch = min(factory.spec.batch_size, len(factory.examples.train[1]))
    with catch_failure(factory.where, RUNS_AGAIN):
        macs = _count_macs(network, inputs, factory.examples)
        memory = COPIES * BYTES * parameters + batch * measure_activations(network, inputs)
    if factory.function is not None:
        factory.check_training(network)
    return Row(name, sharing, width, (), parameters, macs, is_tied, layers=layers, memory=memory)


def _count_macs(network: nn.Module, inputs: Tensor, examples: Examples) -> int:
    """Return the multiply-accumulates per example; those of the study's network are known without a run."""
    if not isinstance(network, Network):
        return count_macs(network, inputs)
    counts = [explain(layer, input_size=examples.size).macs for layer in network.convolutions]
    positions = torch.Size(examples.size).numel() if network.is_dense else 1
    head = network.width * examples.outputs * positions
    return head + sum(macs for macs in counts if macs is not None)


def _check_parameters(examples: Examples, sharing: Sharing, width: int, parameters: int) -> None:
    """Raise a StudyError if a network has too many parameters. `parameters` may be a lower bound."""
    if parameters > MAX_PARAMETERS:
        size = " x ".join(map(str, examples.size))
        what = f"images of {size} pixels" if len(examples.size) == 2 else f"inputs of size {size}"
        raise StudyError(
            f"study: sharing={sharing!r}, width={width}",
            f"a network must have at most {MAX_PARAMETERS:,} parameters",
            f"{parameters:,} or more on {what}",
            "use smaller images, a smaller width or another sharing",
        )
