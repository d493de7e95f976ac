"""Register the maps of a one-hot backend as `torch.ops.weightshare.output`, `input_grad` and `weight_grad`.

The operators support all devices, `torch.compile`, `torch.export`, the meta device, derivatives of any order
(the derivatives of each map are the other two), `torch.func.vmap` and `torch.utils.flop_counter`. The result
has the memory format of the first argument.

Source: custom operators of `torch.library`, https://docs.pytorch.org/docs/stable/library.html
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .._torch import is_forward_mode_active, is_functorch_active, is_plain, is_watched
from .layout import is_channels_last

_LIBRARY = torch.library.Library("weightshare", "DEF")
_SCHEMAS = {
    "output": "(Tensor input, Tensor weight, str backend) -> Tensor",
    "input_grad": "(Tensor grad, Tensor weight, str backend, SymInt[] input_shape) -> Tensor",
    "weight_grad": "(Tensor input, Tensor grad, str backend, SymInt[] weight_shape) -> Tensor",
}
for _name, _schema in _SCHEMAS.items():
    _LIBRARY.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides))
_output = torch.ops.weightshare.output.default
_input_grad = torch.ops.weightshare.input_grad.default
_weight_grad = torch.ops.weightshare.weight_grad.default

#: Placeholder for the batch size in the shape passed to `input_grad`, which uses that of the gradient.
#: Without it, `torch.jit.trace` would record the batch size of its example.
ANY_BATCH = -1

_readers: list[Callable[[str], Any]] = []


def register_reader(read: Callable[[str], Any]) -> None:
    """Register the function that returns the backend with a given `text`; the backend's module calls this."""
    _readers.append(read)


@lru_cache(maxsize=256)
def from_text(text: str) -> Any:
    """Return the backend with this `text`."""
    (read,) = _readers
    return read(text)


def get_autocast_dtype(device_type: str) -> torch.dtype | None:
    """Return the dtype to which autocast casts products; None if it is off or not supported (meta device)."""
    if device_type == "meta" or not torch.is_autocast_enabled(device_type):
        return None
    return torch.get_autocast_dtype(device_type)


# -- implementations --------------------------------------------------------------------------------------


