"""What a study compares, as one frozen value with a digest."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._args import integer
from .._version import __version__
from ..errors import SpecError
from ..sharing import Sharing, parse_sharing

DEFAULT_SHARINGS = "full,tiled:2,regional:4,lowrank:4,local"


@dataclass(frozen=True)
class StudySpec:
    """One study: which sharings, on which data, how often and how trained.

    Args:
        data: "digits", "faces", "npz:FILE" or "folder:DIR".
        sharings: Sharings as values or as text; one text with commas is understood too.
        seeds: Times that every row is trained, at least 1; the seeds are 0 to `seeds - 1`.
        out: Folder for records, results and report; None writes nothing.
        train_images: Images drawn from the training set, for training and validation together; None: all.
        width: Channels of each convolution.
        epochs_max: Cap on the passes over the training images; the report says how many trials met it.
        patience: Epochs without a better validation accuracy before the learning rate is cut, and, after the
            last cut, before training stops.
        batch_size: Images a step.
        learning_rate: Adam's first step size.
        accelerator, devices, strategy, precision: Lightning Fabric's flags of the same names.

    Raises:
        SpecError: a text that is no sharing, or a sharing named twice.
        ArgumentError: a number below its range.

    Example:
        >>> StudySpec(sharings="full,along:0,1,local").sharings
        (Full(), SharedAlong((0, 1)), Local())
    """

    data: str = "digits"
    sharings: Any = DEFAULT_SHARINGS
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

    def __post_init__(self):
        object.__setattr__(self, "sharings", parse_sharings(self.sharings))
        for name in ("seeds", "width", "epochs_max", "patience", "batch_size"):
            object.__setattr__(self, name, integer("study", name, getattr(self, name), least=1))
        if self.train_images is not None:
            object.__setattr__(
                self, "train_images", integer("study", "train_images", self.train_images, least=2)
            )
        if not isinstance(self.learning_rate, int | float) or not 0 < self.learning_rate <= 1:
            raise SpecError(
                "study", "learning_rate must be above 0 and at most 1", repr(self.learning_rate), "use 0.003"
            )

    def to_dict(self) -> dict[str, Any]:
        """Everything that a trial's numbers depend on, as JSON values; the folder is not among it."""
        return {
            name: [str(s) for s in value] if name == "sharings" else value
            for name, value in vars(self).items()
            if name != "out"
        }

    @property
    def title(self) -> str:
        """The study in one line."""
        sharings = ",".join(map(str, self.sharings))
        return f"{self.data}: {sharings}; {self.seeds} seed{'s' * (self.seeds > 1)}"

    def digest(self, data_digest: str) -> str:
        """16 hex digits that tell this study, on these data with this version, from others."""
        parts = {"spec": self.to_dict(), "data": data_digest, "version": __version__}
        text = json.dumps(parts, sort_keys=True).encode()
        return hashlib.blake2b(text, digest_size=8).hexdigest()


def parse_sharings(given: str | Sharing | Iterable[str | Sharing]) -> tuple[Sharing, ...]:
    """Sharings from text or values; a piece that is only a number belongs to the `along:` before it."""
    if isinstance(given, str):
        given = split_sharings(given)
    elif isinstance(given, Sharing):
        given = [given]
    sharings = tuple(s if isinstance(s, Sharing) else parse_sharing(s) for s in given)
    names = [str(s) for s in sharings]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not sharings or twice:
        got = f"{twice[0]!r} twice" if twice else "none"
        raise SpecError("study", "sharings must name each sharing once", got, f"try {DEFAULT_SHARINGS}")
    return sharings


def split_sharings(text: str) -> list[str]:
    """The sharings that a text with commas names.

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
