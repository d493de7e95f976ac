"""Example inputs from shapes: tensors of zeros with the device and dtype of a model's parameters."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from .._args import check_integer, format_size, is_sequence
from .._memory import check_fits
from ..counting.sizes import read_size
from ..errors import ArgumentError, SpecError
from ..views.escape import quote

#: Data types that a text may name; None for the floating-point type of the parameters.
_DTYPES = {"int": torch.int64, "float": None, "bool": torch.bool}


def make_example(model: Module, shape: Sequence[int] | str) -> Tensor:
    """Return a batch of one example.

    Args:
        shape: Shape of the example, such as (3, 224, 224) or "3x224x224".
    """
    if isinstance(shape, str):
        shape = _read_sizes(shape)
    if not is_sequence(shape):
        expected = "input_shape must be the shape of one example, without the batch dimension"
        raise ArgumentError("summary", expected, repr(shape), "use e.g. (3, 224, 224)")
    sizes = [check_integer("summary", f"input_shape[{axis}]", n, least=1) for axis, n in enumerate(shape)]
    return _make_zeros(model, [1, *sizes], None)


def read_inputs(model: Module, texts: Sequence[str]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the positional and the keyword inputs that texts describe.

    Args:
        texts: For each input "3x224x224", the shape of one example, or "int:1x128", a data type ("int",
            "float" or "bool") with a shape that includes the batch dimension. "name=" before it makes it a
            keyword input.

    Raises:
        SpecError: If a text is invalid.
        ArgumentError: If two keyword inputs have the same name, or an input does not fit in memory.
    """
    args: list[Tensor] = []
    kwargs: dict[str, Tensor] = {}
    for text in texts:
        name, is_named, rest = text.partition("=") if "=" in text else ("", "", text)
        kind, is_typed, size = rest.rpartition(":")
        if is_named and not name.isidentifier():
            expected, hint = "name must be that of an argument", "use e.g. ids=int:1x128"
            raise SpecError("input", expected, quote(name), hint)
        if is_typed and kind not in _DTYPES:
            expected, hint = f"data type must be one of {', '.join(_DTYPES)}", "use e.g. int:1x128"
            raise SpecError("input", expected, quote(kind), hint)
        if name in kwargs:
            raise ArgumentError("input", "each name may be given only once", quote(name))
        tensor = (
            _make_zeros(model, _read_sizes(size), _DTYPES[kind]) if is_typed else make_example(model, size)
        )
        if is_named:
            kwargs[name] = tensor
        else:
            args.append(tensor)
    return args, kwargs


def _read_sizes(text: str) -> tuple[int, ...]:
    size = read_size(text)
    return size if isinstance(size, tuple) else (size,)


def _make_zeros(model: Module, sizes: Sequence[int], dtype: torch.dtype | None) -> Tensor:
    """Return zeros on the device of the parameters; without a dtype, with theirs.

    Zeros are valid indices of any embedding.
    """
    known = (p for p in model.parameters() if not is_lazy(p) and (p.is_floating_point() or p.is_complex()))
    like: Any = next(known, torch.empty(0))
    dtype = like.dtype if dtype is None else dtype
    if like.device.type == "cpu":
        bytes_needed = prod(sizes) * torch.empty(0, dtype=dtype).element_size()
        hint = "build the model on the meta device, which allocates no memory"
        check_fits(ArgumentError, "summary", "input_shape", bytes_needed, format_size(sizes), hint)
    try:
        return torch.zeros(*sizes, dtype=dtype, device=like.device)
    except (RuntimeError, OverflowError) as error:
        text = str(error).partition("\n")[0]
        raise ArgumentError("summary", "input_shape must fit in memory", text) from error