def _call_without_autocast(first: Tensor, map: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Call a map with autocast off, so that no operation changes the dtype of its operands."""
    if get_autocast_dtype(first.device.type) is None:
        return map(first, *arguments)
    with torch.autocast(first.device.type, enabled=False):
        return map(first, *arguments)


def _compute_output(input: Tensor, weight: Tensor, backend: str) -> Tensor:
    return _call_without_autocast(input, from_text(backend).output, weight)


def _compute_input_grad(grad: Tensor, weight: Tensor, backend: str, input_shape: Sequence[int]) -> Tensor:
    shape = (grad.shape[0], *input_shape[1:])
    return _call_without_autocast(grad, from_text(backend).input_grad, weight, shape)


def _compute_weight_grad(
    input: Tensor, grad: Tensor, backend: str, weight_shape: Sequence[int], weight: Tensor | None = None
) -> Tensor:
    return _call_without_autocast(input, from_text(backend).weight_grad, grad, weight_shape, weight)


for _name, _function in {
    "output": _compute_output,
    "input_grad": _compute_input_grad,
    "weight_grad": _compute_weight_grad,
}.items():
    _LIBRARY.impl(_name, _function, "CompositeExplicitAutograd")


# -- shapes -----------------------------------------------------------------------------------------------


def _make_empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Return an uninitialized tensor in the memory format of `like`."""
    if is_channels_last(like):
        return like.new_empty((shape[0], *shape[2:], shape[1])).movedim(-1, 1)
    return like.new_empty(tuple(shape))


def _fake_output(input: Tensor, weight: Tensor, backend: str) -> Tensor:
    layer = from_text(backend)
    return _make_empty(input, (input.shape[0], layer.out_channels(weight.shape), *layer.output_size))


def _fake_input_grad(grad: Tensor, weight: Tensor, backend: str, input_shape: Sequence[int]) -> Tensor:
    return _make_empty(grad, (grad.shape[0], *input_shape[1:]))


def _fake_weight_grad(input: Tensor, grad: Tensor, backend: str, weight_shape: Sequence[int]) -> Tensor:
    return input.new_empty(tuple(weight_shape))


for _name, _fake in {
    "output": _fake_output,
    "input_grad": _fake_input_grad,
    "weight_grad": _fake_weight_grad,
}.items():
    torch.library.register_fake(f"weightshare::{_name}", _fake, lib=_LIBRARY)


# -- derivatives and vmap ---------------------------------------------------------------------------------
# The rules are registered twice: as autograd functions for torch.func, and with the operators for
# torch.compile.


def _save_operands(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.arguments = inputs[2:]


def _compute_tangent(
    map: Callable[..., Tensor], ctx: Any, first: Tensor | None, second: Tensor | None, *_: object
) -> Tensor | None:
    """Return the forward-mode derivative of a bilinear map: map(first, b) + map(a, second)."""
    a, b = ctx.saved_tensors
    parts = [] if first is None else [map(first, b, *ctx.arguments)]
    parts += [] if second is None else [map(a, second, *ctx.arguments)]
    return sum(parts[1:], parts[0]) if parts else None


class _Map(torch.autograd.Function):
    """Base class of the three maps as autograd functions, whose derivatives call each other."""

    #: The implementation of the map.
    compute: ClassVar[Callable[..., Tensor]]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _save_operands(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2])


class Output(_Map):
    """The map `output`."""

    compute = staticmethod(_compute_output)

    @staticmethod
    def forward(input: Tensor, weight: Tensor, backend: str) -> Tensor:
        return _output(input, weight, backend)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (input, weight), (backend,) = grads, ctx.saved_tensors, ctx.arguments
        for_input, for_weight = ctx.needs_input_grad[:2]
        return (
            input_grad(grad, weight, backend, input.shape) if for_input else None,
            weight_grad(input, grad, backend, weight.shape, weight) if for_weight else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        return _compute_tangent(Output.apply, ctx, *tangents)

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *operands: Any) -> tuple[Tensor, int]:
        if in_dims[1] is not None:
            return _map_one_by_one(info.batch_size, in_dims, Output.apply, *operands)
        input, weight, backend = operands
        images = input.movedim(in_dims[0], 0)
        return Output.apply(images.flatten(0, 1), weight, backend).unflatten(0, images.shape[:2]), 0


class InputGrad(_Map):
    """The map `input_grad`."""

    compute = staticmethod(_compute_input_grad)

    @staticmethod
    def forward(grad: Tensor, weight: Tensor, backend: str, input_shape: Sequence[int]) -> Tensor:
        return _input_grad(grad, weight, backend, input_shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (direction,), (grad, weight), (backend, _) = grads, ctx.saved_tensors, ctx.arguments
        for_grad, for_weight = ctx.needs_input_grad[:2]
        return (
            output(direction, weight, backend) if for_grad else None,
            weight_grad(direction, grad, backend, weight.shape, weight) if for_weight else None,
            None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        return _compute_tangent(InputGrad.apply, ctx, *tangents)

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *operands: Any) -> tuple[Tensor, int]:
        if in_dims[1] is not None:
            return _map_one_by_one(info.batch_size, in_dims, InputGrad.apply, *operands)
        grad, weight, backend, input_shape = operands
        images = grad.movedim(in_dims[0], 0)
        shape = (images.shape[0] * images.shape[1], *input_shape[1:])
        result = InputGrad.apply(images.flatten(0, 1), weight, backend, shape)
        return result.unflatten(0, images.shape[:2]), 0


class WeightGrad(_Map):
    """The map `weight_grad`."""

    compute = staticmethod(_compute_weight_grad)

    @staticmethod
    def forward(input: Tensor, grad: Tensor, backend: str, weight_shape: Sequence[int]) -> Tensor:
        return _weight_grad(input, grad, backend, weight_shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (direction,), (input, grad), (backend, _) = grads, ctx.saved_tensors, ctx.arguments
        for_input, for_grad = ctx.needs_input_grad[:2]
        return (
            input_grad(grad, direction, backend, input.shape) if for_input else None,
            output(input, direction, backend) if for_grad else None,
            None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        return _compute_tangent(WeightGrad.apply, ctx, *tangents)

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *operands: Any) -> tuple[Tensor, int]:
        return _map_one_by_one(info.batch_size, in_dims, WeightGrad.apply, *operands)


class _Direct(torch.autograd.Function):
    """A map computed without operator dispatch, which takes longer than a small layer."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, *arguments: Any) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.rule, *ctx.arguments = arguments
        return ctx.rule.compute(first, second, *ctx.arguments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        for_first, for_second, *others = ctx.rule.backward(ctx, *grads)
        return for_first, for_second, None, *others


def _call(
    operator: Any, rule: type[_Map], first: Tensor, second: Tensor, *others: Any, **options: Any
) -> Tensor:
    """Compute a map, differentiably.

    Compilers, modes, tracers, profilers and subclasses of tensors see the operator. Operators support neither
    `torch.func` nor forward-mode differentiation; autograd functions support both. The options reach only
    the implementation.
    """
    if torch.compiler.is_compiling():
        return operator(first, second, *others)
    if is_functorch_active() or is_forward_mode_active():
        return rule.apply(first, second, *others)
    if is_watched() or not (is_plain(first) and is_plain(second)):
        return operator(first, second, *others)
    if torch.is_grad_enabled() and (first.requires_grad or second.requires_grad):
        return _Direct.apply(first, second, rule, *others)
    return rule.compute(first, second, *others, **options)


def output(input: Tensor, weight: Tensor, backend: str) -> Tensor:
    """Compute [N, out, *output_size] from [N, in, *size] and the weight; differentiable to any order."""
    return _call(_output, Output, input, weight, backend)


def input_grad(grad: Tensor, weight: Tensor, backend: str, input_shape: Sequence[int]) -> Tensor:
    """Compute [N, in, *size] from [N, out, *output_size] and the weight; differentiable to any order."""
    return _call(_input_grad, InputGrad, grad, weight, backend, input_shape)


def weight_grad(
    input: Tensor, grad: Tensor, backend: str, weight_shape: Sequence[int], weight: Tensor | None = None
) -> Tensor:
    """Compute a weight from [N, in, *size] and [N, out, *output_size]; differentiable to any order.

    If the result is the gradient of a weight that is given, it may be in the memory of its earlier gradients.
    """
    return _call(_weight_grad, WeightGrad, input, grad, backend, weight_shape, weight=weight)


def _map_one_by_one(
    size: int,
    in_dims: Sequence[int | None],
    map: Callable[..., Tensor],
    first: Tensor,
    second: Tensor,
    *others: Any,
) -> tuple[Tensor, int]:
    """Call a map once for each index of the vmapped axis, which is always correct."""

    def select(index: int, operand: Tensor, dim: int | None) -> Tensor:
        return operand if dim is None else operand.select(dim, index)

    pairs = [(select(i, first, in_dims[0]), select(i, second, in_dims[1])) for i in range(size)]
    return torch.stack([map(*pair, *others) for pair in pairs]), 0


for _name, _map in {"output": Output, "input_grad": InputGrad, "weight_grad": WeightGrad}.items():
    torch.library.register_autograd(
        f"weightshare::{_name}", _map.backward, setup_context=_save_operands, lib=_LIBRARY
    )
    torch.library.register_vmap(f"weightshare::{_name}", _map.vmap, lib=_LIBRARY)


# -- FLOP counts ------------------------------------------------------------------------------------------


@register_flop_formula([torch.ops.weightshare.output, torch.ops.weightshare.input_grad])
def _count_flops(
    first_shape: Sequence[int], weight_shape: Sequence[int], backend: str, *_: object, **__: object
) -> int:
    return 2 * from_text(backend).count_macs(first_shape[0], weight_shape)


@register_flop_formula(torch.ops.weightshare.weight_grad)
def _count_weight_grad_flops(
    input_shape: Sequence[int],
    grad_shape: Sequence[int],
    backend: str,
    weight_shape: Sequence[int],
    *_: object,
    **__: object,
) -> int:
    return 2 * from_text(backend).count_macs(input_shape[0], weight_shape)
