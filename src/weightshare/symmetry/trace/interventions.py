"""Change what loses a shift, one cause after the other, and measure the output again."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ...convert import restrict
from ...errors import SymmetryError
from ...nn import BlurPool1d, BlurPool2d, BlurPool3d
from ...sharing import Full
from ..error import FLOORS
from ..running import evaluating
from .causes import constants, pads
from .layout import Layout
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
        unchanged: (operation, cause) that the trace names and no change reaches; they stay in all figures.
    """

    shift: tuple[int, ...]
    error: float
    effects: tuple[Effect, ...]
    rest: float
    interaction: float
    unchanged: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        lines = [f"relative error of the output for the shift {self.shift}: {self.error:.2g}"]
        for e in self.effects:
            count = f"{len(e.operations)} operation{'s' if len(e.operations) > 1 else ''}"
            figures = f"alone {e.alone:.2g}, without it {e.without:.2g}"
            lines.append(f"  {e.cause} ({count}): {figures}; changed to {CHANGES[e.cause]}")
        lines.append(f"  all removed: {self.rest:.2g}; interaction {self.interaction:+.2g}")
        if self.unchanged:
            lines.append("  not changed: " + ", ".join(f"{name} ({cause})" for name, cause in self.unchanged))
        return "\n".join(lines)


def intervened(run: Any, shift: tuple[int, ...], rows: Sequence[Any]) -> Interventions:
    """What `EquivarianceTrace.interventions` says."""
    as_it_is, replayed = run.measured(shift), run.replayed(shift, {})
    if as_it_is is None:
        wanted, got = "the shift must be whole at the output", f"{shift}, undefined for this stride"
        raise SymmetryError("interventions", wanted, got, "use a multiple of the stride")
    if abs(as_it_is - replayed) > 1e-3 * as_it_is + 1e-6:
        wanted = "the operations must give the model's output when they are computed again"
        got = f"an error of {replayed:.2g} instead of {as_it_is:.2g}"
        raise SymmetryError(
            "interventions", wanted, got, "change the model by hand, and use equivariance_error"
        )
    changes = _changes(run)
    names = tuple(cause for cause in CHANGES if any(cause in of for of in changes.values()))
    errors = {frozenset(): as_it_is}
    for size in {1, len(names) - 1, len(names)} - {-1, 0}:
        for removed in map(frozenset, combinations(names, size)):
            kept = {name: {c: of[c] for c in removed if c in of} for name, of in changes.items()}
            instead = {name: partial(_changed, of) for name, of in kept.items() if of}
            errors[removed] = run.replayed(shift, instead)
    whole, rest = errors[frozenset()], errors[frozenset(names)]
    effects = tuple(
        Effect(
            cause,
            tuple(name for name, of in changes.items() if cause in of),
            errors[frozenset(names) - {cause}],
            errors[frozenset({cause})],
        )
        for cause in names
    )
    interaction = whole - rest - sum(e.alone - rest for e in effects)
    unchanged = tuple(
        (row.name, cause)
        for row in rows
        for cause in row.causes
        if rest > FLOORS.get(run.x.dtype, 0.0) and _REMOVES.get(cause, cause) not in changes.get(row.name, {})
    )
    return Interventions(shift, whole, effects, rest, interaction, unchanged)


_REMOVES = {"stride": "down-sampling", "pooling": "down-sampling"}

#: From a step's inputs, and the causes to remove, to its outputs.
Change = Callable[[Mapping[int, Tensor], Iterable[str]], list[Tensor]]


def _changes(run: Any) -> dict[str, dict[str, Change]]:
    """For every step the causes that can be removed, each tried once: the shape must stay."""
    found: dict[str, dict[str, Change]] = {}
    tensors = {run.tape.input: run.x}
    with evaluating(run.model):
        for step in run.tape.steps:
            results = step.run(tensors)
            for cause, change in _candidates(step, run, tensors, results[0]).items():
                try:
                    fits = change(tensors, {cause})[0].shape == results[0].shape
                except (RuntimeError, TypeError, ValueError):  # errors of this package are ValueErrors
                    fits = False
                if fits:
                    found.setdefault(step.name, {})[cause] = change
            tensors.update(zip(step.outputs, results))
    return found


