"""Measure how far a function is from equivariance, and assert that it is equivariant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._running import evaluating
from ..errors import ArgumentError, EquivarianceError, ShapeError, SymmetryError, describe_exception
from ..pattern.modules import check_module
from .outputs import (
    FLOORS,
    check_callable,
    check_dense_input,
    check_finite,
    check_repeatable,
    check_tensor,
    get_name,
    is_close,
    to_real,
)
from .strides import find_strides
from .transforms import Identity, Transform, Translate, UndefinedError, as_transform, count_axes

#: How an output should change, by name or as a transform.
Out = Literal["invariant", "same", "scaled"] | Callable[[Tensor], Tensor]
_OUTS = ("invariant", "same", "scaled")


@dataclass(frozen=True)
class Result:
    """A frozen record of how the output for a transformed input differs from the transformed output.

    Args:
        relative: Norm of the difference divided by the norm of the transformed output. It is infinite if only
            the transformed output is zero, and None if the error is undefined.
        absolute: Norm of the difference.
        max: Largest absolute difference of one element.
        where: Index of that element in the output.
        out: Transform that was applied to the output.
        undefined: Reason why the error is undefined; empty if it is defined.
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


def equivariance_error(
    f: Callable[[Tensor], Tensor], x: Tensor, transform: Callable[[Tensor], Tensor], out: Out = "same"
) -> Result:
    """Measure how far f(transform(x)) is from the transformed f(x).

    Args:
        f: Module or function from a tensor to a tensor. A module in training mode runs in evaluation mode,
            with a warning, and its mode is restored.
        x: Input [N, C, *spatial].
        transform: Transform from `weightshare.symmetry`, or a function from a tensor to a tensor.
        out: How the output should change: "same" (like the input), "invariant" (not at all), "scaled" (like
            the input, divided by the stride: with a stride of 2, a shift by 4 becomes a shift by 2), or a
            transform. The stride is measured, or follows from the recorded operations of f.

    Returns:
        The error. If the shift is not a multiple of the stride, it is undefined, and `.undefined` states the
        reason.

    Raises:
        ArgumentError: If f is not callable, x is not a dense tensor, the transform is unknown, or f is a
            module with lazy or meta parameters.
        SymmetryError: If f is not deterministic, returns NaN or infinity, or rejects the transformed input.
        ShapeError: If the transform cannot be applied to the output, or if the output for the transformed
            input has another shape.

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
    check_callable(where, f)
    check_module(where, f)
    _check_input(where, x)
    in_transform = as_transform(where, transform)
    with evaluating(f):
        # Cloned, because f may write into its input, and later into the output that it returned.
        output = check_tensor(f, f(x.clone())).clone()
        check_finite(f, output)
        second = check_tensor(f, f(x.clone()))
        check_repeatable(get_name(f), output, second, lambda: _find_random_module(f, x))
        transformed = in_transform(x)
        try:
            got = check_tensor(f, f(transformed.clone())).clone()
        except Exception as error:
            if transformed.shape == x.shape:
                raise
            raise SymmetryError(
                where,
                f"f must accept the transformed input {list(transformed.shape)}, as it accepts "
                f"{list(x.shape)}",
                describe_exception(error),
                "use a transform that keeps the shape, or a square input",
            ) from error
    check_finite(f, got)
    try:
        out_transform = choose_out_transform(where, f, in_transform, out, x, output)
    except UndefinedError as reason:
        out_transform = in_transform if out in _OUTS else as_transform(where, out)
        return Result(None, None, None, None, out_transform, str(reason))
    return _measure_difference(where, got, out_transform(output), out_transform)


def assert_equivariant(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    transform: Callable[[Tensor], Tensor],
    out: Out = "same",
    tol: float | None = None,
) -> None:
    """Raise an `AssertionError` unless the error measured by `equivariance_error` is at most `tol`.

    Args:
        f, x, transform, out: See `equivariance_error`.
        tol: Largest relative error allowed. Default: the limit of rounding, e.g. 1e-12 in float64 and 1e-5 in
            float32.

    Raises:
        EquivarianceError: If the error is larger or undefined. This is an `AssertionError`.

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
            "use trace_equivariance(model, x) to find the operation that breaks equivariance",
        )


