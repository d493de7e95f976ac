"""`summary`: count the parameters of a model."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

from .._args import check_integer, format_size
from .._nests import get_shape, iter_tensors
from ..errors import ArgumentError
from ..parameters.groups import group_parameters
from ..parameters.modules import check_module, iter_modules
from .conventions import list_conventions
from .forward import ForwardPass, run_forward
from .group_rows import describe_group
from .inputs import make_example
from .notes import collect_notes
from .result import Summary
from .rows import build_outline, build_rows
from .totals import count_totals


def summary(
    model: nn.Module,
    *example_inputs: Any,
    input_shape: Sequence[int] | str | None = None,
    example_kwargs: Mapping[str, Any] | None = None,
    depth: int | None = None,
) -> Summary:
    """Count the parameters of a model, and show where each number comes from and which parameters are shared.

    Every element belongs to exactly one row. Elements with several names (the same Parameter under two names,
    a view of another Parameter, a module registered twice) are counted at the first name and listed at the
    others. The model is left unchanged: the forward pass runs in evaluation mode, on copies of inputs and
    buffers, and modes, gradients, hooks and torch's random state are restored.

    Args:
        model: Any module. It may be on the meta device, lazy, compiled, or wrapped for several processes.
        example_inputs: Positional inputs of a forward pass. Calls, MACs and the totals `unrolled`, `unshared`
            and `dead` need a forward pass. If it fails, a note reports where, and the other counts remain.
        input_shape: Shape of one example, such as (3, 224, 224) or "3x224x224". Replaces `example_inputs` by
            a batch of one example filled with zeros.
        example_kwargs: Keyword inputs of the forward pass.
        depth: Number of levels of modules below the model that are printed; the rows of deeper modules are
            merged into the module above. None for all. The values of the summary do not depend on it.

    Raises:
        ArgumentError: If `model` is not a module, a shape or the depth is invalid, or both a shape and inputs
            are given.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Embedding(100, 16), torch.nn.Linear(16, 100, bias=False))
        >>> model[1].weight = model[0].weight
        >>> answer = summary(model)
        >>> answer.totals.unique, answer.totals.untied, answer.rows[1].shared_with
        (1600, 3200, ('0.weight',))
        >>> print(answer.explain("0.weight"))
        0.weight: 100 embeddings * 16 features = 1,600 (also 1.weight)
    """
    check_module("summary", model)
    if depth is not None:
        depth = check_integer("summary", "depth", depth, least=0)
    model = _unwrap(model)
    if input_shape is not None:
        if example_inputs or example_kwargs:
            raise ArgumentError("summary", "takes either example inputs or input_shape", "both")
        example_inputs = (make_example(model, input_shape),)
    kwargs, forward = example_kwargs or {}, None
    if not isinstance(kwargs, Mapping):
        raise ArgumentError("summary", "example_kwargs must map argument names to inputs", repr(kwargs))
    if example_inputs or example_kwargs is not None:
        model, forward = _run(model, example_inputs, kwargs)
    named = list(iter_modules(model))
    modules, groups = dict(named), group_parameters(named)
    rows = build_rows(modules, groups, forward)
    totals = count_totals(model, modules, groups, forward)
    conventions, resizables = list_conventions(model, modules, groups, totals, forward)
    return Summary(
        model=type(model).__name__,
        input=None if forward is None else _format_shapes((*example_inputs, *kwargs.values())),
        totals=totals,
        rows=rows,
        groups=tuple(map(describe_group, groups)),
        warnings=collect_notes(model, groups, forward),
        conventions=conventions,
        resizables=resizables,
        outline=build_outline(modules, rows, forward),
        depth=depth,
    )


def _unwrap(model: Any) -> nn.Module:
    """Return the module inside the wrappers of `torch.compile` and data parallelism."""
    while True:
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        elif isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        else:
            return model


def _run(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[nn.Module, ForwardPass]:
    """Run a forward pass, and return the model that ran with its record.

    A lazy model is copied, because its parameters get their shapes in the pass.
    """
    if any(map(is_lazy, [*model.parameters(), *model.buffers()])):
        lazy: dict[int, Any] = {id(b): b for b in model.buffers() if is_lazy(b)}  # torch cannot copy these
        copies = {key: type(b)(device=b.device, dtype=b.dtype) for key, b in lazy.items()}
        model = copy.deepcopy(model, copies)
    return model, run_forward(model, inputs, kwargs)


def _format_shapes(inputs: Sequence[Any]) -> str:
    """Return the shapes of all tensors in the inputs as text."""
    shapes = [format_size(get_shape(tensor)) or "a scalar" for tensor in iter_tensors(inputs)]
    return ", ".join(shapes) or "no tensors"
