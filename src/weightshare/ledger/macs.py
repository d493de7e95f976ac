"""Multiply-accumulates (MACs) of each operator that sums products, counted from the operator's arguments.

Most formulas are those of `torch.utils.flop_counter`. It counts two operations per MAC, so its results are
halved. The formulas that it lacks are in this file.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import ScriptObject, Tensor
from torch.utils.flop_counter import flop_registry

from .._torch import OpOverload

aten = torch.ops.aten
_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc, torch.jagged)


def count_macs(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> int | None:
    """Return the MACs of one operator call, or None if there is no formula for the operator."""
    packet = func.overloadpacket
    if packet in _FORMULAS:
        return _FORMULAS[packet](args, output)
    if packet in flop_registry:
        return flop_registry[packet](*args, **kwargs, out_val=output) // 2
    return _count_quantized(args, output) if func.namespace == "quantized" else None


def can_sum_products(func: OpOverload) -> bool:
    """Return whether an operator that was not counted may sum products.

    This is true for the torch operators in `_SUM_PRODUCTS`, those whose formula does not support strided
    nested tensors, quantized operators with packed weights and every custom operator.
    """
    if func.namespace == "aten":
        packet = func.overloadpacket
        return packet in _FORMULAS or packet in flop_registry or packet.__name__ in _SUM_PRODUCTS
    if func.namespace == "quantized":
        return "torch.classes" in str(func._schema)
    return func.namespace not in _NO_PRODUCTS


def find_packed_convolution(args: Sequence[Any]) -> Any:
    """Return the packed kernel and bias of a quantized convolution; None for any other operator."""
    return next(iter(_list_packed(args, "Conv")), None)


def _list_packed(args: Sequence[Any], kind: str) -> list[Any]:
    packed = [arg for arg in args if isinstance(arg, ScriptObject)]
    return [arg for arg in packed if f".quantized.{kind}" in str(arg._type())]


def _count_quantized(args: Sequence[Any], output: Any) -> int | None:
    """Count a quantized linear layer, recurrent cell or convolution by its packed weights."""
    if weights := [packed.unpack()[0] for packed in _list_packed(args, "Linear")]:
        rows = args[0].numel() // weights[0].shape[1]
        return rows * sum(weight.numel() for weight in weights)
    if (packed := find_packed_convolution(args)) is not None:
        weight, _ = packed.unpack()
        return (args[0] if packed.transpose() else output).numel() * prod(weight.shape[1:])
    return None


def _count_stored(tensor: Tensor) -> int:
    """Return the number of elements that a tensor stores, without the implicit zeros of a sparse tensor."""
    if tensor.layout == torch.sparse_coo:
        return tensor._values().numel()
    return tensor.values().numel() if tensor.layout in _COMPRESSED else tensor.numel()


def _matmul(args: Sequence[Any], output: Any) -> int:
    """Count a product of matrices or batches: each element of one is multiplied by a row of the other."""
    first, second = args[:2]
    if second.layout == torch.strided:
        return _count_stored(first) * output.shape[-1]
    return prod(first.shape[:-1]) * _count_stored(second)


def _matmul_and_sum(args: Sequence[Any], output: Any) -> int:
    """Count a product that is added to the first argument."""
    return _matmul(args[1:], output)


def _product_with_packed(args: Sequence[Any], output: Any) -> int:
    """Count a product with a matrix that is stored in another layout."""
    return args[0].numel() * output.shape[-1]


def _grouped_matmul(args: Sequence[Any], output: Any) -> int:
    """Count a product in which each group of rows or columns, such as an expert's tokens, has its own matrix.

    If both operands are matrices, the groups divide the summed axis, and each has its own output matrix.
    """
    first, second = args[:2]
    groups = output.shape[0] if first.dim() == second.dim() == 2 else 1
    return output.numel() * first.shape[-1] // groups


def _list_matmul(args: Sequence[Any], output: Any) -> int:
    return sum(first.numel() * product.shape[-1] for first, product in zip(args[0], output))


def _convolution(args: Sequence[Any], output: Any) -> int:
    """Count a convolution: each output element sums one kernel."""
    return output.numel() * prod(args[1].shape[1:])


def _convolution_transpose(args: Sequence[Any], output: Any) -> int:
    """Count a transposed convolution: each input element is multiplied by one kernel."""
    return args[0].numel() * prod(args[1].shape[1:])


def _conv_tbc(args: Sequence[Any], output: Any) -> int:
    """Count a convolution with a kernel [taps, in, out]."""
    return output.numel() * prod(args[1].shape[:2])


def _rnn(args: Sequence[Any], output: Any) -> int:
    """Count all layers and directions: each step multiplies by every matrix."""
    input, weights = args[:2]
    return prod(input.shape[:-1]) * sum(weight.numel() for weight in weights if weight.dim() == 2)


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
    aten._trilinear: _trilinear,
    aten.conv_tbc: _conv_tbc,
    aten.mv: lambda args, output: _count_stored(args[0]),
    aten.addmv: lambda args, output: _count_stored(args[1]),
    aten.dot: lambda args, output: args[0].numel(),
    aten.vdot: lambda args, output: args[0].numel(),
    aten.addr: lambda args, output: output.numel(),
    **{
        getattr(aten, name): formula
        for formula, names in {
            _matmul: "_int_mm _scaled_mm_v2 bmm mm",
            _product_with_packed: (
                "_mixed_dtypes_linear _weight_int4pack_mm _weight_int4pack_mm_for_cpu "
                "_weight_int4pack_mm_with_scales_and_zeros _weight_int8pack_mm _dyn_quant_matmul_4bit "
                "mkldnn_linear"
            ),
            _matmul_and_sum: "_addmm_activation _sparse_addmm addbmm addmm",
            _grouped_matmul: "_grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2",
            _list_matmul: "_foreach_mm",
            _convolution: (
                "_conv_depthwise2d _mps_convolution _nnpack_spatial_convolution conv_depthwise3d "
                "cudnn_convolution cudnn_convolution_add_relu cudnn_convolution_relu miopen_convolution "
                "miopen_convolution_add_relu miopen_convolution_relu miopen_depthwise_convolution "
                "mkldnn_convolution slow_conv3d_forward slow_conv_dilated2d slow_conv_dilated3d"
            ),
            _convolution_transpose: (
                "_mps_convolution_transpose cudnn_convolution_transpose miopen_convolution_transpose "
                "slow_conv_transpose2d slow_conv_transpose3d"
            ),
            _rnn: "_cudnn_rnn miopen_rnn",
            _attention: (
                "_scaled_dot_product_attention_math_for_mps _scaled_dot_product_flash_attention_for_cpu "
                "_scaled_dot_product_fused_attention_overrideable"
            ),
        }.items()
        for name in names.split()
        if hasattr(aten, name)  # not every release of torch has all of them
    },
}

#: Namespaces of operators that never sum products; those of `c10d` and `fsdp` communicate.
_NO_PRODUCTS = ("_c10d_functional", "c10d", "fsdp", "prim", "prims", "profiler")
#: Torch operators that sum products and have no formula.
_SUM_PRODUCTS = {
    *("_cdist_forward", "_cslt_sparse_mm", "_cudnn_attention_forward", "_fft_c2c", "_fft_c2r", "_fft_r2c"),
    *("_flash_attention_forward_no_dropout_inplace", "_linalg_det", "_linalg_eigh", "_linalg_slogdet"),
    *("_linalg_solve_ex", "_linalg_svd", "_lstm_mps", "_native_multi_head_attention", "_pdist_forward"),
    *("_euclidean_dist", "_sparse_mm", "_sparse_mm_reduce_impl", "_sparse_semi_structured_addmm"),
    *("_sparse_semi_structured_linear", "_sparse_semi_structured_mm", "_sparse_sparse_matmul"),
    *("_transformer_encoder_layer_fwd", "_triton_multi_head_attention", "_triton_scaled_dot_attention"),
    *("cholesky", "cholesky_inverse", "cholesky_solve", "grid_sampler_2d", "grid_sampler_3d", "hspmm"),
    *("linalg_cholesky_ex", "linalg_eig", "linalg_householder_product", "linalg_inv_ex", "linalg_ldl_solve"),
    *("linalg_lstsq", "linalg_lu", "linalg_lu_factor_ex", "linalg_lu_solve", "linalg_matrix_exp"),
    *("linalg_qr", "linalg_solve_triangular", "linear", "matmul", "ormqr", "quantized_gru"),
    *("quantized_lstm", "sparse_sampled_addmm", "triangular_solve"),
}
