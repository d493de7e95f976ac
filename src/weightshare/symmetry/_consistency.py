"""How often a classifier says the same of a picture and of the picture shifted.

"Consistency" has been published for three ways of shifting whose figures cannot be compared. Each has a name
here, and a result carries it, together with what a high figure may hide: the agreement that chance would
give, the accuracy, and how far the logits move.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import torch
from torch import Tensor

from .._args import Size, integer
from .._running import evaluating
from ..errors import ArgumentError, ShapeError
from .outputs import check_repeatable
from .protocols import SOURCES, Plan, planned

CONFIDENCE = 0.95
LARGEST = 1e150  # a number that can be squared and added up in float64
WHERE = "consistency"


@dataclass(frozen=True)
class Consistency:
    """How often the class stayed when pictures were shifted. Fractions of 1.

    Args:
        protocol: How they were shifted.
        source: Who published it.
        consistency: Pairs of shifts of one picture that were given the same class.
        interval: Its 95 % Wilson interval, which counts pictures and not pairs: with several pairs a picture
            it is wider than it need be.
        chance: How often two independent draws from the classes given would agree.
        accuracy: Of the crops, or of the pictures not rolled; None without labels.
        logit_error: Root mean square distance of the logits of a pair over that of the logits from zero, so 0
            where nothing moves and sqrt(2) for unrelated logits; 0 also where all logits are zero.
        images, pairs: How many.
    """

    protocol: str
    source: str
    consistency: float
    interval: tuple[float, float]
    chance: float
    accuracy: float | None
    logit_error: float
    images: int
    pairs: int

    def __str__(self) -> str:
        interval = " to ".join(f"{100 * end:.2f}" for end in self.interval)
        accuracy = "no labels" if self.accuracy is None else f"{100 * self.accuracy:.2f} %"
        rows = {
            "protocol": f"{self.protocol} ({self.source})",
            "consistency": f"{100 * self.consistency:.2f} %, 95 % interval {interval}",
            "by chance": f"{100 * self.chance:.2f} %",
            "accuracy": accuracy,
            "logit error": f"{self.logit_error:.3g}",
            "pairs": f"{self.pairs:,} of {self.images:,} images",
        }
        return "\n".join(f"{name:<12} {value}" for name, value in rows.items())


def consistency(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor | None = None,
    *,
    protocol: str,
    crop: Size | None = None,
    max_shift: int | None = None,
    passes: int | None = None,
    seed: int = 0,
    batch_size: int = 250,
) -> Consistency:
    """Measure how often a classifier says the same of shifted pictures, by one of three published protocols.

        random_crops    two random crops of a larger picture
        circular_roll   two random circular shifts of up to `max_shift` pixels an axis
        small_rolls     circular shifts of 1 to `max_shift` pixels, one axis at a time, against the unshifted

    A network that pads with zeros sees a circular shift as other content at the border, so for it the last
    two measure more than translation. A model that gives all pictures one class, as untrained ones do, is
    fully consistent: compare with `chance`.

    Shifts are drawn for every picture, where the sources draw one for every batch; the mean is the same.
    Every crop that fits may be drawn. The shift by 0, which always agrees, is no part of "small_rolls": a
    figure that counts it too, on shifts of 0 to m, is (1 + m c) / (1 + m) for the figure c of this function.

    Args:
        model: [N, C, *size] -> logits [N, classes]. A module runs in evaluation mode and is left as it was.
        images: [N, C, H, W] or, for signals, [N, C, L].
        labels: [N], for the accuracy.
        protocol: One of the three.
        crop: Side of the crops in pixels, for "random_crops" alone.
        max_shift: In pixels; default 3 for "circular_roll", 7 for "small_rolls".
        passes: Pairs drawn of every picture; default 5 for "random_crops", 1 for "circular_roll".
        seed: Of the shifts; torch's own generators are left alone.
        batch_size: Pictures at once. It changes no shift.

    Raises:
        ArgumentError: an unknown protocol, an argument that it does not take or that is out of its range,
            labels that are no classes, or a model whose outputs are not finite, or differ from run to run.
        ShapeError: images, labels or logits of another shape.

    Example:
        >>> top_left = lambda x: x[:, :, :2, :2].flatten(1)
        >>> print(consistency(top_left, torch.eye(4).expand(8, 1, 4, 4), protocol="small_rolls", max_shift=1))
        protocol     small_rolls (Gruver et al., ICLR 2023)
        consistency  0.00 %, 95 % interval 0.00 to 32.44
        by chance    37.50 %
        accuracy     no labels
        logit error  1.41
        pairs        16 of 8 images

    Source: Zhang, "Making convolutional networks shift-invariant again", ICML 2019; Chaman and Dokmanic,
    "Truly shift-invariant convolutional neural networks", CVPR 2021; Gruver et al., "The Lie derivative for
    measuring learned equivariance", ICLR 2023.
    """
    given: dict[str, Size | None] = {"crop": crop, "max_shift": max_shift, "passes": passes}
    check_images(WHERE, images)
    if labels is not None:
        _check_labels(images, labels)
    batch_size = integer(WHERE, "batch_size", batch_size, least=1)
    generator = torch.Generator().manual_seed(integer(WHERE, "seed", seed, least=0) % 2**63)
    plan = planned(WHERE, protocol, given, images, generator, judged=labels is not None)
    with evaluating(model):
        first = plan.view(images, 0, slice(0, batch_size))
        check_repeatable(WHERE, _logits(model, first), _logits(model, first))
        counts = _Counts(len(plan.pairs))
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            logits = {k: _logits(model, plan.view(images, k, part)) for k in plan.seen}
            if labels is not None:
                _check_classes(labels, logits[plan.judged[0]].shape[1])
            counts.add(plan, logits, None if labels is None else labels[part])
    return counts.result(protocol, len(images))


class _Counts:
    """What is added up over the batches."""

    def __init__(self, pairs: int):
        self.pairs = pairs
        self.agreed = self.right = self.judged = 0
        self.moved = self.length = 0.0
        self.classes: Tensor | None = None

    def add(self, plan: Plan, logits: dict[int, Tensor], labels: Tensor | None) -> None:
        said = {k: z.argmax(1) for k, z in logits.items()}
        for one, other in plan.pairs:
            self.agreed += int((said[one] == said[other]).sum())
            moved, length = squares(logits[one], logits[other])
            self.moved, self.length = self.moved + moved.sum().item(), self.length + length.sum().item()
            seen = torch.bincount(torch.cat([said[one], said[other]]), minlength=logits[one].shape[1])
            self.classes = seen if self.classes is None else self.classes + seen
        if labels is not None:
            for view in plan.judged:
                self.right += int((said[view] == labels.to(said[view].device)).sum())
                self.judged += len(labels)

    def result(self, protocol: str, images: int) -> Consistency:
        assert self.classes is not None  # there is at least one batch and one pair
        pairs = images * self.pairs
        shares = self.classes.double() / self.classes.sum()
        return Consistency(
            protocol=protocol,
            source=SOURCES[protocol],
            consistency=self.agreed / pairs,
            interval=wilson(self.agreed / pairs, images),
            chance=shares.square().sum().item(),
            accuracy=self.right / self.judged if self.judged else None,
            logit_error=sqrt(self.moved / self.length) if self.length else 0.0,
            images=images,
            pairs=pairs,
        )


def squares(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Of each of N pairs the squared distance [N] and the mean of the squared lengths [N], in float64."""
    a, b = one.flatten(1).double(), other.flatten(1).double()
    return (a - b).square().sum(1), (a.square().sum(1) + b.square().sum(1)) / 2


