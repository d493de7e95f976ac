"""The specification of a study, as one frozen value with a digest."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import Any

from torch import nn

from .._args import check_integer, check_per_axis
from .._version import __version__
from ..errors import SpecError
from ..sharing import Sharing, parse_sharing
from ..views.escape import quote
from .tasks import find_task, name_function

DEFAULT_SHARINGS = "full,tiled:2,regional:4,lowrank:4,local"
#: Options that do not change what a trial measures. A study can be continued with other ones.
FREE = ("out", "sharings", "seeds", "train_sizes", "widths", "augment", "schedules")


@dataclass(frozen=True)
class StudySpec:
    """The specification of a study: data, network, sharings, seeds, further questions and training options.

    Args:
        data: "digits", "faces", "npz:FILE", "folder:DIR", "package.module:function" or, in Python, arrays or
            data sets; see `load_examples`.
        sharings: Sharings to compare, as values or as text, or as one comma-separated text. They are stored
            as a tuple.
        seeds: Number of runs per network, at least 1. The seeds are 0 to `seeds - 1`.
        out: Folder for records, results and report. If None, nothing is written.
        task: "auto" or a name in `TASKS`. By default, integer targets are classes, and other ones numbers.
        metric: Name of a metric, "package.module:function" or a function; by default, that of the task. See
            `find_metric`.
        model: Function that builds the network, or "package.module:function"; by default, the network of the
            study. See `plan_rows`.
        start: Trained network from which every row continues, as a `torch.nn.Module` or a name that
            `find_model` accepts, such as "package.module:function". The module is not changed. Inputs are
            passed to it as they are. By default, every row has new weights.
        weights: Checkpoint to load into `start` first; see `load_weights`.
        layers: Comma-separated patterns of names of convolutions, such as "features.*". Only these differ in
            their sharing; by default, all.
        resize: Height and width to which the images of a folder are scaled, 4 to 512 pixels each, as a pair,
            a number for both or a text such as "64x48"; by default, all images must have the same size.
        train_images: Number of examples to draw from the training set, for training and validation together;
            by default all.
        train_sizes: Further question: how the results depend on the number of training examples.
        widths: Further question: how they depend on the width of the network.
        augment: Further question: how they change if training inputs are shifted at random. Each entry is
            "shift:PIXELS".
        schedules: Further question: what if training starts with full sharing. Each entry is "relax:EPOCHS",
            the number of epochs after which every network gets its own sharing.
        width: Output channels of each convolution.
        epochs_max: Maximum number of epochs; by default 100. The report states how many runs reached it. With
            `start`, it is the number of epochs of every run; by default 20.
        patience: Epochs without a better validation score before the learning rate drops and, after the
            last drop, before training stops.
        batch_size: Batch size.
        learning_rate: Initial learning rate of Adam; by default 0.003, and 0.001 with `start`.
        threads: Threads of torch on the CPU in each trial. Results depend on it in the last digits.
        accelerator, devices, num_nodes, strategy, precision: Arguments of Lightning Fabric with the same
            names.

    Raises:
        SpecError: If a text is not a sharing, a sharing occurs twice, or an option is not valid or does not
            apply with `start`.
        ArgumentError: If a number is not an integer or is too small.

    Example:
        >>> StudySpec(sharings="full,along:0,1,local").sharings
        (Full(), SharedAlong((0, 1)), Local())
    """

    data: Any = "digits"
    sharings: Any = DEFAULT_SHARINGS  # any form that parse_sharings accepts; a tuple once it is parsed
    seeds: int = 3
    out: Path | str | None = field(default=None, compare=False)
    task: str = "auto"
    metric: Any = None
    model: Any = None
    start: Any = None
    weights: Path | str | None = None
    layers: str | None = None
    resize: Any = None  # a pair, a number or a text; a pair once it is parsed
    train_images: int | None = None
    train_sizes: Any = ()  # sequences, or comma-separated texts; tuples once they are parsed
    widths: Any = ()
    augment: Any = ()
    schedules: Any = ()
    width: int = 16
    epochs_max: Any = None  # a number once the default is chosen, like the learning rate
    patience: int = 6
    batch_size: int = 64
    learning_rate: Any = None
    threads: int = 1
    accelerator: str = "auto"
    devices: str = "1"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        if isinstance(self.data, bytes) or self.data is None:
            raise SpecError("study", "data must be a text, arrays or data sets", repr(self.data))
        if isinstance(self.data, Path):
            hint = "use 'folder:DIR' or 'npz:FILE'"
            raise SpecError("study", "data must be a text, arrays or data sets", repr(self.data), hint)
        put("sharings", parse_sharings(self.sharings))
        for name, default in (NEW if self.start is None else CONTINUED).items():
            if getattr(self, name) is None:
                put(name, default)
        if self.task != "auto":
            find_task(self.task)
        for name in COUNTS:
            put(name, check_integer("study", name, getattr(self, name), least=1))
            _check_most(name, getattr(self, name))
        if self.train_images is not None:
            put("train_images", check_integer("study", "train_images", self.train_images, least=2))
        put("resize", _parse_resize(self.resize))
        for name, least in (("train_sizes", 2), ("widths", 1)):
            put(name, _parse_numbers(name, getattr(self, name), least))
            _check_most(name, max(getattr(self, name), default=0))
        put("augment", _parse_steps("augment", "shift", self.augment))
        put("schedules", _parse_steps("schedules", "relax", self.schedules))
        rate: float = self.learning_rate
        is_number = isinstance(rate, Real) and not isinstance(rate, bool)
        if not is_number or not 0 < rate <= 1:
            expected = "learning_rate must be a number above 0 and at most 1"
            raise SpecError("study", expected, repr(rate))
        put("learning_rate", float(rate))
        self._check_texts()
        self._check_start()
        if self.out is not None and (
            not isinstance(self.out, str | Path) or self.out == "" or "\0" in str(self.out)
        ):
            raise SpecError("study", "out must be a path", repr(self.out))

    def _check_start(self) -> None:
        """Raise a SpecError if the trained network is not one, or if another option does not apply to it."""
        if self.start is None:
            if self.weights is not None:
                hint = "name the network with start (--from)"
                raise SpecError("study", "weights must be those of a trained network", "no start", hint)
            return
        if not isinstance(self.start, str | nn.Module):
            expected = "start must be a text or a torch.nn.Module"
            raise SpecError("study", expected, _describe(self.start))
        if self.weights is not None and not isinstance(self.weights, str | Path):
            raise SpecError("study", "weights must be a path", _describe(self.weights))
        defaults = {one.name: one.default for one in fields(self)}
        for name in WITHOUT_START:
            if (value := getattr(self, name)) != defaults[name]:
                expected = (
                    f"{name} does not apply to a trained network, so it must be omitted with start (--from)"
                )
                raise SpecError("study", expected, _describe(value))

    def _check_texts(self) -> None:
        """Raise a SpecError if an option is not a text, or not a text or a function, as it must be."""
        for name in ("accelerator", "strategy"):
            if not isinstance(value := getattr(self, name), str):
                raise SpecError("study", f"{name} must be a text", _describe(value))
        for name in ("metric", "model"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str) and not callable(value):
                raise SpecError("study", f"{name} must be a text or a function", _describe(value))
        if self.layers is not None and (
            not isinstance(self.layers, str) or not all(p.strip() for p in self.layers.split(","))
        ):
            expected = 'layers must be comma-separated patterns such as "features.*"'
            raise SpecError("study", expected, _describe(self.layers))

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON values. The folder is not included."""
        values = {name: value for name, value in vars(self).items() if name != "out"}
        values["sharings"] = [str(s) for s in self.sharings]
        values["data"] = self.name
        values["weights"] = None if self.weights is None else str(self.weights)
        for name in ("metric", "model", "start"):
            if values[name] is not None:
                values[name] = name_function(values[name])
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    def fixed(self) -> dict[str, Any]:
        """Return the options that must stay the same when a study is continued, as JSON values.

        The names of the data and of a file with weights are not among them, because digests of their content
        are compared.
        """
        free = (*FREE, "data", "resize", "weights", *(["start"] if self.start is None else []))
        return {name: value for name, value in self.to_dict().items() if name not in free}

    @property
    def name(self) -> str:
        """Name of the data: "data" for arrays and data sets given in Python."""
        return name_function(self.data) if isinstance(self.data, str) or callable(self.data) else "data"

    @property
    def title(self) -> str:
        """Data, trained network, sharings and number of seeds in one line."""
        sharings = ",".join(map(str, self.sharings))
        start = "" if self.start is None else f", starting from {name_function(self.start)}"
        return f"{self.name}{start}: {sharings}; {self.seeds} seed{'s' * (self.seeds > 1)}"

    def digest(self, data_digest: str, start_digest: str | None = None) -> str:
        """Return a digest of the fixed options, the data and the version, in 16 hex digits.

        Args:
            data_digest: Digest of the data.
            start_digest: Digest of the weights of the trained network, if there is one.
        """
        parts = {"spec": self.fixed(), "data": data_digest, "version": __version__}
        if start_digest is not None:
            parts["start"] = start_digest
        text = json.dumps(parts, sort_keys=True).encode()
        return hashlib.blake2b(text, digest_size=8).hexdigest()


