"""The product with a matrix that is given by its connections, in blocks, so that memory stays bounded."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK_BYTES = 2**26  # of the terms that are held at once: as many connections as fit it


def sparse_product(input: Tensor, values: Tensor, inputs: Tensor, outputs: Tensor, n_out: int) -> Tensor:
    """[N, n_in] -> [N, n_out]: connection c adds `values[c]` times input `inputs[c]` to output `outputs[c]`.

    In one block where a compiler looks on, which fuses it.
    """
    if torch.compiler.is_compiling():
        return _product(input, values, inputs, outputs, n_out)
    return _Product.apply(input, values, inputs, outputs, n_out)  # type: ignore[no-untyped-call]


def _product(input: Tensor, values: Tensor, inputs: Tensor, outputs: Tensor, n_out: int) -> Tensor:
    terms = input.index_select(1, inputs) * values
    return terms.new_zeros(input.shape[0], n_out).index_add(1, outputs, terms)


def _blocks(input: Tensor, *tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    size = max(1, BLOCK_BYTES // max(1, len(input) * input.element_size()))
    return zip(*(table.split(size) for table in tables))


class _Product(torch.autograd.Function):
    """The product; like its derivatives it is linear in each argument, so they are each other's."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, values: Tensor, inputs: Tensor, outputs: Tensor, n_out: int) -> Tensor:
        parts = (_product(input, v, i, o, n_out) for v, i, o in _blocks(input, values, inputs, outputs))
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
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        input, values, inputs, outputs = ctx.saved_tensors
        of_input = of_values = None
        if ctx.needs_input_grad[0]:
            of_input = _Product.apply(grad, values, outputs, inputs, input.shape[1])
        if ctx.needs_input_grad[1]:
            of_values = _Values.apply(input, grad, inputs, outputs)
        return of_input, of_values, None, None, None

    @staticmethod
    def jvp(ctx: Any, input_t: Any, values_t: Any, *_: Any) -> Any:  # type: ignore[override]
        input, values, inputs, outputs = ctx.saved_tensors
        return _sum(
            None if input_t is None else _Product.apply(input_t, values, inputs, outputs, ctx.n_out),
            None if values_t is None else _Product.apply(input, values_t, inputs, outputs, ctx.n_out),
        )


class _Values(torch.autograd.Function):
    """The gradient of the product in its values: of a connection, its input times its output's gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, grad: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
        parts = [
            (input.index_select(1, i) * grad.index_select(1, o)).sum(0)
            for i, o in _blocks(input, inputs, outputs)
        ]
        return torch.cat(parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, of_values: Tensor) -> Any:  # type: ignore[override]
        input, grad, inputs, outputs = ctx.saved_tensors
        return (
            _Product.apply(grad, of_values, outputs, inputs, input.shape[1]),
            _Product.apply(input, of_values, inputs, outputs, grad.shape[1]),
            None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, input_t: Any, grad_t: Any, *_: Any) -> Any:  # type: ignore[override]
        input, grad, inputs, outputs = ctx.saved_tensors
        return _sum(
            None if input_t is None else _Values.apply(input_t, grad, inputs, outputs),
            None if grad_t is None else _Values.apply(input, grad_t, inputs, outputs),
        )


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other
