"""The specification of a study, as one frozen value with a digest."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._args import check_integer
from .._version import __version__
from ..errors import SpecError
from ..sharing import Sharing, parse_sharing

DEFAULT_SHARINGS = "full,tiled:2,regional:4,lowrank:4,local"


@dataclass(frozen=True)
class StudySpec:
    """The specification of a study: sharings, data, seeds and training options.

    Args:
        data: "digits", "faces", "npz:FILE" or "folder:DIR".
        sharings: Sharings to compare, as values or as text, or as one comma-separated text. They are stored
            as a tuple.
        seeds: Number of runs per network, at least 1. The seeds are 0 to `seeds - 1`.
        out: Folder for records, results and report. If None, nothing is written.
        train_images: Number of images to draw from the training set, for training and validation together; by
            default all.
        width: Output channels of each convolution.
        epochs_max: Maximum number of epochs. The report states how many runs reached it.
        patience: Epochs without a better validation accuracy before the learning rate drops and, after the
            last drop, before training stops.
        batch_size: Batch size.
        learning_rate: Initial learning rate of Adam.
        accelerator, devices, strategy, precision: Arguments of Lightning Fabric with the same names.

    Raises:
        SpecError: If a text is not a sharing, a sharing occurs twice, or the learning rate is out of range.
        ArgumentError: If a number is not an integer or is too small.

    Example:
        >>> StudySpec(sharings="full,along:0,1,local").sharings
        (Full(), SharedAlong((0, 1)), Local())
    """

    data: str = "digits"
    sharings: Any = DEFAULT_SHARINGS  # any form that parse_sharings accepts; a tuple once it is parsed
    seeds: int = 3
    out: Path | str | None = field(default=None, compare=False)
    train_images: int | None = None
    width: int = 16
    epochs_max: int = 100
    patience: int = 6
    batch_size: int = 64
    learning_rate: float = 3e-3
    accelerator: str = "auto"
    devices: str = "1"
    strategy: str = "auto"
    precision: str = "32-true"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sharings", parse_sharings(self.sharings))
        for name in ("seeds", "width", "epochs_max", "patience", "batch_size"):
            object.__setattr__(self, name, check_integer("study", name, getattr(self, name), least=1))
        if self.train_images is not None:
            object.__setattr__(
                self, "train_images", check_integer("study", "train_images", self.train_images, least=2)
            )
        if not isinstance(self.learning_rate, int | float) or not 0 < self.learning_rate <= 1:
            raise SpecError("study", "learning_rate must be above 0 and at most 1", repr(self.learning_rate))

    def to_dict(self) -> dict[str, Any]:
        """Return everything that the results depend on, as JSON values. The folder is not included."""
        return {
            name: [str(s) for s in value] if name == "sharings" else value
            for name, value in vars(self).items()
            if name != "out"
        }

    @property
    def title(self) -> str:
        """Data, sharings and number of seeds in one line."""
        sharings = ",".join(map(str, self.sharings))
        return f"{self.data}: {sharings}; {self.seeds} seed{'s' * (self.seeds > 1)}"

    def digest(self, data_digest: str) -> str:
        """Return a digest of this specification, the data and the version, in 16 hex digits."""
        parts = {"spec": self.to_dict(), "data": data_digest, "version": __version__}
        text = json.dumps(parts, sort_keys=True).encode()
        return hashlib.blake2b(text, digest_size=8).hexdigest()


def parse_sharings(given: str | Sharing | Iterable[str | Sharing]) -> tuple[Sharing, ...]:
    """Return sharings given as text or as values.

    Raises:
        SpecError: If a text is not a sharing, a sharing occurs twice, or there is none.
    """
    if isinstance(given, str):
        given = split_sharings(given)
    elif isinstance(given, Sharing):
        given = [given]
    sharings = tuple(s if isinstance(s, Sharing) else parse_sharing(s) for s in given)
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
