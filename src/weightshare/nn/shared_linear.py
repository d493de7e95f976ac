"""A linear layer whose connections share weights according to any pattern."""

import hashlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from ..backends.checks import check_operands
from ..backends.operators import get_autocast_dtype
from ..backends.portable import widen_dtype
from ..errors import ArgumentError, ShapeError
from ..pattern import Pattern
from ..sharing import Full
from .checks import wrong_shape
from .digest import matches, pack, unpack
from .fx import Call, record_call
from .sparse_product import multiply_sparse

_TABLES = ("_weight_ids", "_inputs", "_outputs", "_bias_ids")
#: Density of connections from which the layer multiplies by a dense matrix.
_DENSE = 1 / 32


class SharedLinear(torch.nn.Module):
    """A linear layer with one weight per weight id of a `Pattern`.

        a b b        all connections a use one weight,
        b a b        all connections b use another
        b b a

    With the pattern of `torch.nn.Linear`, in which each connection has its own weight, it is that layer.
    With a pattern from symmetries, it is equivariant for all values of its weights.

    Args:
        pattern: Pattern of the connections, with at least one connection.
        bias: Whether to add the biases of the pattern, if it has any.
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Weights and biases are initialized like those of `torch.nn.Linear`: uniformly between -1 / sqrt(fan_in)
    and 1 / sqrt(fan_in), where fan_in is the mean number of connections of the outputs that use the weight or
    bias.

    Shape:
        Input [*, n_in], output [*, n_out]. Flatten channels and positions with `flatten(1)`: channels are
        part of the pattern, and `generators.with_channels` keeps each channel in place.

    Parameters:
        weight: [n_weights].
        bias: [n_biases].

    Raises:
        ArgumentError: If `pattern` is not a `Pattern`, or has no connections. In `forward`, if the input is
            not a tensor.
        ShapeError: In `forward`, if the input has the wrong size, dtype or device.

    Example:
        >>> from weightshare.pattern import generators
        >>> points = generators.permutations(5)
        >>> layer = SharedLinear(Pattern.from_symmetry(points, points))
        >>> layer(torch.zeros(3, 5)).shape, sum(p.numel() for p in layer.parameters())
        (torch.Size([3, 5]), 3)

    Source: Ravanbakhsh, Schneider and Poczos, "Equivariance Through Parameter-Sharing", ICML 2017; for sets,
    Zaheer et al., "Deep Sets", NeurIPS 2017, section 2.2.
    """

    in_features: int
    out_features: int
    weight: Parameter
    bias: Parameter | None
    pattern_digest: Tensor
    _weight_ids: Tensor
    _inputs: Tensor
    _outputs: Tensor
    _bias_ids: Tensor

    def __init__(
        self,
        pattern: Pattern,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if not isinstance(pattern, Pattern) or not len(pattern.edges):
            got = repr(pattern) if isinstance(pattern, Pattern) else type(pattern).__name__
            expected = "pattern must be a Pattern with at least one connection"
            raise ArgumentError("SharedLinear", expected, got, "use Pattern.from_symmetry or Pattern.of")
        self.pattern = pattern
        self.in_features, self.out_features = pattern.n_in, pattern.n_out
        self.weight = Parameter(torch.empty(pattern.n_weights, device=device, dtype=dtype))
        self.bias = None
        if bias and pattern.bias is not None:
            self.bias = Parameter(torch.empty(pattern.n_biases, device=device, dtype=dtype))
        self._shapes = (torch.Size([pattern.n_weights]), torch.Size([pattern.n_biases]))
        self._build_tables(device)
        digest = torch.empty(len(pack(self._digest)), dtype=torch.int64, device=device)
        self.register_buffer("pattern_digest", digest)
        self.reset_parameters()

    def _build_tables(self, device: torch.device | str | None) -> None:
        """Build the index tables of `forward`. They are not saved: the pattern determines them."""
        pattern = self.pattern
        output, input_, weight = pattern.edges.T
        pairs = output * pattern.n_in + input_
        is_unique = bool((np.diff(pairs) > 0).all())  # each pair has at most one connection
        self._is_dense = is_unique and len(pairs) >= _DENSE * pattern.n_in * pattern.n_out
        tables: dict[str, Any] = {"_weight_ids": weight}
        if self._is_dense:  # the id n_weights, an additional weight of zero, for pairs without a connection
            ids = np.full(pattern.n_out * pattern.n_in, pattern.n_weights)
            ids[pairs] = weight
            tables = {"_weight_ids": ids}
        else:
            tables |= {"_inputs": input_, "_outputs": output}
        if self.bias is not None:
            tables["_bias_ids"] = pattern.bias
        for name, table in tables.items():
            self.register_buffer(name, torch.tensor(table, device=device), persistent=False)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Reinitialize weights and biases."""
        pattern, weight = self.pattern, self.weight
        bound = torch.from_numpy(pattern.fan_in).rsqrt().to(weight)
        weight.uniform_(-1, 1).mul_(bound)
        if self.bias is not None and pattern.bias is not None:
            fan_in = np.bincount(pattern.edges[:, 0], minlength=pattern.n_out)
            uses = np.bincount(pattern.bias, minlength=pattern.n_biases).clip(min=1)
            mean = np.bincount(pattern.bias, fan_in, pattern.n_biases) / uses
            self.bias.uniform_(-1, 1).mul_(torch.from_numpy(mean).clamp(min=1).rsqrt().to(self.bias))
        self.pattern_digest.copy_(torch.tensor(pack(self._digest)))

    def forward(self, input: Tensor) -> Tensor:
        """Map [*, n_in] to [*, n_out]."""
        if not isinstance(input, Tensor):
            return record_call(self, (input,), self._as_function)
        self._check(input)
        function, args, _ = self._as_function(None, input)
        return function(*args)

    def _as_function(self, tracer: object, input: Any) -> Call:
        tables = [self._buffers.get(name) for name in _TABLES]
        return compute, (input, self.weight, self.bias, *tables, self.in_features, self.out_features), {}

    def _check(self, input: Tensor) -> None:
        if input.dim() < 1 or input.shape[-1] != self.in_features:
            raise ShapeError(
                "SharedLinear",
                f"input must be [*, {self.in_features}]",
                str(list(input.shape)),
                "flatten channels and positions with flatten(1)",
            )
        weight, bias, (weight_shape, bias_shape) = self.weight, self.bias, self._shapes
        if weight.shape != weight_shape:
            raise self._wrong_parameter("weight", weight.shape, weight_shape)
        if bias is not None and bias.shape != bias_shape:
            raise self._wrong_parameter("bias", bias.shape, bias_shape)
        check_operands("SharedLinear", input, weight, Full())

    def _wrong_parameter(self, name: str, shape: torch.Size, expected: torch.Size) -> ShapeError:
        return wrong_shape("SharedLinear", name, shape, expected, f"for {self.pattern!r}")

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move or cast the parameters; the index tables are moved with them but never cast."""
        tables = {name: self._buffers.pop(name) for name in _TABLES if name in self._buffers}
        super()._apply(fn, recurse)
        self._buffers.update(tables)
        self._move_tables()
        return self

    def _move_tables(self) -> None:
        """Move the tables to the device of the weights; rebuild them if they are on the meta device."""
        device, ids = self.weight.device, self._weight_ids
        if ids.is_meta and not self.weight.is_meta:
            self._build_tables(device)
        elif ids.device != device:
            for name in _TABLES:
                if (table := self._buffers.get(name)) is not None:
                    self._buffers[name] = table.to(device)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load weights of the same pattern; report an error for weights of another pattern."""
        stored = state_dict.get(f"{prefix}pattern_digest")
        if isinstance(stored, Tensor) and not stored.is_meta:
            if not self._is_own_digest(stored):
                error_msgs.append(f"{prefix}SharedLinear: {self._describe_mismatch(stored)}")
                return
            state_dict[f"{prefix}pattern_digest"] = torch.tensor(pack(self._digest), device=stored.device)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        self._move_tables()

    @property
    def _digest(self) -> list[int]:
        return _compute_digest(self.pattern)

    def _is_own_digest(self, stored: Tensor) -> bool:
        """Return whether a digest is that of the pattern, in this format or in the first one."""
        if stored.shape == (2,):
            halves = np.array(self._digest, dtype=np.uint8).view("<i8")
            return bool(stored.isfinite().all()) and matches(stored, halves.tolist())
        return matches(stored, self._digest)

    def _describe_mismatch(self, stored: Tensor) -> str:
        if stored.shape != (2,) and unpack(stored) is None:
            return (
                f"pattern_digest in the checkpoint must be a vector of integers that this layer wrote, got "
                f"{stored.dtype} of shape {tuple(stored.shape)}."
            )
        return (
            f"the checkpoint has weights for another pattern than {self.pattern!r}, or for this pattern with "
            "its weight ids in another order; build the layer with the pattern of the checkpoint."
        )

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Save the digest of the layer, since weight averaging or `to_empty` may have changed the buffer."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        digest = torch.tensor(pack(self._digest), device=self.weight.device)
        destination[f"{prefix}pattern_digest"] = digest

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None or self.pattern.bias is None else ", bias=False"
        return f"{self.pattern!r}{bias}"


def compute(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    weight_ids: Tensor,
    inputs: Tensor | None,
    outputs: Tensor | None,
    bias_ids: Tensor | None,
    in_features: int,
    out_features: int,
) -> Tensor:
    """Compute the layer from its parameters and its tables.

    Args:
        input: [*, in_features].
        weight: [n_weights].
        bias: [n_biases], or None.
        weight_ids: Weight id of each connection; without `inputs`, of each entry of the weight matrix.
        inputs: Input of each connection; None to multiply by a dense matrix.
        outputs: Output of each connection.
        bias_ids: Bias id of each output.
        in_features: Number of inputs.
        out_features: Number of outputs.
    """
    # 16-bit weights are gathered as float32, so that the gradient of a weight, a sum over its connections, is
    # accumulated in float32: in 16 bits, a long sum would stop growing
    wide = weight.to(widen_dtype(weight.dtype))
    if inputs is None or outputs is None:
        matrix = F.pad(wide, (0, 1)).index_select(0, weight_ids)
        output = F.linear(input, matrix.to(weight.dtype).view(out_features, in_features))
    else:
        output = _multiply_sparse(input, wide.index_select(0, weight_ids), inputs, outputs, out_features)
    if bias is not None and bias_ids is not None:
        values = bias.to(widen_dtype(bias.dtype)).index_select(0, bias_ids)
        output = output + values.to(output.dtype)
    return output


def _multiply_sparse(
    input: Tensor, values: Tensor, inputs: Tensor, outputs: Tensor, out_features: int
) -> Tensor:
    """Multiply by the weight matrix, using the connections only."""
    dtype = get_autocast_dtype(input.device.type)
    if dtype is not None and input.dtype != torch.float64:
        input, values = input.to(dtype), values.to(dtype)
    rows, wide = input.reshape(-1, input.shape[-1]), widen_dtype(input.dtype)
    output = multiply_sparse(rows.to(wide), values.to(wide), inputs, outputs, out_features)
    return output.to(input.dtype).view(*input.shape[:-1], out_features)


def _compute_digest(pattern: Pattern) -> list[int]:
    """Return 16 bytes, as integers, that are equal only for patterns with the same edges and biases."""
    digest = hashlib.sha256()
    for table in (np.array([pattern.n_in, pattern.n_out, pattern.n_weights]), pattern.edges, pattern.bias):
        if table is not None:
            digest.update(np.ascontiguousarray(table, dtype="<i8").tobytes())
    return list(digest.digest()[:16])
