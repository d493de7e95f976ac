"""Prediction consistency of a classifier under shifts of its input images.

Published consistency figures come from three protocols and cannot be compared across them. A result therefore
names its protocol. It also contains what is needed to interpret a high figure: the agreement expected by
chance, the accuracy, and how much the logits change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import torch
from torch import Tensor

from .._args import Size, check_integer
from .._running import evaluating
from ..errors import ArgumentError, ShapeError
from ..pattern.modules import check_module
from .outputs import check_repeatable
from .protocols import SOURCES, Plan, plan_views

CONFIDENCE = 0.95
LARGEST = 1e150  # sums of squares of numbers up to here are finite in float64
WHERE = "consistency"


@dataclass(frozen=True)
class Consistency:
    """A frozen record of how often a classifier predicts the same class for shifted images.

    Rates are between 0 and 1.

    Args:
        protocol: Name of the protocol.
        source: Publication of the protocol.
        consistency: Fraction of the pairs of views of one image for which the predicted class is the same.
        interval: 95% Wilson interval of `consistency`. Its sample size is the number of images, not of pairs,
            so with several pairs per image it is wider than necessary.
        chance: Probability that two independent draws from the predicted classes agree.
        accuracy: Accuracy on the random crops, or on the unshifted images for the other protocols; None
            without labels.
        logit_error: Root mean square difference of the logits of a pair, divided by the root mean square of
            the logits. It is 0 if the logits do not change or are all zero, and sqrt(2) if they are
            unrelated.
        images: Number of images.
        pairs: Number of pairs.
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
        interval = " to ".join(f"{100 * end:.2f}%" for end in self.interval)
        rows = {
            "protocol": f"{self.protocol} ({self.source})",
            "consistency": f"{100 * self.consistency:.2f}% (95% CI {interval})",
            "by chance": f"{100 * self.chance:.2f}%",
            "accuracy": "no labels" if self.accuracy is None else f"{100 * self.accuracy:.2f}%",
            "logit error": f"{self.logit_error:.3g}",
            "pairs": f"{self.pairs:,} from {self.images:,} images",
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
    """Measure how often a classifier predicts the same class for shifted images.

    There are three published protocols:

        random_crops    two random crops of a larger image
        circular_roll   two random circular shifts by up to `max_shift` pixels per axis
        small_rolls     circular shifts by 1 to `max_shift` pixels, one axis at a time, compared with the
                        unshifted image

    For a network with zero padding, a circular shift also changes the content at the border, so
    "circular_roll" and "small_rolls" measure more than translation. A model that predicts one class for all
    images, as untrained models often do, is fully consistent: compare with `chance`.

    Shifts are drawn per image. The publications draw them per batch, which gives the same mean. Every crop
    that fits into the image can be drawn. "small_rolls" leaves out the shift by 0, whose predictions always
    agree. If c is the consistency returned here, the figure that includes the shift by 0, for shifts of 0 to
    m, is (1 + m c) / (1 + m).

    Args:
        model: Classifier that maps images [N, C, *size] to logits [N, classes]. A module runs in evaluation
            mode and is restored afterwards.
        images: Images [N, C, H, W], or signals [N, C, L].
        labels: Classes [N], to measure the accuracy.
        protocol: Name of the protocol.
        crop: Side of the crops in pixels, for "random_crops" only.
        max_shift: Largest shift in pixels; default 3 for "circular_roll" and 7 for "small_rolls".
        passes: Number of pairs drawn per image; default 5 for "random_crops" and 1 for "circular_roll".
        seed: Random seed of the shifts. The global random state of torch is not used.
        batch_size: Number of images per forward pass. It does not change the shifts.

    Raises:
        ArgumentError: If the protocol is unknown or does not accept an argument, if an argument is out of
            range, if labels are not class indices, or if the logits are not finite.
        ShapeError: If images, labels or logits have the wrong shape.
        SymmetryError: If the model is not deterministic.

    Example:
        >>> top_left = lambda x: x[:, :, :2, :2].flatten(1)
        >>> print(consistency(top_left, torch.eye(4).expand(8, 1, 4, 4), protocol="small_rolls", max_shift=1))
        protocol     small_rolls (Gruver et al., ICLR 2023)
        consistency  0.00% (95% CI 0.00% to 32.44%)
        by chance    37.50%
        accuracy     no labels
        logit error  1.41
        pairs        16 from 8 images

    Source: Zhang, "Making convolutional networks shift-invariant again", ICML 2019; Chaman and Dokmanic,
    "Truly shift-invariant convolutional neural networks", CVPR 2021; Gruver et al., "The Lie derivative for
    measuring learned equivariance", ICLR 2023.
    """
    given: dict[str, Size | None] = {"crop": crop, "max_shift": max_shift, "passes": passes}
    check_images(WHERE, images)
    check_module(WHERE, model)
    if labels is not None:
        _check_labels(images, labels)
    batch_size = check_integer(WHERE, "batch_size", batch_size, least=1)
    generator = torch.Generator().manual_seed(check_integer(WHERE, "seed", seed, least=0) % 2**63)
    plan = plan_views(WHERE, protocol, given, images, generator, has_labels=labels is not None)
    with evaluating(model):
        first = plan.cut_view(images, 0, slice(0, batch_size))
        check_repeatable(WHERE, _compute_logits(model, first), _compute_logits(model, first))
        counts = _Counts(len(plan.pairs))
        for start in range(0, len(images), batch_size):
            batch = slice(start, start + batch_size)
            logits = {view: _compute_logits(model, plan.cut_view(images, view, batch)) for view in plan.used}
            if labels is not None:
                _check_classes(labels, logits[plan.scored[0]].shape[1])
            counts.add(plan, logits, None if labels is None else labels[batch])
    return counts.summarize(protocol, len(images))


class _Counts:
    """Sums over the batches."""

    def __init__(self, pairs: int):
        self.pairs = pairs
        self.agreeing = self.correct = self.scored = 0
        self.squared_distance = self.squared_norm = 0.0
        self.classes: Tensor | None = None

    def add(self, plan: Plan, logits: dict[int, Tensor], labels: Tensor | None) -> None:
        predicted = {view: z.argmax(1) for view, z in logits.items()}
        for one, other in plan.pairs:
            self.agreeing += int((predicted[one] == predicted[other]).sum())
            distances, norms = compute_squares(logits[one], logits[other])
            self.squared_distance += distances.sum().item()
            self.squared_norm += norms.sum().item()
            both = torch.cat([predicted[one], predicted[other]])
            counts = torch.bincount(both, minlength=logits[one].shape[1])
            self.classes = counts if self.classes is None else self.classes + counts
        if labels is not None:
            for view in plan.scored:
                self.correct += int((predicted[view] == labels.to(predicted[view].device)).sum())
                self.scored += len(labels)

    def summarize(self, protocol: str, images: int) -> Consistency:
        assert self.classes is not None  # there is at least one batch and one pair
        pairs = images * self.pairs
        shares = self.classes.double() / self.classes.sum()
        return Consistency(
            protocol=protocol,
            source=SOURCES[protocol],
            consistency=self.agreeing / pairs,
            interval=wilson_interval(self.agreeing / pairs, images),
            chance=shares.square().sum().item(),
            accuracy=self.correct / self.scored if self.scored else None,
            logit_error=sqrt(self.squared_distance / self.squared_norm) if self.squared_norm else 0.0,
            images=images,
            pairs=pairs,
        )


def compute_squares(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared distances [N] of N pairs and the means [N] of their squared norms, in float64."""
    a, b = one.flatten(1).double(), other.flatten(1).double()
    return (a - b).square().sum(1), (a.square().sum(1) + b.square().sum(1)) / 2


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95% Wilson interval of a proportion observed in `count` independent draws.

    >>> tuple(round(end, 4) for end in wilson_interval(1.0, 100))
    (0.963, 1.0)
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def check_images(where: str, images: object) -> None:
    """Raise an error if `images` is not a batch of images or signals."""
    if not isinstance(images, Tensor):
        raise ArgumentError(where, "images must be a torch.Tensor", type(images).__name__)
    if images.dim() not in (3, 4) or 0 in images.shape:
        raise ShapeError(
            where,
            "images must be a non-empty tensor of shape [N, C, H, W] (or [N, C, L] for signals)",
            str(tuple(images.shape)),
            "pass one image as [1, C, H, W]",
        )


def check_numbers(where: str, name: str, outputs: Tensor) -> None:
    """Raise an error unless outputs are finite real numbers that can be squared in float64."""
    if outputs.is_complex() or outputs.dtype == torch.bool:
        raise ArgumentError(where, f"{name} must be real numbers", str(outputs.dtype))
    if not outputs.isfinite().all():
        raise ArgumentError(where, f"{name} must be finite", f"{outputs[~outputs.isfinite()][0].item()}")
    if outputs.abs().max() > LARGEST:
        expected = f"{name} must be at most {LARGEST:g} in absolute value, so that they can be squared"
        raise ArgumentError(where, expected, f"{outputs.abs().max().item():.3g}")


def _check_labels(images: Tensor, labels: object) -> None:
    if not isinstance(labels, Tensor):
        raise ArgumentError(WHERE, "labels must be a torch.Tensor", type(labels).__name__)
    if tuple(labels.shape) != (len(images),):
        expected = f"labels must have shape [{len(images)}], one per image"
        raise ShapeError(WHERE, expected, f"{tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ArgumentError(WHERE, "labels must be integers", str(labels.dtype), "convert them with .long()")


def _check_classes(labels: Tensor, classes: int) -> None:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        expected = f"labels must be from 0 to {classes - 1}, the classes of the logits"
        raise ArgumentError(WHERE, expected, f"{wrong[0].item()}")


def _compute_logits(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    logits = model(images)
    if not isinstance(logits, Tensor):
        hint = "wrap it so that it returns only the logits"
        raise ArgumentError(WHERE, "the model must return a tensor", type(logits).__name__, hint)
    if logits.dim() != 2 or len(logits) != len(images) or logits.shape[1] < 2:
        raise ShapeError(
            WHERE,
            f"the model must return logits [{len(images)}, classes] with at least 2 classes",
            f"shape {tuple(logits.shape)}",
            "return one row per image; for a binary classifier with one logit z return [0, z]",
        )
    check_numbers(WHERE, "logits", logits)
    return logits
