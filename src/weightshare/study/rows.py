"""The rows of a study: each requested sharing, and the size-matched rows of fully shared networks."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from ..counting import explain
from ..errors import StudyError
from ..sharing import Full, Local, Sharing
from .data import Images
from .network import DEPTH, Network
from .spec import StudySpec

MAX_PARAMETERS = 2**27
MAX_WIDTH = 4096


@dataclass(frozen=True)
class Row:
    """A network of the study.

    Args:
        name: Name of the row in tables.
        sharing: Sharing of its convolutions.
        width: Output channels of its convolutions.
        matches: Sharings that a size-matched row is matched to; empty for a requested sharing.
        parameters: Number of parameters of the network.
        macs: Multiply-accumulates of the network per image.
    """

    name: str
    sharing: Sharing
    width: int
    matches: tuple[str, ...]
    parameters: int
    macs: int

    def build_network(self, images: Images, device: str | None = None) -> Network:
        """Return the network of this row with new weights."""
        return build_network(images, self.sharing, self.width, device)


def build_network(images: Images, sharing: Sharing, width: int, device: str | None = None) -> Network:
    """Return a network for these images with new weights."""
    return Network(images.channels, images.size, len(images.class_names), width, sharing, device)


def plan_rows(spec: StudySpec, images: Images) -> list[Row]:
    """Return the rows of a study: each sharing and, after each partly shared one, its size-matched row.

    If several sharings have size-matched rows of the same width, the study has only one such row for them.
    Nothing is allocated, because networks are counted on the meta device.

    Raises:
        SharingError: If a sharing does not fit the size of the images.
        StudyError: If a network is too large to train.
    """
    for sharing in spec.sharings:
        height, width = images.size
        sharing.check(images.size, "study: sharing=", f" from images of {height} x {width} pixels")
        kernel = 9 * spec.width * (images.channels + (DEPTH - 1) * spec.width)
        _check_parameters(images, sharing, spec.width, sharing.banks(images.size) * kernel)
    rows: list[Row] = []
    matched: dict[int, Row] = {}
    for sharing in spec.sharings:
        row = _make_row(str(sharing), images, sharing, spec.width)
        rows.append(row)
        if isinstance(sharing, Full | Local):
            continue
        width = match_width(row.parameters, lambda width: count_parameters(images, Full(), width))
        if width == spec.width and Full() in spec.sharings:
            continue
        before = matched.get(width)
        matches = (row.name,) if before is None else (*before.matches, row.name)
        name = f"full (width {width}, size-matched to {' and '.join(matches)})"
        matched[width] = _make_row(name, images, Full(), width, matches)
        if before is None:
            rows.append(matched[width])
        else:
            rows[rows.index(before)] = matched[width]
    return rows


def count_parameters(images: Images, sharing: Sharing, width: int) -> int:
    """Return the number of parameters of a network."""
    return sum(p.numel() for p in build_network(images, sharing, width, "meta").parameters())


def match_width(parameters: int, parameters_at: Callable[[int], int]) -> int:
    """Return the width at which `parameters_at`, an increasing function, is closest to `parameters`.

    >>> match_width(1000, lambda width: width**2)
    32
    """
    above = bisect_left(range(1, MAX_WIDTH), parameters, key=parameters_at) + 1
    candidates = [width for width in (above - 1, above) if width >= 1]
    return min(candidates, key=lambda width: abs(parameters_at(width) - parameters))


def count_macs(network: Network, size: tuple[int, int]) -> int:
    """Return the multiply-accumulates of the convolutions and the head per image."""
    counts = [explain(layer, input_size=size).macs for layer in network.convolutions]
    head = network.head.in_features * network.head.out_features
    return head + sum(macs for macs in counts if macs is not None)


def _make_row(name: str, images: Images, sharing: Sharing, width: int, matches: tuple[str, ...] = ()) -> Row:
    network = build_network(images, sharing, width, "meta")
    parameters = sum(p.numel() for p in network.parameters())
    _check_parameters(images, sharing, width, parameters)
    return Row(name, sharing, width, matches, parameters, count_macs(network, images.size))


def _check_parameters(images: Images, sharing: Sharing, width: int, parameters: int) -> None:
    """Raise a StudyError if a network has too many parameters. `parameters` may be a lower bound."""
    if parameters > MAX_PARAMETERS:
        height, breadth = images.size
        raise StudyError(
            f"study: sharing={sharing!r}, width={width}",
            f"a network must have at most {MAX_PARAMETERS:,} parameters",
            f"{parameters:,} or more on images of {height} x {breadth} pixels",
            "use smaller images, a smaller width or another sharing",
        )
