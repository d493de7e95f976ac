"""Rule for operations that work position by position, with broadcasting."""

from collections.abc import Sequence

import torch

from ..layout import Layout, make_fixed
from .operation import Case


def keep_layout(case: Case) -> Layout | None:
    """Broadcast the layouts of the inputs."""
    inputs = case.list_inputs()
    if all(len(shape) <= len(case.shape) and _canbroadcast(shape, case.shape) for shape, _ in inputs):
        return broadcast(inputs, case.shape)
    return None


def _canbroadcast(small: Sequence[int], large: Sequence[int]) -> bool:
    return all(a in (1, b) for a, b in zip(reversed(small), reversed(large)))


def broadcast(inputs: Sequence[tuple[torch.Size, Layout]], shape: torch.Size) -> Layout:
    """Return the layout of a tensor with each dimension as in the first input in which a shift moves it."""
    dims = [make_fixed(n) for n in shape]
    for in_shape, layout in reversed(inputs):
        offset = len(shape) - len(in_shape)
        for d, dim in enumerate(layout):
            if in_shape[d] == shape[offset + d] and (dim.moves or not dims[offset + d].moves):
                dims[offset + d] = dim
    return tuple(dims)
