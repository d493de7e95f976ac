"""One forward pass of a model, watched: who is called, what is multiplied, which parameters are read.

The model is left as it was: modes, parameters, gradients, buffers, submodules and torch's random state are
put back, and nothing is registered on a module. What the pass writes into a parameter's own numbers stays.
"""

import sys
import threading
import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from .._nests import first_shape, map_tensors, tensors_in
from .._running import evaluating
from .._torch import OpOverload, TorchDispatchMode, watch_modules
from ..parameters.storage import storage_of
from .multiplications import may_sum_products, multiplications

_lock = threading.RLock()  # a forward pass may summarise a part of its model


@dataclass
class Watched:
    """What a forward pass showed; modules by their `id`.

    Args:
        calls: Of every module.
        inputs: The shape of the first tensor that a module was called with, for every call.
        outputs: The shape of the first tensor that it returned last.
        macs: Multiplications with their additions, by the innermost module that computed them.
        uncounted: Operators that may multiply and have no formula, and how often each ran.
        convolving: The innermost modules of all convolutions.
        read: Storages that an operator read, or that came out.
        failed: What stopped the pass.
    """

    calls: Counter[int] = field(default_factory=Counter)
    inputs: dict[int, list[tuple[int, ...]]] = field(default_factory=dict)
    outputs: dict[int, tuple[int, ...]] = field(default_factory=dict)
    macs: Counter[int] = field(default_factory=Counter)
    uncounted: Counter[str] = field(default_factory=Counter)
    convolving: set[int] = field(default_factory=set)
    read: set[Hashable] = field(default_factory=set)
    failed: Exception | None = None


def watch(model: Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Watched:
    """Call `model(*args, **kwargs)` once in evaluation mode, without gradients, and watch; one at a time."""
    watched, inside, thread = Watched(), [model], threading.get_ident()

    def enter(module: Module, _: Any) -> None:
        if threading.get_ident() == thread:
            inside.append(module)
            watched.calls[id(module)] += 1

    def leave(module: Module, args: Any, *more: Any) -> None:
        if threading.get_ident() != thread:
            return
        inside.pop()
        if len(more) == 2:  # torch leaves out the keywords where an error goes by
            kwargs, output = more
            watched.inputs.setdefault(id(module), []).append(first_shape((args, kwargs)))
            watched.outputs[id(module)] = first_shape(output)

    with ExitStack() as stack:
        stack.enter_context(_lock)
        args, kwargs = map_tensors(Tensor.clone, (tuple(args), dict(kwargs)))  # a model may write into them
        stack.enter_context(_observable())
        stack.enter_context(evaluating(model, warn=False))
        stack.enter_context(watch_modules(enter, leave))
        stack.enter_context(_Operators(watched, inside))
        try:
            output = model(*args, **kwargs)
            watched.read |= {storage_of(tensor) for tensor in tensors_in(output)}
        except Exception as error:  # whatever the model raises is told, and the static counts still given
            watched.failed = error
    return watched


class _Operators(TorchDispatchMode):
    """Counts multiplications and notes which memory is read."""

    supports_higher_order_operators = True

    def __init__(self, watched: Watched, inside: list[Module]):
        super().__init__()
        self.watched, self.inside = watched, inside

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[override]
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload):  # control flow and the like: run, not looked into
            self.watched.read |= {storage_of(tensor) for tensor in tensors_in((args, kwargs))}
            self.watched.uncounted[str(func)] += 1
            return func(*args, **kwargs)
        with self:
            parts = func.decompose(*args, **kwargs)  # an operator made of others, as in inference mode
        if parts is not NotImplemented:
            return parts
        output = func(*args, **kwargs)
        if not func.is_view:
            self.watched.read |= {storage_of(tensor) for tensor in tensors_in((args, kwargs))}
        count = multiplications(func, args, kwargs, output)
        if func.overloadpacket is torch.ops.aten.convolution:
            self.watched.convolving.add(id(self.inside[-1]))
        if count is not None:
            self.watched.macs[id(self.inside[-1])] += count
        elif may_sum_products(func):
            self.watched.uncounted[str(func.overloadpacket)] += 1
        return output


@contextmanager
def _observable() -> Iterator[None]:
    """Run eagerly, and call the submodules of attention layers, so that every operator is seen."""
    fastpath = torch.backends.mha.get_fastpath_enabled()
    try:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "Using `torch.compile.module.` when there are global hooks")
            if "torch._dynamo" in sys.modules:  # else nothing is compiled, and importing it takes a second
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            torch.backends.mha.set_fastpath_enabled(False)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
