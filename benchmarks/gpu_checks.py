"""Checks layers on a device against oracles in float64 on the CPU that share no code with the layers.

Small layers of every sharing, with random geometry, are compared with `weightshare.reference`. The layers of
shapes.py are compared with the operators of alternatives.py. Outputs and all gradients are compared.
"""

import copy
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

import alternatives
from shapes import SECTIONS, Shape
from weightshare import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled, nn, reference

#: Largest error, relative to the largest value, by dtype.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 4e-2}
#: Sharings of the partially shared layers of shapes.py.
PARTIAL = (Tiled(2), Regional(4), SharedAlong(1), LowRank(1), LowRank(4))
#: Largest number of elements of the patches of a layer, which the oracle stores.
MOST_PATCHES = 2**27

Function = Callable[[Tensor], Tensor]


def check_random_layers(device: torch.device, rounds: int, deadline: float) -> Iterator[dict]:
    """Yield the result of each check of a random layer.

    Args:
        rounds: Number of layers of each kind.
        deadline: Time of `time.monotonic` at which no new round begins; the first round is always complete.
    """
    random = np.random.default_rng(0)
    for number in range(rounds):
        if number and time.monotonic() > deadline:
            return
        for ndim in (1, 2, 3):
            for transposed in (False, True):
                for kind in SHARINGS:
                    yield from _check_layer(*_draw_layer(random, ndim, transposed, kind), device)


SHARINGS = ("full", "local", "tiled", "regional", "along", "mapped", "lowrank", "lowrank:free")


