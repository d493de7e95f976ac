"""A linear layer whose connections share weights by any pattern."""

import hashlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from ..backends.checks import check_operands, not_a_tensor
from ..backends.operators import autocast_dtype
from ..errors import ArgumentError, ShapeError
from ..pattern import Pattern
from ..sharing import Full
from .sparse_product import sparse_product

_TABLES = ("_weight_ids", "_inputs", "_outputs", "_bias_ids")
_DENSE = 1 / 32  # share of all pairs that are connections from which on a full matrix is multiplied


class SharedLinear(torch.nn.Module):
    """A linear layer that has one weight for every weight id of a `Pattern`.

        a b b        every a is one number,
        b a b        every b another
        b b a

    With the pattern of `torch.nn.Linear` (every connection its own weight) it is that layer; with one from
    symmetries it is equivariant for all values of its weights.

    Args:
        pattern: From `Pattern.from_symmetry`, `Pattern.of` a layer, `Pattern.probe` or edges.
        bias: Whether to add the pattern's biases, if it has any.
        device, dtype: As of `torch.nn.Linear`.

    Shape:
        input [*, n_in], output [*, n_out]; channels and positions flattened as by `flatten(1)`. Channels are
        part of the pattern: `generators.with_channels` leaves them where they are.

    Parameters:
        weight [n_weights], bias [n_biases]. Initial values are uniform as those of `torch.nn.Linear`, each by
        the number of connections into the outputs that use it, whatever the sharing.

    Raises:
        ArgumentError: something else than a pattern, one without connections, an input that is no tensor.
        ShapeError: an input of another size or dtype.

    Example:
        >>> from weightshare.pattern import generators
        >>> points = generators.permutations(5)
        >>> layer = SharedLinear(Pattern.from_symmetry(points, points))
        >>> layer(torch.zeros(3, 5)).shape, sum(p.numel() for p in layer.parameters())
        (torch.Size([3, 5]), 3)

    Source: Ravanbakhsh, Schneider and Poczos, "Equivariance Through Parameter-Sharing", ICML 2017; for sets
    Zaheer et al., "Deep Sets", NeurIPS 2017, section 2.2.
    """

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
            got = "one without connections" if isinstance(pattern, Pattern) else type(pattern).__name__
            raise ArgumentError(
                "SharedLinear", "pattern must be a Pattern", got, "use Pattern.from_symmetry or Pattern.of"
            )
        self.pattern = pattern
        self.in_features, self.out_features = pattern.n_in, pattern.n_out
        self.weight = Parameter(torch.empty(pattern.n_weights, device=device, dtype=dtype))
        self.bias = None
        if bias and pattern.bias is not None:
            self.bias = Parameter(torch.empty(pattern.n_biases, device=device, dtype=dtype))
        self._connect(device)
        self.register_buffer("pattern_digest", torch.empty(2, dtype=torch.int64, device=device))
        self.reset_parameters()

    def _connect(self, device: torch.device | str | None) -> None:
        """The tables that `forward` reads; not part of a checkpoint, whose pattern is the layer's."""
        pattern = self.pattern
        output, input_, weight = pattern.edges.T
        pairs = output * pattern.n_in + input_
        single = bool((np.diff(pairs) > 0).all())  # no two weights on one connection
        self._is_dense = single and len(pairs) >= _DENSE * pattern.n_in * pattern.n_out
        tables: dict[str, Any] = {"_weight_ids": weight}
        if self._is_dense:  # a weight of zero where there is no connection
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
        """Draw weights and biases anew."""
        pattern, weight = self.pattern, self.weight
        bound = torch.from_numpy(pattern.fan_in).rsqrt().to(weight)
        weight.uniform_(-1, 1).mul_(bound)
        if self.bias is not None:
            fan_in = np.bincount(pattern.edges[:, 0], minlength=pattern.n_out)
            uses = np.bincount(pattern.bias, minlength=pattern.n_biases).clip(min=1)  # type: ignore[arg-type]
            mean = np.bincount(pattern.bias, fan_in, pattern.n_biases) / uses  # type: ignore[arg-type]
            self.bias.uniform_(-1, 1).mul_(torch.from_numpy(mean).clamp(min=1).rsqrt().to(self.bias))
        self.pattern_digest.copy_(torch.tensor(_digest(pattern)))  # type: ignore[operator]

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        # half types are gathered from float32: there the gradient of a weight, a sum over its connections, is
        # taken, which would stand still in the smaller type
        weight = self.weight.to(_wide(self.weight.dtype))
        if self._is_dense:
            matrix = F.pad(weight, (0, 1)).index_select(0, self._weight_ids)  # type: ignore[arg-type]
            matrix = matrix.to(self.weight.dtype).view(self.out_features, self.in_features)
            output = F.linear(input, matrix)
        else:
            output = self._sparse(input, weight.index_select(0, self._weight_ids))  # type: ignore[arg-type]
        if self.bias is not None:
            bias = self.bias.to(_wide(self.bias.dtype)).index_select(0, self._bias_ids)  # type: ignore[arg-type]
            output = output + bias.to(output.dtype)
        return output

    def _check(self, input: Tensor) -> None:
        if not isinstance(input, Tensor):
            raise not_a_tensor("SharedLinear", input)
        if input.dim() < 1 or input.shape[-1] != self.in_features:
            raise ShapeError(
                "SharedLinear",
                f"the input must be [*, {self.in_features}]",
                str(list(input.shape)),
                "flatten channels and positions with flatten(1)",
            )
        check_operands("SharedLinear", input, self.weight, Full())

    def _sparse(self, input: Tensor, values: Tensor) -> Tensor:
        """The sum over connections alone."""
        dtype = autocast_dtype(input.device.type)
        if dtype is not None and input.dtype != torch.float64:
            input, values = input.to(dtype), values.to(dtype)
        rows, wide = input.reshape(-1, self.in_features), _wide(input.dtype)
        inputs: Any = self._inputs
        outputs: Any = self._outputs
        output = sparse_product(rows.to(wide), values.to(wide), inputs, outputs, self.out_features)
        return output.to(input.dtype).view(*input.shape[:-1], self.out_features)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move or cast; the tables move along but keep their numbers, whatever becomes of the parameters."""
        tables = {name: self._buffers.pop(name) for name in _TABLES if name in self._buffers}
        super()._apply(fn, recurse)
        self._buffers.update(tables)
        self._follow()
        return self

    def _follow(self) -> None:
        """Bring the tables to the device of the weights; from the meta device they are made anew."""
        device, ids = self.weight.device, self._weight_ids
        if ids.is_meta and not self.weight.is_meta:  # type: ignore[union-attr]
            self._connect(device)
        elif ids.device != device:
            for name in _TABLES:
                if name in self._buffers:
                    self._buffers[name] = self._buffers[name].to(device)  # type: ignore[union-attr]

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        """Refuse the weights of another pattern."""
        stored = state_dict.get(f"{prefix}pattern_digest")
        if isinstance(stored, Tensor) and not stored.is_meta and stored.tolist() != _digest(self.pattern):
            error_msgs.append(f"{prefix}SharedLinear: {self._mismatch(stored)}")
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        self._follow()

    def _mismatch(self, stored: Tensor) -> str:
        if stored.dtype != torch.int64 or stored.shape != (2,):
            return (
                f"the checkpoint's pattern_digest is unreadable, {stored.dtype} of shape "
                f"{tuple(stored.shape)} and not int64 of shape (2,); cast only what is_floating_point() in a "
                "state dict."
            )
        return (
            f"the checkpoint's weights are those of another pattern than {self.pattern!r}, or of it with its "
            "ids in another order; build the layer with the pattern of the checkpoint."
        )

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        """The digest is that of the layer, whatever averaging or `to_empty` made of the buffer."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        digest = torch.tensor(_digest(self.pattern), device=self.weight.device)
        destination[f"{prefix}pattern_digest"] = digest

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None or self.pattern.bias is None else ", bias=False"
        return f"{self.pattern!r}{bias}"


def _wide(dtype: torch.dtype) -> torch.dtype:
    """In which sums are taken: float32 for half types."""
    return torch.promote_types(dtype, torch.float32)


def _digest(pattern: Pattern) -> list[int]:
    """Two integers of the edges and biases, equal only where these are."""
    digest = hashlib.sha256()
    for table in (np.array([pattern.n_in, pattern.n_out, pattern.n_weights]), pattern.edges, pattern.bias):
        if table is not None:
            digest.update(np.ascontiguousarray(table, dtype="<i8").tobytes())
    return np.frombuffer(digest.digest()[:16], dtype="<i8").tolist()
