"""The one table that assigns a kind and a rule to the operations of a model.

An operation is looked up by the full name of its function or method, or by the class name of its module. An
operation that is not in the table is `Kind.UNKNOWN`. Names with a dot are overloads that exported programs
call.
"""

from collections.abc import Iterable

from ..layout import Layout
from .elementwise import keep_layout
from .indexing import concatenate, get_item, index_select, narrow, select, set_item, sort, split, stack
from .operation import Case, Kind, Operation, Rule
from .product import apply_linear, apply_shared_linear, attend, multiply_matrices
from .shape import add_classes, flip, permute, reduce, repeat_each, reshape, shuffle
from .window import fold, pad, recur, resize, slide, unfold, unpool


def find_operation(op: str) -> Operation:
    """Return the entry of an operation.

    >>> find_operation("conv2d").kind.name, find_operation("MyLayer").kind.name
    ('CONVOLUTION', 'UNKNOWN')
    """
    return TABLE.get(op, _UNKNOWN)


def _leave_unknown(case: Case) -> Layout | None:
    """Return None: the layout is measured."""
    return None


def _list_by_axes(kind: Kind, rule: Rule, names: str, arguments: str = "") -> dict[str, Operation]:
    """Return an entry for each name with 1, 2 and 3 in place of `{}`."""
    return {
        name.format(axes): Operation(kind, rule, tuple(arguments.split()), axes)
        for name in names.split()
        for axes in (1, 2, 3)
    }


def _list_names(
    kind: Kind, rule: Rule, names: str | Iterable[str], arguments: str = ""
) -> dict[str, Operation]:
    """Return an entry for each name."""
    names = names.split() if isinstance(names, str) else names
    return dict.fromkeys(names, Operation(kind, rule, tuple(arguments.split())))


def _add_in_place(names: str) -> list[str]:
    """Return the names, each followed by the name of its in-place variant."""
    return [variant for name in names.split() for variant in (name, f"{name}_")]


_CONVOLUTION = "input weight bias stride padding dilation groups"
_TRANSPOSED = "input weight bias stride padding output_padding groups dilation"
_ANY_CONVOLUTION = "input weight bias stride padding dilation transposed output_padding groups"
_MAX_POOL = "input kernel_size stride padding dilation ceil_mode return_indices"
_AVERAGE_POOL = "input kernel_size stride padding ceil_mode count_include_pad divisor_override"
_UNPOOL = "input indices kernel_size stride padding output_size"
_LP_POOL = "input norm_type kernel_size stride ceil_mode"

_ACTIVATION_MODULES = """
    CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish PReLU RReLU ReLU ReLU6
    SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink Threshold
"""
_ACTIVATIONS = """
    celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish prelu rrelu relu relu6
    selu silu sigmoid softplus softshrink softsign tanh tanhshrink threshold
"""
_DROPOUTS = """
    Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
"""
_ARITHMETIC = (
    "abs neg exp log sqrt rsqrt square reciprocal pow sin cos clamp sign floor ceil round erf logical_not"
)
_COPIES = "Identity clone contiguous detach to type double half bfloat16"
_COMPARISONS = "eq ne lt le gt ge logical_and logical_or isfinite isnan"
_JOINS = "add sub mul div subtract multiply divide true_divide"
_NORMALIZATIONS = """
    BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d
    LayerNorm GroupNorm RMSNorm LocalResponseNorm CrossMapLRN2d Softmax Softmax2d Softmin LogSoftmax
    batch_norm instance_norm layer_norm group_norm rms_norm local_response_norm normalize
    softmax softmin log_softmax
"""
_RESHAPES = """
    Flatten Unflatten flatten ravel reshape reshape_as squeeze unflatten unsqueeze view view_as
"""
_PERMUTATIONS = "permute transpose movedim moveaxis swapaxes swapdims T mT t H mH adjoint"
_UPSAMPLINGS = """
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
    upsample_bicubic2d upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
"""
_FOURIER = """
    fft ifft fft2 ifft2 fftn ifftn rfft irfft rfft2 irfft2 rfftn irfftn hfft ihfft fftshift ifftshift
    hfft2 ihfft2 hfftn ihfftn
"""
_LINEAR_ALGEBRA = """
    cholesky cholesky_ex cond cross det eig eigh eigvals eigvalsh householder_product inv inv_ex
    ldl_factor ldl_factor_ex ldl_solve lstsq lu lu_factor lu_factor_ex lu_solve matmul matrix_exp matrix_norm
    matrix_power matrix_rank multi_dot norm pinv qr slogdet solve solve_ex solve_triangular svd svdvals
    tensorinv tensorsolve vander vecdot vector_norm
"""
_MEASURED = """
    Embedding EmbeddingBag ChannelShuffle GLU
    embedding embedding_bag channel_shuffle native_channel_shuffle glu
    einsum tensordot argsort gather repeat tile index_put_ scatter masked_select
    stft norm quantile as_strided diag diagonal copy_ expand expand_as broadcast_to
"""
_REDUCTIONS = """
    mean sum amax amin logsumexp std var max min prod median nanmean nansum all any count_nonzero argmax
    argmin std_mean var_mean aminmax mode
"""

