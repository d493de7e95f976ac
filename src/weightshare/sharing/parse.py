"""Sharings written as text, for the command line."""

# the argument of `parse_sharing` is checked at run time
# pyright: reportUnnecessaryIsInstance=false

from __future__ import annotations

from errno import EINVAL
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, SpecError, describe_exception
from .along import SharedAlong
from .base import Sharing
from .full import Full
from .local import Local
from .low_rank import LowRank
from .mapped import Mapped
from .regional import Regional
from .tiled import Tiled

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile
    from numpy.typing import NDArray

FORMS = (
    "full, local, tiled:2, tiled:2x3, regional:4, regional:4x4, along:1, along:0,2, "
    "lowrank:4, lowrank:4:free, mapped:FILE.npy"
)
MAX_TEXT = 4096
MAX_LABELS = 2**24


def parse_sharing(text: str) -> Sharing:
    """Return the sharing that the text names.

    Args:
        text: "full", "local", "tiled:2", "tiled:2x3", "regional:4x4", "along:1", "along:0,2", "lowrank:4",
            "lowrank:4:free" or "mapped:FILE.npy" (a file with an integer array of the output's shape).

    Raises:
        SpecError: If the text has another form, or the file cannot be read.

    Example:
        >>> parse_sharing("regional:4x2")
        Regional((4, 2))
    """
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        got = f"{len(text)} characters" if isinstance(text, str) else type(text).__name__
        raise SpecError(
            "sharing", f"must be text of at most {MAX_TEXT} characters", got, f"use one of {FORMS}"
        )
    kind, _, rest = text.strip().partition(":")
    try:
        if kind in ("full", "local") and not rest:
            return Full() if kind == "full" else Local()
        if kind == "tiled":
            return Tiled(_read_numbers(rest, "x"))
        if kind == "regional":
            return Regional(_read_numbers(rest, "x"))
        if kind == "along":
            return SharedAlong(_read_numbers(rest, ",") if rest else ())
        if kind == "lowrank":
            rank, _, coefficients = rest.partition(":")
            return LowRank(_read_number(rank), coefficients or "factorized")
        if kind == "mapped" and rest:
            return Mapped(_read_labels(Path(rest)))
    except ArgumentError as error:
        raise SpecError(f"sharing {text!r}", error.expected, error.got, error.hint) from None
    except _NotANumberError:
        pass
    raise SpecError("sharing", f"must be one of {FORMS}", repr(text))


class _NotANumberError(Exception):
    """Raised if a part of the text should be an integer and is not."""


def _read_number(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise _NotANumberError
    return int(text)


def _read_numbers(text: str, separator: str) -> int | tuple[int, ...]:
    numbers = tuple(_read_number(part) for part in text.split(separator))
    return numbers[0] if len(numbers) == 1 else numbers


def _read_labels(path: Path) -> NDArray[Any]:
    import numpy as np  # only here: all other sharings work without numpy

    where = f"sharing 'mapped:{path}'"
    hint = "write it with numpy.save"
    try:
        if path.exists() and not path.is_file():  # reading from a pipe would wait for its writer
            raise OSError(EINVAL, "something that is not a regular file")
        # as a memory map, so that dtype and size are checked before the entries are read
        labels: NDArray[Any] | NpzFile = np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception as error:  # a damaged header can raise any exception
        raise SpecError(
            where, "must name a readable .npy file", describe_exception(error).partition(". ")[0], hint
        ) from None
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.size > MAX_LABELS:
        kind = f"{labels.size} entries of {labels.dtype}" if isinstance(labels, np.ndarray) else "an archive"
        raise SpecError(where, f"must hold one array of at most {MAX_LABELS:,} integers", kind, hint)
    return labels