def choose_out_transform(
    where: str, f: Callable[[Tensor], Tensor], in_transform: Transform, out: Out, x: Tensor, output: Tensor
) -> Transform:
    """Return the transform of the output that the argument `out` of `equivariance_error` refers to.

    Raises:
        UndefinedError: If the shift is not a whole number of output positions.
        ArgumentError: If the value of `out` is unknown.
        ShapeError: If the output does not have the spatial axes or the spatial size that `out` requires.
    """
    if isinstance(out, str) and out not in _OUTS:
        options = ", ".join(repr(name) for name in _OUTS)
        raise ArgumentError(where, f"out must be one of {options} or a transform", repr(out))
    if not isinstance(out, str):
        return as_transform(where, out)
    if out == "invariant":
        return Identity()
    is_shift = isinstance(in_transform, Translate)
    axes = len(in_transform.shift) if isinstance(in_transform, Translate) else max(0, x.dim() - 2)
    if is_shift or (out == "scaled" and axes):
        if output.dim() < axes + 1 or output.dim() != x.dim():
            raise ShapeError(
                where,
                f"for out={out!r} the output must have the {count_axes(axes)} of the input",
                str(list(output.shape)),
                'use out="invariant" for an output without spatial axes',
            )
        in_size, out_size = x.shape[x.dim() - axes :], output.shape[output.dim() - axes :]
        if out == "scaled":
            if not isinstance(in_transform, Translate):
                return in_transform
            first = x.dim() - 2 - axes
            moved = [first + axis for axis, shift in enumerate(in_transform.shift) if shift]
            found = find_strides(f, x, output, moved)
            strides = [found.get(first + axis) for axis in range(axes)]
            return in_transform.rescale(strides, in_size, out_size)
        is_crop = isinstance(in_transform, Translate) and in_transform.mode == "crop"
        if in_size != out_size and not is_crop:
            raise ShapeError(
                where,
                f'for out="same" the output must have the spatial size {tuple(in_size)} of the input',
                str(tuple(out_size)),
                'use out="scaled" after a stride, or mode="crop" for layers without padding',
            )
    return in_transform


def _check_input(where: str, x: object) -> None:
    if not isinstance(x, Tensor) or not x.numel():
        got = f"shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ArgumentError(where, "x must be a non-empty tensor", got)
    check_dense_input(where, x)


def _measure_difference(where: str, got: Tensor, expected: Tensor, out_transform: Transform) -> Result:
    """Compare two outputs at the positions that are comparable after the transform."""
    if got.shape != expected.shape:
        raise ShapeError(
            where,
            f"the output for the transformed input must have the shape {list(expected.shape)}",
            str(list(got.shape)),
            'use out to describe how the output should change, e.g. out="invariant"',
        )
    axes = len(out_transform.shift) if isinstance(out_transform, Translate) else 0
    region = (..., *out_transform.find_overlap(expected.shape[expected.dim() - axes :]))
    got, expected = to_real(got), to_real(expected)
    difference = (got - expected)[region]
    if not difference.numel():
        raise ShapeError(
            where,
            "the shift must be smaller than the output, so that positions remain to compare",
            str(list(expected.shape)),
            "use a smaller shift or a larger input",
        )
    absolute = torch.linalg.vector_norm(difference.double()).item()
    length = torch.linalg.vector_norm(expected[region].double()).item()
    worst = int(difference.abs().argmax())
    index = torch.unravel_index(torch.tensor(worst), difference.shape)
    begins = [0] * (difference.dim() - axes) + [s.start or 0 for s in region[1:]]
    return Result(
        relative=absolute / length if length else (float("inf") if absolute else 0.0),
        absolute=absolute,
        max=difference.abs().flatten()[worst].item(),
        where=tuple(int(i) + begin for i, begin in zip(index, begins)),
        out=out_transform,
    )


def _find_random_module(f: Callable[[Tensor], Tensor], x: Tensor) -> str | None:
    """Return the name of the first module without submodules whose output differs in a second run, if any."""
    if not isinstance(f, nn.Module):
        return None
    leaves = [(name, module) for name, module in f.named_modules() if not any(module.children())]
    (first, second) = (_record_outputs(f, x, leaves) for _ in range(2))
    for (name, one), (_, other) in zip(first, second):
        if name and not is_close(one, other):
            return name
    return None


def _record_outputs(
    f: nn.Module, x: Tensor, modules: list[tuple[str, nn.Module]]
) -> list[tuple[str, Tensor]]:
    """Run `f` and return the names and output tensors of the given modules, in order of execution."""
    outputs: list[tuple[str, Tensor]] = []

    def record(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs.append((name, output.clone()))

        return hook

    handles = [module.register_forward_hook(record(name)) for name, module in modules]
    try:
        f(x.clone())
    finally:
        for handle in handles:
            handle.remove()
    return outputs