TABLE: dict[str, Operation] = {
    **_list_by_axes(
        Kind.CONVOLUTION,
        slide,
        "Conv{}d LocallyConnected{}d conv{}d conv{}d.padding",
        _CONVOLUTION,
    ),
    **_list_names(Kind.CONVOLUTION, slide, "convolution", _ANY_CONVOLUTION),
    **_list_by_axes(
        Kind.TRANSPOSED_CONVOLUTION,
        slide,
        "ConvTranspose{}d TiedConvTranspose{}d conv_transpose{}d",
        _TRANSPOSED,
    ),
    **_list_by_axes(Kind.MAX_POOL, slide, "MaxPool{}d max_pool{}d max_pool{}d_with_indices", _MAX_POOL),
    **_list_by_axes(Kind.AVERAGE_POOL, slide, "AvgPool{}d avg_pool{}d", _AVERAGE_POOL),
    **_list_by_axes(Kind.POOL, slide, "LPPool{}d lp_pool{}d", _LP_POOL),
    **_list_by_axes(Kind.POOL, slide, "BlurPool{}d"),
    **_list_by_axes(
        Kind.POOL,
        resize,
        "FractionalMaxPool{}d fractional_max_pool{}d fractional_max_pool{}d_with_indices",
    ),
    **_list_by_axes(Kind.POOL, unpool, "max_unpool{}d MaxUnpool{}d", _UNPOOL),
    **_list_by_axes(
        Kind.POOL,
        resize,
        "AdaptiveAvgPool{}d AdaptiveMaxPool{}d adaptive_avg_pool{}d _adaptive_avg_pool{}d "
        "adaptive_max_pool{}d adaptive_max_pool{}d_with_indices",
    ),
    **_list_by_axes(Kind.PAD, pad, "CircularPad{}d"),
    **_list_names(Kind.PAD, pad, "pad"),
    **_list_by_axes(Kind.PAD, pad, "ZeroPad{}d ConstantPad{}d ReflectionPad{}d ReplicationPad{}d"),
    **_list_by_axes(Kind.PAD, pad, "reflection_pad{}d replication_pad{}d"),
    **_list_names(Kind.PAD, pad, "constant_pad_nd"),
    **_list_names(Kind.WINDOWS, unfold, "Unfold unfold", "input kernel_size dilation padding stride"),
    **_list_names(Kind.WINDOWS, fold, "Fold fold", "input output_size kernel_size dilation padding stride"),
    **_list_names(Kind.RECURRENT, recur, "RNN LSTM GRU lstm gru rnn_tanh rnn_relu"),
    **_list_names(Kind.SCAN, keep_layout, "cumsum cumprod cummax cummin logcumsumexp roll tril triu"),
    **_list_names(Kind.FLIP, flip, "flip fliplr flipud"),
    **_list_names(
        Kind.RESIZE,
        resize,
        "Upsample UpsamplingNearest2d UpsamplingBilinear2d interpolate",
        "input size scale_factor mode align_corners recompute_scale_factor",
    ),
    **_list_names(Kind.RESIZE, resize, _UPSAMPLINGS),
    **_list_names(Kind.RESIZE, resize, [f"{name}.vec" for name in _UPSAMPLINGS.split()]),
    **_list_names(Kind.LINEAR, apply_linear, "Linear NonDynamicallyQuantizableLinear TiedLinear linear"),
    **_list_names(Kind.LINEAR, apply_shared_linear, "SharedLinear"),
    **_list_names(Kind.LINEAR, keep_layout, "Bilinear bilinear"),
    **_list_names(Kind.MATRIX_PRODUCT, multiply_matrices, "matmul rmatmul bmm"),
    **_list_names(
        Kind.ATTENTION,
        attend,
        "MultiheadAttention multi_head_attention_forward scaled_dot_product_attention",
    ),
    **_list_names(Kind.RESHAPE, reshape, _RESHAPES),
    **_list_names(Kind.RESIZE, shuffle, "PixelShuffle PixelUnshuffle pixel_shuffle pixel_unshuffle"),
    **_list_names(Kind.RESHAPE, add_classes, "one_hot"),
    **_list_names(Kind.RESIZE, repeat_each, "repeat_interleave"),
    **_list_names(Kind.PERMUTE, permute, _PERMUTATIONS),
    **_list_names(Kind.REDUCE, reduce, _REDUCTIONS, "input dim"),
    **_list_names(Kind.INDEX, get_item, "getitem"),
    **_list_names(Kind.INDEX, set_item, "setitem"),
    **_list_names(Kind.INDEX, select, "select unbind"),
    **_list_names(Kind.INDEX, narrow, "narrow"),
    **_list_names(Kind.INDEX, index_select, "index_select"),
    **_list_names(Kind.MEASURED, sort, "sort topk"),
    **_list_names(Kind.INDEX, split, "chunk split tensor_split"),
    **_list_names(Kind.JOIN, concatenate, "cat concat concatenate"),
    **_list_names(Kind.JOIN, stack, "stack"),
    **_list_names(Kind.JOIN, keep_layout, _add_in_place(_JOINS)),
    **_list_names(
        Kind.JOIN, keep_layout, "radd rsub rmul truediv where maximum minimum masked_fill masked_fill_"
    ),
    **_list_names(Kind.ELEMENTWISE, keep_layout, _ACTIVATION_MODULES),
    **_list_names(Kind.ELEMENTWISE, keep_layout, _add_in_place(_ACTIVATIONS)),
    **_list_names(Kind.ELEMENTWISE, keep_layout, _add_in_place(_ARITHMETIC)),
    **_list_names(Kind.ELEMENTWISE, keep_layout, _DROPOUTS),
    **_list_names(Kind.ELEMENTWISE, keep_layout, _COPIES),
    **_list_names(Kind.ELEMENTWISE, keep_layout, _COMPARISONS),
    **_list_names(Kind.NORMALIZATION, keep_layout, _NORMALIZATIONS),
    **_list_names(Kind.MEASURED, _leave_unknown, _MEASURED),
    **_list_names(Kind.MEASURED, _leave_unknown, [f"fft_{name}" for name in _FOURIER.split()]),
    **_list_names(Kind.MEASURED, _leave_unknown, [f"linalg_{name}" for name in _LINEAR_ALGEBRA.split()]),
}

_UNKNOWN = Operation(Kind.UNKNOWN, _leave_unknown)