#: Defaults of a study that trains new weights, and of one that continues the training of a network.
NEW = {"epochs_max": 100, "learning_rate": 3e-3}
CONTINUED = {"epochs_max": 20, "learning_rate": 1e-3}
#: Options that do not apply to a trained network.
WITHOUT_START = ("model", "width", "widths", "schedules", "patience")
#: Options that are one number of at least 1.
COUNTS = ("seeds", "width", "epochs_max", "patience", "batch_size", "threads", "num_nodes")
#: Largest numbers that the options accept.
MOST = {
    "seeds": 10**6,
    "width": 4096,
    "epochs_max": 10**6,
    "patience": 10**6,
    "batch_size": 2**31 - 1,
    "threads": 4096,
    "num_nodes": 10**6,
    "train_sizes": 2**31 - 1,
    "widths": 4096,
}


#: Smallest spatial size of inputs, and largest size of an image, along each axis.
MIN_SIDE, MAX_SIDE = 4, 512


def _parse_resize(given: Any) -> tuple[int, int] | None:
    """Return height and width, given as a pair, as a number or as a text such as "64" or "64x48"."""
    if given is None:
        return None
    if isinstance(given, str):
        if not re.fullmatch(r"[0-9]{1,4}(x[0-9]{1,4})?", given.strip()):
            raise SpecError("study", 'resize must be a size such as "64" or "64x48"', quote(given))
        numbers = [int(side) for side in given.strip().split("x")]
        given = numbers[0] if len(numbers) == 1 else numbers
    height, width = check_per_axis("study", "resize", given, ndim=2, least=MIN_SIDE)
    if max(height, width) > MAX_SIDE:
        raise SpecError("study", f"resize must be at most {MAX_SIDE} pixels", f"{height} x {width}")
    return height, width


