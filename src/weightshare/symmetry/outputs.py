"""Check the outputs of a model that is being measured, and compare two of them up to rounding."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, SymmetryError

#: Relative errors up to which rounding explains a difference.
FLOORS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 5e-2}

_SHOWN = 8  # keys of an output listed in an error


def get_name(f: Callable[..., Any]) -> str:
    """Return the name under which errors refer to a function or module."""
    return type(f).__name__ if isinstance(f, nn.Module) else getattr(f, "__name__", type(f).__name__)


def check_callable(where: str, f: object) -> None:
    """Raise an error if `f` is not a module or another function."""
    if not callable(f):
        raise ArgumentError(where, "the model must be a module or another callable", type(f).__name__)


def check_dense_input(where: str, x: Tensor) -> None:
    """Raise an error if the input of a model is on the meta device or sparse."""
    if x.is_meta or x.layout != torch.strided:
        got = "a tensor on the meta device" if x.is_meta else f"one with {x.layout}"
        raise ArgumentError(where, "x must be a dense tensor with values", got)


def check_tensor(f: Callable[..., Any], output: Any) -> Tensor:
    """Return the output of `f`, or raise an error if it is not a single tensor."""
    if not isinstance(output, Tensor):
        got, hint = _describe_output(output)
        raise ArgumentError(get_name(f), "the output must be one tensor", got, hint)
    return output


def _describe_output(output: Any) -> tuple[str, str | None]:
    """Return the type and keys of an output that is not a tensor, and how to take one of its tensors."""
    name, keys = type(output).__name__, list[Any]()
    if isinstance(output, Mapping):
        keys = [key for key, value in output.items() if isinstance(value, Tensor)]
        shown = [*map(repr, list(output)[:_SHOWN]), *["..."] * (len(output) > _SHOWN)]
        name += f" with keys {', '.join(shown)}" if shown else " with no keys"
    elif isinstance(output, Sequence) and not isinstance(output, str):
        keys = [place for place, value in enumerate(output) if isinstance(value, Tensor)]
    if not keys:
        return name, None
    return name, f"wrap the model so that it returns one of its tensors, e.g. lambda x: model(x)[{keys[0]!r}]"


def check_finite(f: Callable[..., Any], output: Tensor) -> None:
    """Raise an error if an output of `f` contains NaN or infinity."""
    if not torch.isfinite(output).all():
        got = f"{int((~torch.isfinite(output)).sum()):,} values that are NaN or infinite"
        raise SymmetryError(
            get_name(f), "the outputs must be finite", got, "check the weights for NaN or inf"
        )


def check_repeatable(
    where: str, first: Tensor, second: Tensor, locate: Callable[[], str | None] | None = None
) -> None:
    """Raise an error if a model returned different outputs in two runs on the same input.

    Args:
        where: Name of the model, or of the function that measures it.
        first, second: Outputs of the two runs.
        locate: Function that returns the name of the first part of the model whose output differs, or None if
            it is unknown. It is called only if the outputs differ.

    Raises:
        SymmetryError: If the outputs differ by more than rounding.
    """
    if is_close(first, second):
        return
    part = None if locate is None else locate()
    raise SymmetryError(
        where,
        "the model must be deterministic",
        f"{_describe_difference(first, second)} between two runs on the same input"
        + ("" if part is None else f", first at {part!r}"),
        "disable dropout and other randomness, or seed it in forward",
    )


def is_close(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors are equal up to the rounding of their type."""
    if first.shape != second.shape:
        return False
    if torch.equal(first, second):
        return True
    one, other = to_real(first), to_real(second)
    floor = FLOORS.get(first.dtype, FLOORS[one.dtype])
    return bool(_norm(one - other) <= floor * _norm(one))


def to_real(tensor: Tensor) -> Tensor:
    """Convert to numbers that can be subtracted and squared.

    Integers and booleans become float64, half precision and quantized numbers become float32, and complex
    numbers become pairs.
    """
    if tensor.is_quantized:
        return tensor.dequantize()
    if tensor.is_complex():
        return torch.view_as_real(tensor)
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    return tensor.float() if tensor.is_floating_point() else tensor.double()


def _describe_difference(first: Tensor, second: Tensor) -> str:
    if first.shape != second.shape:
        return f"outputs of shapes {list(first.shape)} and {list(second.shape)}"
    one, other = to_real(first), to_real(second)
    relative = _norm(one - other) / _norm(one).clamp(min=1e-300)
    return f"outputs that differ by {relative:.3g} of their norm"


def _norm(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64)
