"""Compute a model in float64, whatever the precision of its weights, without changing them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..._nests import map_leaves

_WIDER = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}

#: Methods that convert to a floating-point type that is named by the method.
_CONVERSIONS = ("float", "half", "bfloat16", "double")


class Float64Mode(TorchFunctionMode):
    """Runs every function of torch in float64: it converts arguments, requested types and results.

    A tensor that is not float64, such as a weight, is converted once; later calls use the same copy, so that
    they see what earlier calls wrote into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.converted: dict[int, tuple[Tensor, Tensor]] = {}  # by id; the originals keep their ids in use

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = map_leaves(self._convert_argument, (tuple(args), dict(kwargs or {})))
        if getattr(func, "__name__", "") in _CONVERSIONS:
            return args[0].double() if args[0].dtype != torch.float64 else args[0]
        return map_leaves(_widen, func(*args, **kwargs))

    def _convert_argument(self, value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return _WIDER.get(value, value)
        if not isinstance(value, Tensor) or value.dtype not in _WIDER:
            return value
        if id(value) not in self.converted:
            self.converted[id(value)] = value, _widen(value)
        return self.converted[id(value)][1]


def _widen(value: Any) -> Any:
    """Return a tensor in float64 or complex128; anything else, such as integers, unchanged."""
    if isinstance(value, Tensor) and value.dtype in _WIDER:
        return value.detach().to(_WIDER[value.dtype])
    return value
