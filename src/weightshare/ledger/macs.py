"""Multiply-accumulates (MACs) of each operator that sums products, counted from the operator's arguments.

Most formulas are those of `torch.utils.flop_counter`. It counts two operations per MAC, so its results are
halved. The formulas that it lacks are in this file.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from .._torch import OpOverload

aten = torch.ops.aten


def count_macs(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> int | None:
    """Return the MACs of one operator call, or None if there is no formula for the operator."""
    packet = func.overloadpacket
    if packet in _FORMULAS:
        return _FORMULAS[packet](args, output)
    if packet in flop_registry:
        return flop_registry[packet](*args, **kwargs, out_val=output) // 2
    return None


def can_sum_products(func: OpOverload) -> bool:
    """Return whether an operator that was not counted may sum products.

    This is true for the torch operators in `_SUM_PRODUCTS`, for those whose formula does not support strided
    nested tensors, and for every custom operator.
    """
    if func.namespace == "aten":
        packet = func.overloadpacket
        return packet in _FORMULAS or packet in flop_registry or packet.__name__ in _SUM_PRODUCTS
    return func.namespace not in _NO_PRODUCTS


def _lstm_layer(args: Sequence[Any], output: Any) -> int:
    """Count one direction of one oneDNN layer: each step multiplies by both weights."""
    input, weight_input, weight_hidden = args[:3]
    return prod(input.shape[:-1]) * (weight_input.numel() + weight_hidden.numel())


def _trilinear(args: Sequence[Any], output: Any) -> int:
    """Count `torch.nn.functional.bilinear`: each output sums products over both inputs."""
    weight, rows = args[1], output.shape[:-1]
    return prod(rows) * weight.numel()


def _attention(args: Sequence[Any], output: Any) -> int:
    """Count queries times keys, and attention weights times values."""
    query, key, value = args[:3]
    return prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


_FORMULAS: dict[Any, Callable[[Sequence[Any], Any], int]] = {
    aten.mkldnn_rnn_layer: _lstm_layer,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._trilinear: _trilinear,
    aten.mv: lambda args, output: args[0].numel(),
    aten.addmv: lambda args, output: args[1].numel(),
    aten.dot: lambda args, output: args[0].numel(),
    aten.vdot: lambda args, output: args[0].numel(),
    aten.addr: lambda args, output: output.numel(),
}

#: Namespaces of operators that never sum products; those of `c10d` and `fsdp` communicate.
_NO_PRODUCTS = ("_c10d_functional", "c10d", "fsdp", "prim", "prims", "profiler")
#: Torch operators that sum products and have no formula.
_SUM_PRODUCTS = {
    *("_addmm_activation", "_cdist_forward", "_cudnn_rnn", "_fft_c2c", "_fft_c2r", "_fft_r2c"),
    *("_grouped_mm", "_int_mm", "_linalg_det", "_linalg_eigh", "_linalg_slogdet", "_linalg_solve_ex"),
    *("_linalg_svd", "_native_multi_head_attention", "_pdist_forward", "_sparse_addmm", "_sparse_mm"),
    *("_thnn_fused_gru_cell", "_thnn_fused_lstm_cell", "_transformer_encoder_layer_fwd"),
    *("_weight_int4pack_mm", "_weight_int8pack_mm", "addbmm", "cholesky", "cholesky_inverse"),
    *("cholesky_solve", "grid_sampler_2d", "grid_sampler_3d", "linalg_cholesky_ex", "linalg_eig"),
    *("linalg_householder_product", "linalg_inv_ex", "linalg_ldl_solve", "linalg_lstsq", "linalg_lu"),
    *("linalg_lu_factor_ex", "linalg_lu_solve", "linalg_matrix_exp", "linalg_qr"),
    *("linalg_solve_triangular", "linear", "matmul", "mkldnn_convolution", "mkldnn_linear", "ormqr"),
    *("quantized_gru", "quantized_lstm", "triangular_solve"),
}
