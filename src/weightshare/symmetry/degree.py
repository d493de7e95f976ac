"""Bound the degree of a model's outputs as polynomials in its parameters."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from .._nests import iter_tensors
from .._torch import OpOverload, TorchDispatchMode, get_storage_id

#: Operators that add their arguments or put them side by side, so that the largest degree counts.
_SUMS = frozenset(
    (
        *("add", "add_", "sub", "sub_", "rsub", "cat", "stack", "copy", "copy_", "where"),
        *("index_put", "index_put_", "index_add", "index_add_", "index_copy", "index_copy_"),
        *("scatter", "scatter_", "scatter_add", "scatter_add_", "slice_scatter", "select_scatter"),
        *("masked_scatter", "masked_scatter_"),
    )
)

#: Place of the argument that is added to the product of the others, such as a bias.
_SUMMANDS = {
    **dict.fromkeys(("addmm", "addmm_", "addbmm", "addmv", "addr", "baddbmm", "addcmul", "addcmul_"), 0),
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable", "linear"), 2),
}


def bound_degree(f: Callable[[Tensor], Tensor], x: Tensor, parameters: Iterable[Tensor]) -> int:
    """Return an upper bound on the degree of f(x) as a polynomial in the parameters.

    Every operator of torch counts as linear in each of its arguments, except for powers and products of
    elements. The degree of a product is then the sum of the degrees of its factors, and that of a sum their
    maximum. All elements of a tensor, and all views of its memory, count as having the same degree.
    """
    counter = _DegreeCounter(parameters)
    with counter:
        output = f(x)
    return counter.get_degree(output)


class _DegreeCounter(TorchDispatchMode):
    """A record of the degree of each tensor that is computed from the parameters, by its memory."""

    def __init__(self, parameters: Iterable[Tensor]):
        super().__init__()
        self.degrees = {_get_key(parameter): 1 for parameter in parameters}
        self.alive: list[Tensor] = []  # keeps the ids of the memory from being used again

    def get_degree(self, value: Any) -> int:
        """Return the largest degree of the tensors in an argument or a result."""
        return max((self.degrees.get(_get_key(tensor), 0) for tensor in iter_tensors(value)), default=0)

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        degree = self._combine(name, args, [*kwargs.values()])
        result = func(*args, **kwargs)
        for tensor in iter_tensors(result):
            key = _get_key(tensor)
            self.degrees[key] = max(self.degrees.get(key, 0), degree)
            self.alive.append(tensor)
        return result

    def _combine(self, name: str, args: Any, named: list[Any]) -> int:
        degrees = [self.get_degree(value) for value in args]
        if name in _SUMS:
            return max([*degrees, *map(self.get_degree, named)], default=0)
        if name in _SUMMANDS and len(degrees) > _SUMMANDS[name]:
            summand = degrees.pop(_SUMMANDS[name])
            return max(summand, sum(degrees))
        if name in ("pow", "pow_") and isinstance(args[1], int | float):
            return degrees[0] * max(1, int(args[1]))
        if name in ("prod", "cumprod", "cumprod_"):
            return degrees[0] * args[0].numel()
        listed = (tensor for value in (*args, *named) for tensor in iter_tensors(value))
        return sum(map(self.get_degree, listed))


def _get_key(tensor: Tensor) -> int:
    return get_storage_id(tensor) if tensor.layout == torch.strided else id(tensor)