def _check_most(name: str, number: int) -> None:
    if number > MOST[name]:
        raise SpecError("study", f"{name} must be at most {MOST[name]:,}", f"{number:,}")


def _describe(given: Any) -> str:
    return quote(given) if isinstance(given, str) else repr(given)[:60]


def _parse_numbers(name: str, given: Any, least: int) -> tuple[int, ...]:
    """Return numbers given as a sequence or as comma-separated text, sorted, each once."""
    entries = [e.strip() for e in given.split(",") if e.strip()] if isinstance(given, str) else given
    if not isinstance(entries, Sequence) or not all(
        not isinstance(e, str) or re.fullmatch("-?[0-9]{1,99}", e) for e in entries
    ):
        raise SpecError("study", f"{name} must be integers such as 100,300", _describe(given))
    values = [int(entry) if isinstance(entry, str) else entry for entry in entries]
    return tuple(sorted({check_integer("study", name, value, least=least) for value in values}))


def _parse_steps(name: str, word: str, given: Any) -> tuple[str, ...]:
    """Return entries such as "shift:2", given as a sequence or as comma-separated text."""
    entries = [e.strip() for e in given.split(",") if e.strip()] if isinstance(given, str) else given
    if not isinstance(entries, Sequence) or not all(
        isinstance(e, str) and re.fullmatch(rf"{word}:[1-9]\d{{0,5}}", e) for e in entries
    ):
        raise SpecError("study", f"{name} must be entries such as {word}:2", _describe(given))
    return tuple(dict.fromkeys(entries))


def get_step(entry: str) -> int:
    """Return the number of an entry such as "shift:2".

    >>> get_step("shift:2")
    2
    """
    return int(entry.partition(":")[2])


def parse_sharings(given: str | Sharing | Iterable[str | Sharing]) -> tuple[Sharing, ...]:
    """Return sharings given as text or as values.

    Raises:
        SpecError: If a text is not a sharing, a sharing occurs twice, or there is none.
    """
    if isinstance(given, str):
        given = split_sharings(given)
    elif isinstance(given, Sharing):
        given = [given]
    entries = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(s, str | Sharing) for s in entries):
        raise SpecError("study", "sharings must be sharings or text such as 'full,local'", repr(given))
    sharings = tuple(s if isinstance(s, Sharing) else parse_sharing(s) for s in entries)
    names = [str(s) for s in sharings]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not sharings or twice:
        got = f"{twice[0]!r} twice" if twice else "none"
        raise SpecError("study", "sharings must name at least one sharing, and each only once", got)
    return sharings


def split_sharings(text: str) -> list[str]:
    """Split a comma-separated list of sharings. After "along:", a bare number is another axis.

    >>> split_sharings("along:0,2,full")
    ['along:0,2', 'full']
    """
    pieces: list[str] = []
    for piece in text.split(","):
        if pieces and pieces[-1].startswith("along:") and re.fullmatch(r"\s*-?\d+\s*", piece):
            pieces[-1] += "," + piece.strip()
        else:
            pieces.append(piece.strip())
    return pieces
