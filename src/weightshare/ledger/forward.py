"""One observed forward pass of a model: module calls, MACs, and the parameters that are read.

The model is left unchanged: modes, parameters, gradients, buffers, submodules and torch's random state are
restored, and nothing is registered on a module. Only values that the pass itself writes into a parameter
remain.
"""

import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.jit import ScriptModule
from torch.nn import Module

from .._nests import get_first_shape, iter_tensors, map_tensors
from .._running import evaluating
from .._torch import OpOverload, TorchDispatchMode, watch_modules
from ..parameters.constants import HIDDEN_CONVOLUTION, count_hidden_convolutions
from ..parameters.packed_objects import get_packed_keys
from ..parameters.storage import get_storage_key
from .convolutions import ConvolutionObserver, Convolutions
from .experts import ExpertObserver, Experts
from .macs import can_sum_products, count_macs
from .origins import Call, Origins, identify

_lock = threading.RLock()  # reentrant, because a forward pass may summarize a part of its model


@dataclass
class ForwardPass:
    """A record of one forward pass; modules are identified by their `id`.

    Args:
        calls: Number of calls of each module.
        inputs: Shape of the first input tensor, for every call of each module.
        outputs: Shape of the first output tensor in the last call of each module.
        macs: Multiply-accumulates, by the innermost module that computed them.
        uncounted: Number of calls of each operator that may sum products and has no formula.
        convolutions: Convolutions, with the parameters that each one uses.
        experts: Experts of each layer that is a mixture of experts.
        read: Storages and packed objects that an operator read or that the model returned, and those of
            experts not chosen.
        is_nested: Whether an input is a nested tensor.
        error: Exception that stopped the pass; None if it completed.
    """

    calls: Counter[int] = field(default_factory=Counter)
    inputs: dict[int, list[tuple[int, ...]]] = field(default_factory=dict)
    outputs: dict[int, tuple[int, ...]] = field(default_factory=dict)
    macs: Counter[int] = field(default_factory=Counter)
    uncounted: Counter[str] = field(default_factory=Counter)
    convolutions: Convolutions = field(default_factory=Convolutions)
    experts: tuple[Experts, ...] = ()
    read: set[Hashable] = field(default_factory=set)
    is_nested: bool = False
    error: Exception | None = None

    @property
    def completed(self) -> bool:
        """Whether the pass ran to its end."""
        return self.error is None


def run_forward(model: Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ForwardPass:
    """Call `model(*args, **kwargs)` in evaluation mode without gradients, and record what it does.

    Only one pass is recorded at a time; modules that run in other threads are ignored.
    """
    record, inside, thread = ForwardPass(), [model], threading.get_ident()

    def enter(module: Module, _: Any) -> None:
        if threading.get_ident() == thread:
            inside.append(module)
            record.calls[id(module)] += 1

    def leave(module: Module, args: Any, *more: Any) -> None:
        if threading.get_ident() != thread:
            return
        inside.pop()
        if len(more) == 2:  # torch omits the keyword arguments if the module raised
            kwargs, output = more
            record.inputs.setdefault(id(module), []).append(get_first_shape((args, kwargs)))
            record.outputs[id(module)] = get_first_shape(output)

    with ExitStack() as stack:
        stack.enter_context(_lock)
        args, kwargs = map_tensors(Tensor.clone, (tuple(args), dict(kwargs)))  # a model may modify its inputs
        record.is_nested = any(tensor.is_nested for tensor in iter_tensors((args, kwargs)))
        stack.enter_context(_observable(fastpath=record.is_nested))
        stack.enter_context(evaluating(model, warn=False))
        stack.enter_context(watch_modules(enter, leave))
        operators = stack.enter_context(_RecordOperators(record, model, inside))
        try:
            output = model(*args, **kwargs)
            record.read |= {get_storage_key(tensor) for tensor in iter_tensors(output)}
        except Exception as error:  # any exception is reported in a note; the other counts remain
            record.error = error
        operators.finish()
    return record


class _RecordOperators(TorchDispatchMode):
    """A dispatch mode that counts MACs, and records which storages are read and how parameters are used."""

    supports_higher_order_operators = True

    def __init__(self, record: ForwardPass, model: Module, inside: list[Module]):
        super().__init__()
        self.record, self.inside = record, inside
        self.origins = Origins(model)
        self.convolutions = ConvolutionObserver(self.origins, record.convolutions)
        self.experts = ExpertObserver(self.origins)
        self.scripted = [module for module in model.modules() if isinstance(module, ScriptModule)]

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        nested = [tensor for tensor in iter_tensors((args, kwargs)) if tensor.is_nested]
        if any(tensor.layout == torch.jagged for tensor in nested):
            return NotImplemented  # the class of the tensor then calls operators on its values
        macs = None
        inputs = _identify_all((args, kwargs))  # before the call, which may resize them
        if isinstance(func, OpOverload):
            if not nested:  # no composite operator supports strided nested tensors
                with self:
                    parts = func.decompose(
                        *args, **kwargs
                    )  # composite operators reach this in inference mode
                if parts is not NotImplemented:
                    return parts
            output = func(*args, **kwargs)
            macs = None if nested else count_macs(func, args, kwargs, output)
            packet, is_view, is_uncounted = func.overloadpacket, func.is_view, can_sum_products(func)
        else:  # higher-order operators such as torch.cond run unobserved
            output = func(*args, **kwargs)
            packet, is_view, is_uncounted = func, False, True
        if macs is not None:
            self.record.macs[id(self.inside[-1])] += macs
        elif is_uncounted:
            self.record.uncounted[str(packet)] += 1
        resized = [tensor for tensor, key in inputs if identify(tensor) != key]
        outputs = _identify_all((output, resized))
        if not is_view:
            self.record.read |= {key for _, key in inputs} | get_packed_keys((args, kwargs))
        call = Call(packet, args, inputs, outputs, macs, is_view, tuple(self.inside))
        self.convolutions.observe(call)
        self.experts.observe(call)
        self.origins.follow(call)
        return output

    def finish(self) -> None:
        """Record what follows from all operators together."""
        self.record.experts = self.experts.find_experts(self.record.calls)
        chosen = self.experts.list_read(self.record.experts)
        self.record.read |= {self.origins.keys[place] for place in chosen if place in self.origins.keys}
        for module in self.scripted:
            if hidden := count_hidden_convolutions(module) * self.record.calls[id(module)]:
                self.record.uncounted[HIDDEN_CONVOLUTION] += hidden
                self.record.convolutions.unknown.add(id(module))


def _identify_all(values: Any) -> tuple[tuple[Tensor, Hashable], ...]:
    """Return all tensors in nested values with their keys."""
    return tuple((tensor, identify(tensor)) for tensor in iter_tensors(values))


@contextmanager
def _observable(fastpath: bool) -> Generator[None]:
    """Make every operator visible: run eagerly, and disable the fast path of attention layers.

    Args:
        fastpath: Whether to allow the fast path, without which these layers refuse nested tensors.
    """
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    try:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "Using `torch.compile.module.` when there are global hooks")
            if "torch._dynamo" in sys.modules:  # without it nothing is compiled, and importing it is slow
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            torch.backends.mha.set_fastpath_enabled(fastpath and was_enabled)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)
