"""Use plain torch operators in exported programs that run without this package, such as ONNX files.

Exporters fold everything that does not depend on the input into constants. `keep_compact` and `expand_banks`
prevent this, so that an exported file contains each weight once.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.jit import is_tracing  # pyright: ignore[reportPrivateImportUsage]

_depth = 0


@contextmanager
def portable() -> Generator[None]:
    """Make layers compute with plain torch operators inside the `with` block.

    A program exported by `torch.export.export` inside the block runs without this package.
    `torch.onnx.export` does not need the block, because it makes layers use plain operators automatically.

    Example:
        >>> from weightshare import functional, nn
        >>> layer = nn.LocallyConnected1d(1, 2, 3, input_size=8)
        >>> with functional.portable():
        ...     program = torch.export.export(layer, (torch.zeros(1, 1, 8),))
        >>> any("weightshare" in str(node.target) for node in program.graph.nodes)
        False
    """
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def is_portable() -> bool:
    """Return whether layers currently have to compute with plain torch operators."""
    if _depth > 0:
        return True
    exporting = torch.compiler.is_compiling() or is_tracing()
    return exporting and torch.onnx.is_in_onnx_export()


def keep_compact(parameter: Tensor, input: Tensor) -> Tensor:
    """Prevent exporters from storing the expansion of a parameter to all positions.

    In an exported program, this function adds a zero that depends on the input. Otherwise the exporter would
    fold the expansion into a constant with one value per position.
    """
    return parameter + _make_zero(input).to(parameter.dtype) if is_portable() else parameter


def expand_banks(banks: Tensor, labels: Tensor, input: Tensor) -> Tensor:
    """Return bank `labels[p]` for each position p; exporters store the banks unexpanded."""
    if is_portable():
        labels = labels.long() + _make_zero(input).long()
    return banks[labels.long()]


def _make_zero(input: Tensor) -> Tensor:
    """Return a zero that an exporter cannot compute without the input: the sum of no elements."""
    return input.flatten()[:0].sum()