def _candidates(step: Step, run: Any, tensors: Mapping[int, Tensor], result: Tensor) -> dict[str, Change]:
    """What may be changed at a step."""
    values = {**tensors, step.outputs[0]: result}
    if constants(step, values, run.layouts):
        layout = run.layouts[step.outputs[0]]
        return {"position embedding": lambda given, _: _evened(step, layout).run(given)}
    if step.op == "pad" or step.op.startswith(_PADS):
        return {"padding": lambda given, _: [_repadded(step, given)]} if _pads_otherwise(step) else {}
    window = _Window.of(step)
    if window is None or len(step.inputs) != 1:
        return {}

    def change(given: Mapping[int, Tensor], removed: Iterable[str]) -> list[Tensor]:
        shared = "unshared weights" in removed
        changed = _Window.of(step, shared=True) if shared else window
        assert changed is not None
        return [changed(given[step.inputs[0]], "padding" in removed, "down-sampling" in removed)]

    causes = {
        "padding": pads(step) and window.mode != "circular",
        "down-sampling": window.changeable and max(window.stride) > 1,
        "unshared weights": getattr(step.module, "sharing", Full()) != Full(),
    }
    return {cause: change for cause, there in causes.items() if there}


def _changed(causes: Mapping[str, Change], step: Step, tensors: Mapping[int, Tensor]) -> list[Tensor]:
    """What a step computes without some causes."""
    change = next(iter(causes.values()))
    return change(tensors, causes)


def _evened(step: Step, layout: Layout) -> Step:
    """The same step with the mean over positions of the constants in it."""

    def mean(tensor: Tensor) -> Tensor:
        for d, dim in enumerate(reversed(layout), start=1):
            if d > tensor.dim() or tensor.shape[-d] == 1 or not dim.moves:
                continue
            head = tensor.narrow(-d, 0, dim.prefix)
            tail = tensor.narrow(-d, dim.prefix, tensor.shape[-d] - dim.prefix)
            tail = tail.to(torch.float64).mean(-d, keepdim=True).to(tensor.dtype).expand_as(tail)
            tensor = torch.cat([head, tail], -d)
        return tensor

    args, kwargs = tree_map_only(Tensor, mean, (step.args, step.kwargs))
    return Step(step.name, step.op, step.call, args, kwargs, step.inputs, step.outputs)


_PADS = ("ZeroPad", "ReflectionPad", "ReplicationPad", "ConstantPad")


def _pads_otherwise(step: Step) -> bool:
    return step.op != "pad" or step.argument(2, "mode", "constant") != "circular"


def _repadded(step: Step, tensors: Mapping[int, Tensor]) -> Tensor:
    """Padded from the other end."""
    pairs = getattr(step.module, "padding", None) or step.argument(1, "pad", ())
    return F.pad(tensors[step.inputs[0]], tuple(pairs), mode="circular")


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
        axes, sizes = len(self.extent), x.shape[-len(self.extent) :]
        ends = zip(sizes, self.padding, self.extent, self.stride)
        whole = all((n + lo + hi - e) // s + 1 == n / s for n, (lo, hi), e, s in ends)
        circle = whole and (mode == "circular" or not any(map(any, self.padding)))
        padding = list(self.padding)
        if blur and circle:  # as many positions as a stride of 1 has on a circle
            padding = [(lo, max(hi, e - 1 - lo)) for (lo, hi), e in zip(padding, self.extent)]
        x = _padded(x, padding, "circular" if circle else mode, self.fill)
        if not blur:
            return self.compute(x, self.stride)
        if len(set(self.stride)) > 1:
            raise SymmetryError(
                "interventions", "a stride must be the same on every axis", str(self.stride), ""
            )
        blur_pool = _BLUR[axes](stride=self.stride[0], padding_mode="circular" if circle else "reflect")
        return blur_pool(self.compute(x, (1,) * axes))


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
    """Maxima and means over windows; none with ceil_mode, indices, a divisor, or without the padding."""
    module, axes = step.module, int(step.op.lower().rstrip("d")[-1])

    def value(name: str, place: int, default: Any) -> Any:
        return getattr(module, name, default) if module is not None else step.argument(place, name, default)

    kernel = _each(value("kernel_size", 1, 1), axes)
    stride = value("stride", 2, None)
    stride = kernel if stride in (None, (), []) else _each(stride, axes)
    largest = "max" in step.op.lower()
    dilation = _each(value("dilation", 4, 1), axes) if largest else (1,) * axes
    padding = _each(value("padding", 3, 0), axes)
    unusual = [
        value("ceil_mode", 5 if largest else 4, False),
        value("return_indices" if largest else "divisor_override", 6, None),
        not largest and any(padding) and not value("count_include_pad", 5, True),
    ]
    if any(unusual):
        return None
    pool: Any = getattr(F, f"{'max' if largest else 'avg'}_pool{axes}d")
    options = {"dilation": dilation} if largest else {}

    def compute(x: Tensor, stride: Sequence[int]) -> Tensor:
        return pool(x, kernel, tuple(stride), 0, **options)

    pairs = tuple((p, p) for p in padding)
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
