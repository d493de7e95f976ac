"""Store the data of a pattern, checked and read-only: connections, shapes, biases and stride."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._args import Size, check_integer
from ..errors import PatternError
from .arguments import check_bias, check_counts, check_edges, check_shape, check_stride


@dataclass(frozen=True, init=False, eq=False, repr=False)
class PatternData:
    """A frozen record of the connections of a linear map; `Pattern` documents its arguments."""

    edges: np.ndarray
    out_shape: tuple[int, ...]
    in_shape: tuple[int, ...]
    n_weights: int
    bias: np.ndarray | None
    stride: tuple[Fraction, ...]
    note: str

    def __init__(
        self,
        edges: ArrayLike,
        out_shape: Size,
        in_shape: Size,
        *,
        n_weights: int | None = None,
        bias: ArrayLike | None = None,
        stride: Sequence[float | Fraction] | None = None,
        note: str = "",
    ):
        out_shape, in_shape = check_shape("out_shape", out_shape), check_shape("in_shape", in_shape)
        n_out, n_in = prod(out_shape), prod(in_shape)
        check_counts(n_out=n_out, n_in=n_in)
        table = check_edges(edges, n_out, n_in)
        least = int(table[:, 2].max(initial=-1)) + 1
        if n_weights is None:
            n_weights = least
        elif check_integer("Pattern", "n_weights", n_weights, least=0) < least:
            expected = f"n_weights must be at least {least}, one more than the largest id"
            raise PatternError("Pattern", expected, str(n_weights))
        bias_ids = None if bias is None else check_bias(bias, n_out)
        check_counts(n_weights=n_weights, n_biases=0 if bias_ids is None else int(bias_ids.max()) + 1)
        if stride is None:
            strides = tuple(Fraction(i, o) for i, o in zip(in_shape[1:], out_shape[1:]))
        else:
            strides = check_stride(stride, len(in_shape) - 1)
        values = {
            "edges": table,
            "out_shape": out_shape,
            "in_shape": in_shape,
            "n_weights": n_weights,
            "bias": bias_ids,
            "stride": strides,
            "note": note,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for table in (self.edges, self.bias):
            if table is not None:
                table.flags.writeable = False  # numpy does not copy or pickle this flag

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return prod(self.in_shape)

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return prod(self.out_shape)

    @property
    def n_biases(self) -> int:
        """Number of biases."""
        return 0 if self.bias is None else int(self.bias.max(initial=-1)) + 1

    @property
    def pairs(self) -> np.ndarray:
        """The number output * n_in + input of each connection, in ascending order [connections]."""
        return self.edges[:, 0] * self.n_in + self.edges[:, 1]
