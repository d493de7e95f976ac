"""The rows of a study: every sharing asked for, and full sharing at as many parameters."""

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
    """One network of the study.

    Args:
        name: What tables call it.
        sharing: The sharing of its convolutions.
        width: Channels of its convolutions.
        matches: The sharings that it has as many parameters as; empty for a row that was asked for.
        parameters: All trained numbers of the network.
        macs: Multiply-adds of the network for one image.
    """

    name: str
    sharing: Sharing
    width: int
    matches: tuple[str, ...]
    parameters: int
    macs: int

    def network(self, images: Images, device: str | None = None) -> Network:
        """The network of this row, newly initialised."""
        return build(images, self.sharing, self.width, device)


def build(images: Images, sharing: Sharing, width: int, device: str | None = None) -> Network:
    """A network for these images, newly initialised."""
    return Network(images.channels, images.size, len(images.class_names), width, sharing, device)


def plan_rows(spec: StudySpec, images: Images) -> list[Row]:
    """The rows of a study: each sharing, and behind each partly shared one its wider full counterpart.

    Nothing is allocated: networks are counted on the meta device.

    Raises:
        SharingError: a sharing that does not fit maps of the images' size.
        StudyError: a network too large to train.
    """
    for sharing in spec.sharings:
        height, width = images.size
        sharing.check(images.size, "study: sharing=", f" from images of {height} x {width} pixels")
        kernel = 9 * spec.width * (images.channels + (DEPTH - 1) * spec.width)
        _check_size(images, sharing, spec.width, sharing.banks(images.size) * kernel)
    rows: list[Row] = []
    wide: dict[int, Row] = {}
    for sharing in spec.sharings:
        row = _row(str(sharing), images, sharing, spec.width)
        rows.append(row)
        if isinstance(sharing, Full | Local):
            continue
        width = matched_width(row.parameters, lambda width: count(images, Full(), width))
        if width == spec.width and Full() in spec.sharings:
            continue
        matches = (*wide[width].matches, row.name) if width in wide else (row.name,)
        name = f"full (width {width}, as many parameters as {' and '.join(matches)})"
        matched = _row(name, images, Full(), width, matches)
        if width in wide:
            rows[rows.index(wide[width])] = matched
        else:
            rows.append(matched)
        wide[width] = matched
    return rows


def count(images: Images, sharing: Sharing, width: int) -> int:
    """Parameters of a network."""
    return sum(p.numel() for p in build(images, sharing, width, "meta").parameters())


def matched_width(parameters: int, parameters_at: Callable[[int], int]) -> int:
    """The width whose number of parameters is nearest; `parameters_at` grows with the width.

    >>> matched_width(1000, lambda width: width**2)
    32
    """
    above = bisect_left(range(1, MAX_WIDTH), parameters, key=parameters_at) + 1
    candidates = [width for width in (above - 1, above) if width >= 1]
    return min(candidates, key=lambda width: abs(parameters_at(width) - parameters))


def _row(name: str, images: Images, sharing: Sharing, width: int, matches: tuple[str, ...] = ()) -> Row:
    network = build(images, sharing, width, "meta")
    parameters = sum(p.numel() for p in network.parameters())
    _check_size(images, sharing, width, parameters)
    return Row(name, sharing, width, matches, parameters, multiply_adds(network, images.size))


def _check_size(images: Images, sharing: Sharing, width: int, parameters: int) -> None:
    """Refuse a network with too many parameters; before it is built its kernels alone are counted."""
    if parameters > MAX_PARAMETERS:
        height, breadth = images.size
        raise StudyError(
            f"study: sharing={sharing!r}, width={width}",
            f"a network must have at most {MAX_PARAMETERS:,} parameters",
            f"{parameters:,} or more on images of {height} x {breadth} pixels",
            "use smaller images, a smaller width or another sharing",
        )


def multiply_adds(network: Network, size: tuple[int, int]) -> int:
    """Multiply-adds of the convolutions and the head for one image."""
    counts = [explain(layer, input_size=size).macs for layer in network.convolutions]
    head = network.head.in_features * network.head.out_features
    return head + sum(macs for macs in counts if macs is not None)
