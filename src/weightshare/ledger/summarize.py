"""`summary`: the parameter ledger of a model."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

from .._args import integer, is_sequence, times
from .._nests import shape_of, tensors_in
from ..counting.sizes import read_size
from ..errors import ArgumentError
from ..parameters.groups import groups_of
from .forward import Watched, watch
from .notes import notes_of
from .reconcile import conventions_of
from .result import Summary, group_row
from .rows import rows_of
from .totals import totals_of


def summary(
    model: Module,
    *example_inputs: Any,
    input_shape: Sequence[int] | str | None = None,
    example_kwargs: Mapping[str, Any] | None = None,
) -> Summary:
    """Count the parameters of a model and say where each number comes from and with whom it is shared.

    Every element belongs to one row: a Parameter under two names, a view of another's memory or a module
    registered twice is counted where it comes first, and named where it comes again. The model is left as it
    was: the forward pass runs in evaluation mode, on copies of inputs and buffers, and modes, gradients,
    hooks and torch's random state are put back.

    Args:
        model: Any module, also on the meta device, lazy, compiled, or wrapped for several processes.
        example_inputs: What the model is called with. Calls, multiplications and the totals `unrolled` and
            `unshared` need it. If the model fails on it, a note says where, and the other counts stand.
        input_shape: Instead of these, the shape of one example, such as (3, 224, 224) or "3x224x224": a
            batch of one, of zeros.
        example_kwargs: What the model is called with by name.

    Raises:
        ArgumentError: no module, a shape that is none, or both a shape and inputs.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Embedding(100, 16), torch.nn.Linear(16, 100, bias=False))
        >>> model[1].weight = model[0].weight
        >>> answer = summary(model)
        >>> answer.totals.unique, answer.totals.untied, answer.rows[1].shared_with
        (1600, 3200, ('0.weight',))
        >>> print(answer.explain("0.weight"))
        0.weight: 100 embeddings * 16 features = 1,600 (also 1.weight)
    """
    if not isinstance(model, Module):
        raise ArgumentError("summary", "model must be a torch.nn.Module", repr(model), "give a module")
    model = _unwrapped(model)
    if input_shape is not None:
        if example_inputs or example_kwargs:
            raise ArgumentError(
                "summary", "takes example inputs or input_shape", "both", "leave one of them out"
            )
        example_inputs = (_zeros(model, input_shape),)
    kwargs, watched = example_kwargs or {}, None
    if not isinstance(kwargs, Mapping):
        raise ArgumentError("summary", "example_kwargs must map names to inputs", repr(kwargs), "give a dict")
    if example_inputs or example_kwargs is not None:
        model, watched = _watched(model, example_inputs, kwargs)
    groups = groups_of(model)
    totals = totals_of(model, groups, watched)
    return Summary(
        type(model).__name__,
        None if watched is None else _described((*example_inputs, *kwargs.values())),
        totals,
        rows_of(model, groups, watched),
        tuple(map(group_row, groups)),
        tuple(notes_of(model, groups, watched)),
        conventions_of(model, groups, totals),
    )


def _unwrapped(model: Any) -> Module:
    """The module inside what compiling and data parallelism put around it."""
    while True:
        if isinstance(getattr(model, "_orig_mod", None), Module):
            model = model._orig_mod
        elif isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        else:
            return model


def _watched(model: Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Module, Watched]:
    """The model whose forward pass was watched: a copy where the pass gives lazy parameters their shapes."""
    if any(map(is_lazy, [*model.parameters(), *model.buffers()])):
        try:
            model = copy.deepcopy(model)
        except ValueError as error:  # some lazy buffers cannot be copied
            return model, Watched(failed=error)
    return model, watch(model, inputs, kwargs)


def _zeros(model: Module, shape: Sequence[int] | str) -> Tensor:
    """One example on the device of the parameters and in their dtype."""
    if isinstance(shape, str):
        size = read_size(shape)
        shape = size if is_sequence(size) else (size,)  # type: ignore[assignment]
    if not is_sequence(shape):
        expected = "input_shape must be the shape of one example, without the batch"
        raise ArgumentError("summary", expected, repr(shape), "give (3, 224, 224), say")
    sizes = [integer("summary", f"input_shape[{axis}]", n, least=1) for axis, n in enumerate(shape)]
    known = (p for p in model.parameters() if not is_lazy(p) and (p.is_floating_point() or p.is_complex()))
    like = next(known, torch.empty(0))
    try:
        return torch.zeros(1, *sizes, dtype=like.dtype, device=like.device)
    except (RuntimeError, OverflowError) as error:
        text = str(error).partition("\n")[0]
        raise ArgumentError(
            "summary", "input_shape must fit the memory", text, "give a smaller one"
        ) from error


def _described(inputs: Sequence[Any]) -> str:
    return ", ".join(times(shape_of(tensor)) or "one number" for tensor in tensors_in(inputs)) or "no tensor"
