"""How far a function is from equivariance, as numbers; and an assertion apart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._running import evaluating
from ..errors import ArgumentError, EquivarianceError, ShapeError, SymmetryError
from .outputs import FLOORS, check_finite, check_repeatable, check_tensor, get_name, is_close, to_real
from .transforms import Identity, Transform, Translate, UndefinedError, as_transform

_OUTS = ("invariant", "same", "scaled")


@dataclass(frozen=True)
class Result:
    """The difference between the output of the transformed input and the transformed output.

    Args:
        relative: Its length over that of the output; infinite where the output is all zeros and the
            difference is not. None where the question is undefined.
        absolute: Its length, the root of the sum of squares.
        max: The largest difference of one number.
        where: Index of that number in the output.
        out: What was done to the output.
        undefined: Why there are no numbers; empty where there are.
    """

    relative: float | None
    absolute: float | None
    max: float | None
    where: tuple[int, ...] | None
    out: Transform
    undefined: str = ""

    def __str__(self) -> str:
        if self.undefined:
            return self.undefined
        largest = f"at most {self.max:.3g} at {self.where}"
        return f"relative error {self.relative:.3g} (absolute {self.absolute:.3g}, {largest})"


def equivariance_error(f: Callable[..., Any], x: Tensor, transform: Any, out: Any = "same") -> Result:
    """Measure how far f(transform(x)) is from the transformed f(x).

    Args:
        f: A module or function from a tensor to a tensor. A module in training mode is run in evaluation
            mode, which a warning says, and is left as it was.
        x: [N, C, *spatial].
        transform: From `weightshare.symmetry`, or a function from a tensor to a tensor.
        out: What should happen to the output: "same" as to the input, nothing ("invariant"), the same
            "scaled" to the output's size (a shift by 4 pixels is one by 2 behind stride 2), or a transform.

    Returns:
        Numbers. A shift that is no multiple of the stride has none: `.undefined` says so.

    Raises:
        SymmetryError: a function that gives something else the second time, or an input that f rejects once
            it is transformed.
        ShapeError: an output that the transform cannot act on, or another shape after the transform.

    Example:
        >>> from weightshare.symmetry import translate
        >>> conv = torch.nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular").double().eval()
        >>> x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
        >>> equivariance_error(conv, x, translate((1, 2))).relative < 1e-12
        True
        >>> pooled = torch.nn.Sequential(conv, torch.nn.MaxPool2d(2)).eval()
        >>> print(equivariance_error(pooled, x, translate((1, 2)), out="scaled"))
        undefined for this stride: a shift by 1 is 1/2 of an output position
    """
    where = "equivariance_error"
    if not isinstance(x, Tensor) or not x.numel():
        got = f"one of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ArgumentError(where, "x must be a tensor with numbers in it", got, "give a batch of inputs")
    moving = as_transform(where, transform)
    with evaluating(f):
        output = check_tensor(
            f, f(x.clone())
        ).clone()  # a function may write into its input, and later its output
        check_finite(f, output)
        second = check_tensor(f, f(x.clone()))
        check_repeatable(get_name(f), output, second, lambda: _find_random_module(f, x))
        moved = moving(x)
        try:
            got = check_tensor(f, f(moved.clone()))
        except Exception as error:
            if moved.shape == x.shape:
                raise
            raise SymmetryError(
                where,
                f"f must take the transformed input {list(moved.shape)} as it takes {list(x.shape)}",
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
                "use a transform that keeps the shape, or a square input",
            ) from error
    check_finite(f, got)
    try:
        acting = choose_out_transform(where, moving, out, x, output)
    except UndefinedError as why:
        acting = moving if out in _OUTS else as_transform(where, out)
        return Result(None, None, None, None, acting, str(why))
    return difference(where, got, acting(output), output, acting)


def assert_equivariant(
    f: Callable[..., Any], x: Tensor, transform: Any, out: Any = "same", tol: float | None = None
) -> None:
    """Raise unless `equivariance_error` is at most `tol`.

    Args:
        tol: Of the relative error; default what rounding explains: 1e-12 in float64, 1e-5 in float32.

    Raises:
        EquivarianceError: an `AssertionError` with the figures, also where the question is undefined.

    Example:
        >>> from weightshare.symmetry import flip
        >>> assert_equivariant(torch.relu, torch.randn(1, 1, 4), flip())
    """
    result = equivariance_error(f, x, transform, out)
    limit = FLOORS.get(x.dtype, 0.0) if tol is None else tol
    if result.relative is None or not result.relative <= limit:
        raise EquivarianceError(
            f"assert_equivariant({get_name(f)})",
            f"the relative error must be at most {limit:g}",
            str(result),
            "trace_equivariance(model, x) says which operation loses it",
        )


def difference(where: str, got: Tensor, expected: Tensor, output: Tensor, acting: Transform) -> Result:
    """The numbers, over what the transform lets compare."""
    if got.shape != expected.shape:
        raise ShapeError(
            where,
            f"the output of the transformed input must have the shape {list(expected.shape)}",
            str(list(got.shape)),
            'give out= what should happen to the output, such as "invariant"',
        )
    axes = len(acting.shift) if isinstance(acting, Translate) else 0
    region = (..., *acting.overlap(expected.shape[expected.dim() - axes :]))
    got, expected = to_real(got), to_real(expected)
    apart, length = (got - expected)[region], torch.linalg.vector_norm(expected[region].double()).item()
    if not apart.numel():
        raise ShapeError(
            where, "the shift must leave some of the output", str(list(expected.shape)), "shift by less"
        )
    size = torch.linalg.vector_norm(apart.double()).item()
    worst = int(apart.abs().argmax())
    place = torch.unravel_index(torch.tensor(worst), apart.shape)
    begins = [0] * (apart.dim() - axes) + [s.start or 0 for s in region[1:]]
    return Result(
        relative=size / length if length else (float("inf") if size else 0.0),
        absolute=size,
        max=apart.abs().flatten()[worst].item(),
        where=tuple(int(p) + b for p, b in zip(place, begins)),
        out=acting,
    )


def _find_random_module(f: Callable[..., Any], x: Tensor) -> str | None:
    """Return the name of the first innermost module whose output differs between two runs, if any."""
    if not isinstance(f, nn.Module):
        return None
    leaves = [(name, m) for name, m in f.named_modules() if not any(m.children())]
    runs: list[list[tuple[str, Any]]] = []
    for _ in range(2):
        outputs: list[tuple[str, Any]] = []
        hooks = [
            m.register_forward_hook(lambda _m, _i, out, name=name, to=outputs: to.append((name, _copy(out))))
            for name, m in leaves
        ]
        try:
            f(x.clone())
        finally:
            for hook in hooks:
                hook.remove()
        runs.append(outputs)
    for (name, one), (_, other) in zip(*runs):
        if isinstance(one, Tensor) and name and not is_close(one, other):
            return name
    return None


def _copy(output: Any) -> Any:
    return output.clone() if isinstance(output, Tensor) else None


def choose_out_transform(where: str, moving: Transform, out: Any, x: Tensor, output: Tensor) -> Transform:
    if isinstance(out, str) and out not in _OUTS:
        options = ", ".join(repr(name) for name in _OUTS)
        raise ArgumentError(
            where, f"out must be one of {options} or a transform", repr(out), "use one of these"
        )
    if not isinstance(out, str):
        return as_transform(where, out)
    if out == "invariant":
        return Identity()
    axes = len(moving.shift) if isinstance(moving, Translate) else max(0, x.dim() - 2)
    if isinstance(moving, Translate) or (out == "scaled" and axes):
        if output.dim() < axes + 1 or output.dim() != x.dim():
            raise ShapeError(
                where,
                f"for out={out!r} the output must have the {axes} spatial axes of the input",
                str(list(output.shape)),
                'use out="invariant" for an output without',
            )
        sizes = x.shape[x.dim() - axes :], output.shape[output.dim() - axes :]
        if out == "scaled":
            return moving.scaled(*sizes)
        crops = isinstance(moving, Translate) and moving.mode == "crop"
        if sizes[0] != sizes[1] and not crops:
            raise ShapeError(
                where,
                f'for out="same" the output must have the spatial size {tuple(sizes[0])} of the input',
                str(tuple(sizes[1])),
                'use out="scaled" behind a stride, or mode="crop" for layers without padding',
            )
    return moving
