"""Product with a matrix given by its connections, computed in blocks to limit memory."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

#: Maximum size in bytes of the terms of a block of connections.
BLOCK_BYTES = 2**26


def multiply_sparse(input: Tensor, values: Tensor, inputs: Tensor, outputs: Tensor, n_out: int) -> Tensor:
    """Map [N, n_in] to [N, n_out].

    Connection c adds `values[c]` times input `inputs[c]` to output `outputs[c]`.
    """
    if torch.compiler.is_compiling():  # one block, which the compiler fuses
        return _multiply(input, values, inputs, outputs, n_out)
    return _Product.apply(input, values, inputs, outputs, n_out)


def _multiply(input: Tensor, values: Tensor, inputs: Tensor, outputs: Tensor, n_out: int) -> Tensor:
    terms = input.index_select(1, inputs) * values
    return terms.new_zeros(input.shape[0], n_out).index_add(1, outputs, terms)


def _split_blocks(input: Tensor, *tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    size = max(1, BLOCK_BYTES // max(1, len(input) * input.element_size()))
    return zip(*(table.split(size) for table in tables))


class _Product(torch.autograd.Function):
    """The product. It is bilinear, so its derivatives are again `_Product` and `_Values`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, values: Tensor, inputs: Tensor, outputs: Tensor, n_out: int) -> Tensor:
        blocks = _split_blocks(input, values, inputs, outputs)
        parts = (_multiply(input, v, i, o, n_out) for v, i, o in blocks)
        result = next(parts)
        for part in parts:
            result = result + part
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:4])
        ctx.save_for_forward(*inputs[:4])
        ctx.n_out = inputs[4]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (input, values, inputs, outputs) = grads, ctx.saved_tensors
        input_grad = values_grad = None
        if ctx.needs_input_grad[0]:
            input_grad = _Product.apply(grad, values, outputs, inputs, input.shape[1])
        if ctx.needs_input_grad[1]:
            values_grad = _Values.apply(input, grad, inputs, outputs)
        return input_grad, values_grad, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        (input_t, values_t, *_), (input, values, inputs, outputs) = tangents, ctx.saved_tensors
        return _add(
            None if input_t is None else _Product.apply(input_t, values, inputs, outputs, ctx.n_out),
            None if values_t is None else _Product.apply(input, values_t, inputs, outputs, ctx.n_out),
        )


class _Values(torch.autograd.Function):
    """The gradient with respect to the values: per connection, its input times the gradient of its output."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, grad: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
        parts = [
            (input.index_select(1, i) * grad.index_select(1, o)).sum(0)
            for i, o in _split_blocks(input, inputs, outputs)
        ]
        return torch.cat(parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (direction,), (input, grad, inputs, outputs) = grads, ctx.saved_tensors
        return (
            _Product.apply(grad, direction, outputs, inputs, input.shape[1]),
            _Product.apply(input, direction, inputs, outputs, grad.shape[1]),
            None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        (input_t, grad_t, *_), (input, grad, inputs, outputs) = tangents, ctx.saved_tensors
        return _add(
            None if input_t is None else _Values.apply(input_t, grad, inputs, outputs),
            None if grad_t is None else _Values.apply(input, grad_t, inputs, outputs),
        )


def _add(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other
