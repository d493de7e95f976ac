"""Rule for operations that work position by position, with broadcasting."""

from collections.abc import Sequence

import torch

from ..layout import Layout, make_fixed
from .operation import Case


def keep_layout(case: Case) -> Layout | None:
    """Keep the layout of the input that has the shape of the output, or broadcast the inputs."""
    inputs = case.list_inputs()
    for shape, layout in inputs:
        if shape == case.shape:
            return layout
    if all(len(shape) <= len(case.shape) and _can_broadcast(shape, case.shape) for shape, _ in inputs):
        return _broadcast(inputs, case.shape)
    return None


def _can_broadcast(small: Sequence[int], large: Sequence[int]) -> bool:
    return all(a in (1, b) for a, b in zip(reversed(small), reversed(large)))


def _broadcast(inputs: Sequence[tuple[torch.Size, Layout]], shape: torch.Size) -> Layout:
    dims = [make_fixed(n) for n in shape]
    for in_shape, layout in inputs:
        offset = len(shape) - len(in_shape)
        for d, dim in enumerate(layout):
            if dim.moves and in_shape[d] == shape[offset + d]:
                dims[offset + d] = dim
    return tuple(dims)