def _draw_sharing(random: np.random.Generator, kind: str, size: tuple[int, ...]) -> Sharing:
    def draw_up_to(most: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(int(random.integers(1, n + 1)) for n in most)

    if kind in ("full", "local"):
        return Full() if kind == "full" else Local()
    if kind == "tiled":
        return Tiled(draw_up_to(size))
    if kind == "regional":
        return Regional(draw_up_to(size))
    if kind == "along":
        return SharedAlong(tuple(axis for axis in range(len(size)) if random.integers(2)))
    if kind == "mapped":
        count = int(random.integers(1, min(5, np.prod(size)) + 1))
        labels = np.concatenate([np.arange(count), random.integers(0, count, np.prod(size) - count)])
        return Mapped(random.permutation(labels).reshape(size).tolist())
    rank = int(random.integers(0, 4))
    return LowRank(rank, coefficients="free") if kind.endswith("free") else LowRank(rank)


def _draw_layer(
    random: np.random.Generator, ndim: int, transposed: bool, kind: str
) -> tuple[torch.nn.Module, Tensor]:
    """Return a layer with random parameters, and an input, in float64 on the CPU."""

    def draw(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(n) for n in random.integers(low, high + 1, ndim))

    kernel, stride, dilation, padding = draw(1, 3), draw(1, 2), draw(1, 2), draw(0, 1)
    groups = int(random.choice([1, 1, 2, 3]))
    channels, out = (groups * int(random.choice([1, 2, 4, 7])) for _ in range(2))
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    size = draw(2, 6) if transposed else tuple(n + more for n, more in zip(span, draw(1, 6)))
    if transposed:
        padding = tuple(min(p, (n - 1) // 2) for p, n in zip(padding, span))
        positions = size
    else:
        extents = zip(size, padding, span, stride)
        positions = tuple((n + 2 * p - w) // s + 1 for n, p, w, s in extents)
    name = f"Conv{'Transpose' if transposed else ''}{ndim}d"
    layer = getattr(nn, name)(
        channels,
        out,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bool(random.integers(2)),
        sharing=_draw_sharing(random, kind, positions),
        input_size=size,
        dtype=torch.float64,
    )
    generator = torch.Generator().manual_seed(int(random.integers(2**31)))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    batch = int(random.choice([1, 2, 5, 16, 33]))
    return layer, torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)


def _check_layer(layer: torch.nn.Module, x: Tensor, device: torch.device) -> Iterator[dict]:
    for dtype in TOLERANCES:
        rounded = copy.deepcopy(layer).to(dtype)
        exact = copy.deepcopy(rounded).double()
        name = f"{layer}, batch {len(x)}"
        yield _check(name, exact, lambda v, m=exact: reference.output(m, v), rounded, x.to(dtype), device)


def check_shapes(device: torch.device, quick: bool, deadline: float) -> Iterator[dict]:
    """Yield the result of each check of a layer of shapes.py, in float32, until the deadline."""
    for section, shapes in SECTIONS.items():
        for shape in shapes:
            patches = shape.batch * shape.channels * shape.positions * shape.kernel**shape.ndim
            if (quick and "tiny" not in shape.name) or patches > MOST_PATCHES or shape.weights > MOST_PATCHES:
                continue
            if section == "full":
                continue  # torch computes these layers
            for sharing in PARTIAL if section == "partial" else (Local(),):
                if time.monotonic() > deadline:
                    return
                layer = build_layer(section, shape, sharing, torch.device("cpu"), torch.float32)
                exact = copy.deepcopy(layer).double()
                x = torch.randn(shape.batch, shape.channels, *shape.in_size)
                name = f"{section}: {shape}, {sharing}"
                oracle = _make_oracle(section, shape, exact)
                yield _check(name, exact, oracle, layer, x, device)


def build_layer(
    section: str, shape: Shape, sharing: Sharing, device: torch.device, dtype: torch.dtype
) -> torch.nn.Module:
    """Return a layer of weightshare without bias, scaled so that its outputs are about 1."""
    make = getattr(nn, f"Conv{'Transpose' if section == 'transposed' else ''}{shape.ndim}d")
    numbers = (shape.channels, shape.out, shape.kernel, shape.stride, shape.padding)
    form = {"device": device, "dtype": dtype, "input_size": None if sharing == Full() else shape.in_size}
    return make(*numbers, groups=shape.groups, bias=False, sharing=sharing, **form)


def _make_oracle(section: str, shape: Shape, layer: torch.nn.Module) -> Function:
    def compute(x: Tensor) -> Tensor:
        if section == "transposed":
            return alternatives.fold(x, to_fold_weight(layer.weight), shape)
        weight = layer.weight
        if not isinstance(layer.sharing, Local):
            named = dict(layer.named_parameters(recurse=False))
            matrix = reference.assignment(layer.sharing, layer.output_size, named).to(weight)
            weight = torch.einsum("pk,koc...->p...co", matrix, layer.kernels())
        return alternatives.unfold_einsum(x, weight, shape)

    return compute


def to_fold_weight(weight: Tensor) -> Tensor:
    """Return the weight [P, *kernel, out, in] of an unshared transposed layer as [P, out, in, *kernel]."""
    return weight.movedim((-2, -1), (1, 2))


def _check(
    name: str,
    exact: torch.nn.Module,
    oracle: Function,
    layer: torch.nn.Module,
    x: Tensor,
    device: torch.device,
) -> dict:
    """Return the name, the dtype, the largest relative error, and the reason of a failure or None."""
    result: dict = {
        "layer": name,
        "dtype": str(x.dtype).removeprefix("torch."),
        "error": None,
        "failure": None,
    }
    try:
        expected = _differentiate(oracle, x.double(), list(exact.parameters()))
        layer = layer.to(device)
        errors = []
        for form in _list_forms(x.to(device)):
            got = _differentiate(layer, form, list(layer.parameters()))
            errors += [_find_error(a, b) for a, b in zip(got, expected)]
        result["error"] = max(errors)
        if not result["error"] <= TOLERANCES[x.dtype]:
            result["failure"] = (
                f"the relative error is {result['error']:.2g}, expected {TOLERANCES[x.dtype]:g}"
            )
    except Exception as error:  # a benchmark reports every failure
        result["failure"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return result


def _list_forms(x: Tensor) -> list[Tensor]:
    """Return an input as it is, and with the channels last."""
    return [x, x.movedim(1, -1).contiguous().movedim(-1, 1)] if x.numel() < 2**22 else [x]


def _differentiate(function: Function, x: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    """Return the output, and the gradients of the input and of the parameters."""
    x = x.detach().requires_grad_()
    y = function(x)
    steps = torch.arange(y.numel(), dtype=torch.float64).mul(0.7).sin().mul(8).round().div(8)
    direction = steps.to(y.device, y.dtype).view(y.shape)  # the same in every dtype
    grads = torch.autograd.grad(y, [x, *parameters], direction, allow_unused=True)
    return [
        y.detach(),
        *(g if g is not None else torch.zeros_like(p) for g, p in zip(grads, [x, *parameters])),
    ]


def _find_error(got: Tensor, expected: Tensor) -> float:
    if got.shape != expected.shape:
        raise ValueError(f"shape {tuple(got.shape)}, expected {tuple(expected.shape)}")
    if expected.numel() == 0:
        return 0.0
    scale = max(1.0, expected.abs().max().item())
    return ((got.double().cpu() - expected).abs().max() / scale).item()
