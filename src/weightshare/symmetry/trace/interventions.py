"""Change what loses a shift, one cause after the other, and measure the output again."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ...convert import restrict
from ...errors import SymmetryError
from ...nn import BlurPool1d, BlurPool2d, BlurPool3d
from ...sharing import Full
from .causes import pads
from .tape import Step

_BLUR = {1: BlurPool1d, 2: BlurPool2d, 3: BlurPool3d}
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_POOLS = ("MaxPool", "AvgPool", "max_pool", "avg_pool")

#: What is changed for every cause.
CHANGES = {
    "padding": "circular padding",
    "down-sampling": "blur pooling before every stride",
    "position embedding": "its mean over positions",
    "unshared weights": "the nearest shared kernel",
}


@dataclass(frozen=True)
class Effect:
    """One cause.

    Args:
        cause: A key of `CHANGES`.
        operations: That are changed.
        alone: Relative error of the output when all other causes are removed.
        without: Relative error when only this one is removed.
    """

    cause: str
    operations: tuple[str, ...]
    alone: float
    without: float


@dataclass(frozen=True)
class Interventions:
    """What every cause contributes to the error of the output.

    Args:
        shift: Of the input.
        error: Of the model as it is.
        effects: One for every cause that can be removed.
        rest: The error when all of them are removed.
        interaction: What is left of `error` when `rest` and what every cause adds to it alone are taken off:
            negative where two causes hide each other.
    """

    shift: tuple[int, ...]
    error: float
    effects: tuple[Effect, ...]
    rest: float
    interaction: float

    def __str__(self) -> str:
        lines = [f"relative error of the output for the shift {self.shift}: {self.error:.2g}"]
        for e in self.effects:
            count = f"{len(e.operations)} operation{'s' if len(e.operations) > 1 else ''}"
            figures = f"alone {e.alone:.2g}, without it {e.without:.2g}"
            lines.append(f"  {e.cause} ({count}): {figures}; changed to {CHANGES[e.cause]}")
        lines.append(f"  all removed: {self.rest:.2g}; interaction {self.interaction:+.2g}")
        return "\n".join(lines)


def intervened(run: Any, shift: tuple[int, ...], rows: Sequence[Any]) -> Interventions:
    """What `EquivarianceTrace.interventions` says."""
    found = _found(run.tape.steps, rows)

    def error(removed: Iterable[str]) -> float:
        chosen = set(removed)
        if not chosen:
            value = run.error(shift)
        else:
            instead = {}
            for step in run.tape.steps:
                mine = {cause for cause in chosen if step.name in found[cause]}
                if mine:
                    instead[step.name] = partial(_changed, mine)
            value = run.error(shift, instead)
        if value is None:
            raise SymmetryError(
                "interventions",
                "the shift must be whole at the output",
                f"{shift}, undefined for this stride",
                "use a multiple of the stride",
            )
        return value

    names, errors = tuple(found), {}
    for size in {0, 1, len(found) - 1, len(found)} - {-1}:
        for removed in combinations(names, size):
            errors[frozenset(removed)] = error(removed)
    whole, rest = errors[frozenset()], errors[frozenset(names)]
    effects = tuple(
        Effect(c, tuple(found[c]), errors[frozenset(names) - {c}], errors[frozenset({c})]) for c in names
    )
    interaction = whole - rest - sum(e.alone - rest for e in effects)
    return Interventions(shift, whole, effects, rest, interaction)


def _found(steps: Sequence[Step], rows: Sequence[Any]) -> dict[str, list[str]]:
    """For every cause that is there the operations that can be changed."""
    found: dict[str, list[str]] = {cause: [] for cause in CHANGES}
    for step, row in zip(steps, rows):
        window = _Window.of(step)
        if "unshared weights" in row.causes:
            found["unshared weights"].append(step.name)
        if window is not None and pads(step) and window.mode != "circular":
            found["padding"].append(step.name)
        if window is not None and window.changeable and max(window.stride) > 1:
            found["down-sampling"].append(step.name)
        if "position embedding" in row.causes:
            found["position embedding"].append(step.name)
    return {cause: names for cause, names in found.items() if names}


def _changed(causes: set[str], step: Step, tensors: Mapping[int, Tensor]) -> list[Tensor]:
    """What a step computes without some causes."""
    if "position embedding" in causes:
        return _evened(step).run(tensors)
    window = _Window.of(step, shared="unshared weights" in causes)
    assert window is not None  # only such steps are chosen
    (x,) = (tensors[ref] for ref in step.inputs)
    return [window(x, "padding" in causes, "down-sampling" in causes)]


def _evened(step: Step) -> Step:
    """The same step with the mean over positions of what it adds."""

    def mean(tensor: Tensor) -> Tensor:
        if tensor.dim() < 2:
            return tensor
        tokens = tensor.dim() == 3  # [N, tokens, features]; else [N, C, *spatial]
        return (
            tensor.mean(1, keepdim=True)
            if tokens
            else tensor.mean(tuple(range(2, tensor.dim())), keepdim=True)
        )

    args, kwargs = tree_map_only(Tensor, mean, (step.args, step.kwargs))
    return Step(step.name, step.op, step.call, args, kwargs, step.inputs, step.outputs)


@dataclass
class _Window:
    """A convolution or pool: what is padded around, and what computes the rest with any stride.

    Args:
        compute: From a padded input and a stride to the output; of a layer of ours from the input alone.
        fill: What zero padding means: minus infinity for maxima.
    """

    compute: Callable[..., Tensor]
    extent: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    mode: str
    fill: float = 0.0
    changeable: bool = True

    @classmethod
    def of(cls, step: Step, shared: bool = False) -> "_Window | None":
        """The window of a step; None for anything else."""
        module: Any = step.module
        plain = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if hasattr(module, "bias_sharing"):
            plain = not module.transposed and module.sharing == module.bias_sharing == Full()
            if not plain:
                return _ours(module, shared)
        if plain:
            values = (
                module.weight,
                module.bias,
                module.stride,
                module.padding,
                module.dilation,
                module.groups,
            )
            return _convolution(values, module.padding_mode)
        if step.op in ("conv1d", "conv2d", "conv3d"):
            names = (
                ("weight", None),
                ("bias", None),
                ("stride", 1),
                ("padding", 0),
                ("dilation", 1),
                ("groups", 1),
            )
            return _convolution(tuple(step.argument(k + 1, n, d) for k, (n, d) in enumerate(names)), "zeros")
        if step.op.startswith(_POOLS) and len(step.inputs) == 1:
            return _pool(step)
        return None

    def __call__(self, x: Tensor, circular: bool, blur: bool) -> Tensor:
        mode = "circular" if circular else self.mode
        if not self.changeable:
            return self.compute(x, mode)
        axes = len(self.extent)
        sizes = x.shape[-axes:]
        blur = blur and max(self.stride) > 1
        padding = list(self.padding)
        circle = mode == "circular" or not any(map(any, padding))
        if blur and circle:  # as many positions as a stride of 1 has on a circle
            spare = [n % s == 0 for n, s in zip(sizes, self.stride)]
            padding = [
                (lo, max(hi, e - 1 - lo)) if fits and s > 1 else (lo, hi)
                for (lo, hi), e, s, fits in zip(padding, self.extent, self.stride, spare)
            ]
        x = _padded(x, padding, "circular" if circle else mode, self.fill)
        if not blur:
            return self.compute(x, self.stride)
        x = self.compute(x, (1,) * axes)
        padding_mode = "circular" if circle else "reflect"
        if len(set(self.stride)) > 1:
            raise SymmetryError(
                "interventions",
                "a stride must be the same on every axis",
                str(self.stride),
                "measure it with at()",
            )
        return _BLUR[axes](stride=self.stride[0], padding_mode=padding_mode)(x)


def _padded(x: Tensor, padding: Sequence[tuple[int, int]], mode: str, fill: float) -> Tensor:
    pairs = [n for pair in reversed(list(padding)) for n in pair]
    if not any(pairs):
        return x
    return F.pad(x, pairs, value=fill) if mode == "zeros" else F.pad(x, pairs, mode=mode)


def _convolution(values: tuple[Any, ...], mode: str) -> _Window | None:
    weight, bias, stride, padding, dilation, groups = values
    axes = weight.dim() - 2
    stride, dilation = _each(stride, axes), _each(dilation, axes)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation))
    if padding == "same":
        pairs = tuple(((e - 1) // 2, e - 1 - (e - 1) // 2) for e in extent)
    else:
        pairs = tuple((p, p) for p in _each(0 if padding == "valid" else padding, axes))

    def compute(x: Tensor, stride: Sequence[int]) -> Tensor:
        return _CONV[axes](x, weight, bias, tuple(stride), 0, dilation, groups)

    return _Window(compute, extent, stride, pairs, mode)


def _pool(step: Step) -> _Window | None:
    """Maxima and means over windows; none with ceil_mode, indices or a divisor."""
    module, axes = step.module, int(step.op.lower().rstrip("d")[-1])

    def value(name: str, place: int, default: Any) -> Any:
        return getattr(module, name, default) if module is not None else step.argument(place, name, default)

    kernel = _each(value("kernel_size", 1, 1), axes)
    stride = value("stride", 2, None)
    stride = kernel if stride in (None, (), []) else _each(stride, axes)
    largest = "max" in step.op.lower()
    dilation = _each(value("dilation", 4, 1), axes) if largest else (1,) * axes
    unusual = any(
        getattr(module, n, False) or step.kwargs.get(n)
        for n in ("ceil_mode", "return_indices", "divisor_override")
    )
    if unusual:
        return None
    pool: Any = getattr(F, f"{'max' if largest else 'avg'}_pool{axes}d")
    options = {"dilation": dilation} if largest else {}

    def compute(x: Tensor, stride: Sequence[int]) -> Tensor:
        return pool(x, kernel, tuple(stride), 0, **options)

    pairs = tuple((p, p) for p in _each(value("padding", 3, 0), axes))
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation))
    return _Window(compute, extent, stride, pairs, "zeros", float("-inf") if largest else 0.0)


def _ours(module: Any, shared: bool) -> _Window | None:
    """A layer of ours, whose size is fixed: its padding can be changed, not its stride."""
    if module.transposed:
        return None
    layer = restrict(module, Full()).module if shared else module

    def compute(x: Tensor, mode: str) -> Tensor:
        changed = copy.copy(layer)
        changed.padding_mode, changed._pads = mode, mode != "zeros"
        return changed(x)

    window = module.window
    return _Window(
        compute, window.extent, window.stride, window.padding, module.padding_mode, changeable=False
    )


def _each(value: Any, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    return values * axes if len(values) == 1 else values
