"""Checks for inputs that no backend supports: other or mixed dtypes, mixed devices, sparse tensors."""

import torch
from torch import Tensor

from ..errors import ArgumentError, ShapeError
from ..sharing import Full, Sharing

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_dtype(where: str, dtype: torch.dtype, sharing: Sharing) -> None:
    """Raise `ArgumentError` if the backends of this sharing do not support the dtype."""
    if sharing != Full() and dtype not in DTYPES:
        raise ArgumentError(
            where,
            f"dtype must be float16, bfloat16, float32 or float64 for sharing={sharing!r}",
            str(dtype),
            "use sharing=Full() for other dtypes",
        )


def check_operands(where: str, input: Tensor, weight: Tensor, sharing: Sharing) -> None:
    """Raise `ShapeError` if the input is not dense or differs from the weight in device or dtype."""
    if input.device != weight.device:
        raise ShapeError(
            where,
            f"input must be on the device of the weights, {weight.device}",
            str(input.device),
            "move one of them with .to()",
        )
    if input.layout != torch.strided:
        raise ShapeError(where, "input must be a dense tensor", str(input.layout), "use input.to_dense()")
    if input.dtype != weight.dtype and not _is_cast_by_autocast(input, weight):
        raise ShapeError(
            where,
            f"input must have the dtype of the weights, {weight.dtype}",
            str(input.dtype),
            "convert one of them with .to()",
        )
    if weight.dtype not in DTYPES:
        check_dtype(where, weight.dtype, sharing)


def not_a_tensor(where: str, input: object) -> ArgumentError:
    """Return the error for an input that is not a tensor."""
    return ArgumentError(where, "input must be a torch.Tensor", type(input).__name__)


def _is_cast_by_autocast(input: Tensor, weight: Tensor) -> bool:
    dtypes = (torch.float16, torch.bfloat16, torch.float32)
    both = input.dtype in dtypes and weight.dtype in dtypes
    return both and torch.is_autocast_enabled(input.device.type)