def check_numbers(where: str, what: str, outputs: Tensor) -> None:
    """Refuse outputs that are no finite real numbers, or whose squares are not."""
    if outputs.is_complex() or outputs.dtype == torch.bool:
        raise ArgumentError(
            where, f"{what} must be real numbers", str(outputs.dtype), "convert them, as with .float()"
        )
    if not outputs.isfinite().all():
        got = f"{outputs[~outputs.isfinite()][0].item()}"
        raise ArgumentError(where, f"{what} must be finite", got, "check model and images")
    if outputs.abs().max() > LARGEST:
        got = f"{outputs.abs().max().item():.3g}"
        raise ArgumentError(
            where, f"{what} must be below {LARGEST:g}, to be squared", got, "check model and images"
        )


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share of `count` independent draws.

    >>> tuple(round(end, 4) for end in wilson(1.0, 100))
    (0.963, 1.0)
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def check_images(where: str, images: object) -> None:
    """Refuse what is no batch of pictures or signals."""
    if not isinstance(images, Tensor):
        raise ArgumentError(
            where, "images must be a torch.Tensor", type(images).__name__, "convert them first"
        )
    if images.dim() not in (3, 4) or 0 in images.shape:
        raise ShapeError(
            where,
            "images must be [N, C, H, W] (or [N, C, L] for signals), not empty",
            f"shape {tuple(images.shape)}",
            "give them so, one picture as [1, C, H, W]",
        )


def _check_labels(images: Tensor, labels: object) -> None:
    if not isinstance(labels, Tensor):
        raise ArgumentError(
            WHERE, "labels must be a torch.Tensor", type(labels).__name__, "convert them first"
        )
    if tuple(labels.shape) != (len(images),):
        raise ShapeError(
            WHERE,
            f"labels must be [{len(images)}], one an image",
            f"shape {tuple(labels.shape)}",
            "give the labels of these images",
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ArgumentError(
            WHERE, "labels must be integers", str(labels.dtype), "convert them, as with .long()"
        )


def _check_classes(labels: Tensor, classes: int) -> None:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ArgumentError(
            WHERE,
            f"labels must be from 0 to {classes - 1}, the classes of the logits",
            f"{wrong[0].item()}",
            "check labels and model",
        )


def _logits(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    logits = model(images)
    if not isinstance(logits, Tensor):
        raise ArgumentError(
            WHERE,
            "the model must return a tensor",
            type(logits).__name__,
            "wrap it so that it gives its logits",
        )
    if logits.dim() != 2 or len(logits) != len(images) or logits.shape[1] < 2:
        raise ShapeError(
            WHERE,
            f"the model must give logits [{len(images)}, classes] of at least 2 classes",
            f"shape {tuple(logits.shape)}",
            "wrap it so that it gives one row an image, and z of one class as [0, z]",
        )
    check_numbers(WHERE, "logits", logits)
    return logits
