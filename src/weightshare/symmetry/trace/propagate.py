"""How an operation hands on where the positions of the input stand: from its inputs' layouts to its outputs'.

A layout that cannot be told is None.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..transforms import infer_stride
from .layout import Dim, Factor, Layout, plain
from .tape import Ref, Step

Layouts = Mapping[int, Layout | None]
Values = Mapping[int, Tensor]


def propagated(step: Step, layouts: Layouts, values: Values) -> list[Layout | None]:
    """The layouts of the outputs of a step."""
    known = [(values[ref].shape, layout) for ref in step.inputs if (layout := layouts[ref]) is not None]
    outputs = [values[ref].shape for ref in step.outputs]
    if not known:
        return [None] * len(outputs)
    rule = _unknown if step.op.startswith(_ELSEWHERE) else _RULES.get(step.op)
    found = []
    for ref, shape in zip(step.outputs, outputs):
        numbered = "pool" in step.op.lower() and not values[ref].is_floating_point()  # where maxima stand
        if numbered or (rule is _attention and ref != step.outputs[0]):
            found.append(None)
            continue
        try:
            layout = rule(step, shape, layouts, values) if rule else _by_shape(step, shape, known)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            layout = None  # called in a way that the rule does not know
        found.append(_checked(layout, shape))
    return found


def _checked(layout: Layout | None, shape: Sequence[int]) -> Layout | None:
    fits = layout is not None and tuple(dim.size for dim in layout) == tuple(shape)
    return layout if fits else None


def _by_shape(step: Step, shape: torch.Size, known: Sequence[tuple[torch.Size, Layout]]) -> Layout | None:
    """What works on elements tells by its sizes, and so do convolutions, pools and resizing."""
    moving = [(s, layout) for s, layout in known if any(dim.moves for dim in layout)] or list(known)
    for s, layout in moving:
        if s == shape:
            return layout
    if all(len(s) <= len(shape) and _broadcasts(s, shape) for s, _ in moving):
        return _broadcast(shape, moving)
    windows = any(word in step.op.lower() for word in _WINDOWS)
    return _window(step, shape, *moving[0]) if windows else None


_WINDOWS = ("conv", "pool", "interpolate", "upsampl", "pad")
_ELSEWHERE = ("fft_", "linalg_", "stft")


def _broadcasts(small: Sequence[int], large: Sequence[int]) -> bool:
    return all(a in (1, b) for a, b in zip(reversed(small), reversed(large)))


def _broadcast(shape: torch.Size, known: Sequence[tuple[torch.Size, Layout]]) -> Layout:
    dims = [plain(n) for n in shape]
    for s, layout in known:
        offset = len(shape) - len(s)
        for d, dim in enumerate(layout):
            if dim.moves and s[d] == shape[offset + d]:
                dims[offset + d] = dim
    return tuple(dims)


def _window(step: Step, shape: torch.Size, before: torch.Size, layout: Layout) -> Layout | None:
    """Convolutions, pooling and resizing: the last dimensions are positions, one axis each."""
    first = next((d for d, dim in enumerate(layout) if dim.moves), len(layout))
    spatial = layout[first:]
    if len(shape) != len(before) or any(
        len(dim.factors) != 1 or dim.prefix or dim.first.axis is None for dim in spatial
    ):
        return None
    given = _given_stride(step, len(spatial))
    dims = [plain(n) for n in shape[:first]]
    for number, (n, dim) in enumerate(zip(shape[first:], spatial)):
        (factor,) = dim.factors
        resized = any(word in step.op.lower() for word in ("interpolate", "upsampl", "adaptive"))
        ratio = Fraction(factor.size, n) if resized else infer_stride(factor.size, n)
        stride = given[number] if given else ratio
        dims.append(Dim((replace(factor, size=n, stride=factor.stride * stride, halo=(0, 0)),)))
    return tuple(dims)


def _padded(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Circular padding adds a halo; any other is a window that sees what is not there."""
    layout, before = _first(step, layouts), values[step.inputs[0]].shape
    if layout is None:
        return None
    if shape == before:
        return layout
    pairs = getattr(step.module, "padding", None) or step.argument(1, "pad", ())
    circular = step.op.startswith("Circular") or step.argument(2, "mode", "constant") == "circular"
    if not circular or any(len(dim.factors) > 1 or dim.prefix or any(dim.first.halo) for dim in layout):
        return tuple(_lengthened(dim, n) for dim, n in zip(layout, shape))
    dims = list(layout)
    for number in range(len(pairs) // 2):
        d = len(dims) - 1 - number
        dims[d] = Dim((replace(dims[d].first, halo=(pairs[2 * number], pairs[2 * number + 1])),))
    return tuple(dims)


def _lengthened(dim: Dim, size: int) -> Dim:
    """With elements at its ends that are none of the circle."""
    if dim.size == size or not dim.moves:
        return dim if dim.size == size else plain(size)
    return Dim((replace(dim.first, size=size),)) if len(dim.factors) == 1 and not dim.prefix else plain(size)


def _given_stride(step: Step, ndim: int) -> list[Fraction] | None:
    """The stride that a convolution or a pool says."""
    if step.module is not None:
        value = getattr(step.module, "stride", None)
    elif step.op.startswith("conv"):
        value = step.argument(3, "stride", 1)
    elif (
        step.op.endswith(tuple(f"{kind}_pool{d}d" for kind in ("max", "avg", "lp") for d in (1, 2, 3)))
        and "adaptive" not in step.op
    ):
        value = step.argument(2, "stride") or step.argument(1, "kernel_size")
    else:
        return None
    if value is None:
        return None
    values = list(value) if isinstance(value, Sequence) else [value] * ndim
    values = values * ndim if len(values) == 1 else values
    transposed = "ranspose" in step.op
    return [1 / Fraction(v) if transposed else Fraction(v) for v in values] if len(values) == ndim else None


def _first(step: Step, layouts: Layouts) -> Layout | None:
    """The layout of the first input."""
    return layouts[step.inputs[0]]


def _reshaped(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Runs of dimensions that hold as many elements before and after, their factors put together anew."""
    layout = _first(step, layouts)
    if layout is None:
        return None
    before, after, dims = list(layout), list(shape), []
    while before or after:
        old, new = before[:1], after[:1]
        before, after = before[1:], after[1:]
        while prod(dim.size for dim in old) != prod(new):
            if prod(dim.size for dim in old) < prod(new):
                old.append(before.pop(0))
            else:
                new.append(after.pop(0))
        if len(old) == len(new) == 1:
            dims += old
        else:
            parts = _regrouped(old, new)
            if parts is None:
                return None
            dims += parts
    return tuple(dims)


def _regrouped(old: Sequence[Dim], new: Sequence[int]) -> list[Dim] | None:
    """The factors of some dimensions in others.

    Of an axis in parts, as in windows of positions, the first part moves, in steps of the others together.
    """
    if any(dim.prefix or any(dim.first.halo) for dim in old if dim.moves):
        return None
    queue = [f for dim in old for f in dim.factors if f.length != 1]
    dims = []
    for n in new:
        factors: list[Factor] = []
        while prod(f.size for f in factors) < n and queue:
            room, factor = n // prod(f.size for f in factors), queue.pop(0)
            if factor.size > room:
                rest, uneven = divmod(factor.size, room)
                if uneven:
                    return None
                axis = factor.part_of if factor.axis is None else factor.axis
                queue.insert(0, Factor(rest, None, factor.stride, part_of=axis))
                factor = replace(factor, size=room, stride=factor.stride * rest)
            factors.append(factor)
            if len(factors) > 1 and _were_one(*factors[-2:]):
                inner, outer = factors.pop(), factors.pop()
                factors.append(replace(outer, size=outer.size * inner.size, stride=inner.stride))
        dims.append(Dim(tuple(factors) or (Factor(1),)))
    return dims


def _were_one(outer: Factor, inner: Factor) -> bool:
    """Whether two factors are windows of an axis and the positions inside."""
    axis = outer.part_of if outer.axis is None else outer.axis
    return axis is not None and axis == inner.part_of and outer.stride == inner.stride * inner.size


def _permuted(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Which dimension goes where is told by the strides of an empty tensor."""
    layout, before = _first(step, layouts), values[step.inputs[0]].shape
    if layout is None:
        return None
    (after,) = step.run({step.inputs[0]: torch.empty([n + 1 for n in before], device="meta")})
    empty = torch.empty([n + 1 for n in before], device="meta")
    by_stride = {s: d for d, s in enumerate(empty.stride())}
    return tuple(layout[by_stride[s]] for s in after.stride())


def _reduced(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Sums and maxima over dimensions."""
    layout = _first(step, layouts)
    if layout is None:
        return None
    given = step.argument(1, "dim")
    if given is None or isinstance(given, bool):
        return tuple(plain(n) for n in shape) if prod(shape) == 1 else None
    gone = {d % len(layout) for d in (given if isinstance(given, Sequence) else [given])}
    if len(shape) == len(layout):
        return tuple(plain(1) if d in gone else dim for d, dim in enumerate(layout))
    return tuple(dim for d, dim in enumerate(layout) if d not in gone)


def _linear(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    layout = _first(step, layouts)
    return None if layout is None else (*layout[:-1], plain(shape[-1]))


def _matrix_product(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Rows of the first, columns of the second, and what stands before both."""
    sides = [layouts[side.number] if isinstance(side, Ref) else None for side in step.args[:2]]
    if any(isinstance(side, Ref) and layout is None for side, layout in zip(step.args, sides)):
        return None
    dims = [plain(n) for n in shape]
    for place, layout in enumerate(sides):
        if layout is None or len(layout) != len(shape):
            continue
        for d, dim in enumerate(layout[:-2]):
            if dim.moves:
                dims[d] = dim
        dims[place - 2] = layout[place - 2]
    return tuple(dims)


def _attention(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """The positions of the query."""
    layout = _first(step, layouts)
    if layout is None or len(layout) != len(shape):
        return None
    return tuple(dim if dim.moves and dim.size == n else plain(n) for dim, n in zip(layout, shape))


def _indexed(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Whole numbers and slices; lists of them for what no shift moves."""
    layout, index = _first(step, layouts), step.args[1]
    index = index if isinstance(index, tuple) else (index,)
    chosen = [i for i in index if isinstance(i, list | Tensor)]
    if layout is None or len(chosen) > 1:
        return None
    if any(i is Ellipsis for i in index):
        place = next(k for k, i in enumerate(index) if i is Ellipsis)
        rest = len(layout) - sum(i is not None for i in index) + 1
        index = (*index[:place], *[slice(None)] * rest, *index[place + 1 :])
    queue = list(layout)
    dims: list[Dim] = []
    for i in index:
        if i is None:
            dims.append(plain(1))
            continue
        dim = queue.pop(0)
        if isinstance(i, int):
            continue
        part = _sliced(dim, i) if isinstance(i, slice) else None if dim.moves else plain(len(i))
        if part is None:
            return None
        dims.append(part)
    return (*dims, *queue)


def _selected(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """One of a dimension."""
    layout = _first(step, layouts)
    if layout is None:
        return None
    gone = step.argument(1, "dim", 0) % len(layout)
    return tuple(dim for d, dim in enumerate(layout) if d != gone)


def _narrowed(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Some of a dimension, one after the other."""
    layout = _first(step, layouts)
    if layout is None:
        return None
    d, start = step.argument(1, "dim") % len(layout), step.argument(2, "start")
    part = _cut(layout[d], start, start + shape[d], 1)
    return None if part is None else tuple(part if k == d else dim for k, dim in enumerate(layout))


def _chosen(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Some of a dimension that no shift moves, in any order."""
    layout = _first(step, layouts)
    if layout is None:
        return None
    d = step.argument(1, "dim") % len(layout)
    return (
        None if layout[d].moves else tuple(plain(shape[d]) if k == d else dim for k, dim in enumerate(layout))
    )


def _written(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """A tensor of which a part is written: it keeps its layout; one of constants gets that of the part."""
    target, index, part = step.args[:3]
    if isinstance(target, Ref):
        return layouts[target.number]
    layout = layouts[part.number] if isinstance(part, Ref) else None
    parts = index if isinstance(index, tuple) else (index,)
    if (
        layout is None
        or len(layout) != len(shape)
        or not all(i is Ellipsis or isinstance(i, slice) for i in parts)
    ):
        return None
    if any(dim.moves and dim.size != n for dim, n in zip(layout, shape)):
        return None
    return tuple(dim if dim.size == n else plain(n) for dim, n in zip(layout, shape))


def _shared_linear(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Channels of the positions of the input, if the pattern is equivariant for their shifts; else none."""
    layout = _first(step, layouts)
    if layout is None:
        return None
    pattern: Any = step.module.pattern  # type: ignore[union-attr]
    last = layout[-1]
    places = [f for f in last.factors if f.moves]
    channels, uneven = divmod(shape[-1], prod(f.size for f in places))
    if not places or uneven or last.prefix:
        return (*layout[:-1], plain(shape[-1]))
    after = Dim((Factor(channels), *places))
    for place in range(len(places)):
        moves = []
        for dim in (last, after):
            sizes = [f.size for f in dim.factors]
            numbers = torch.arange(dim.size).view(sizes)
            moving = [k for k, f in enumerate(dim.factors) if f.moves]
            moves.append(numbers.roll(-1, moving[place]).flatten().tolist())
        if not pattern.is_equivariant(*moves).holds:
            return (*layout[:-1], plain(shape[-1]))
    return (*layout[:-1], after)


def _unknown(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Positions are named by letters, sorted or numbered: where they are then stands in no shape."""
    return None


def _sliced(dim: Dim, part: slice) -> Dim | None:
    start, stop, step = part.indices(dim.size)
    return dim if (start, stop, step) == (0, dim.size, 1) else _cut(dim, start, stop, step)


def _cut(dim: Dim, start: int, stop: int, step: int) -> Dim | None:
    count = len(range(start, stop, step))
    if not dim.moves or stop <= dim.prefix:
        return plain(count)
    if start <= dim.prefix and stop == dim.size and step == 1:
        return Dim(dim.factors, dim.prefix - start)
    if len(dim.factors) > 1 or dim.prefix:
        return None
    return Dim((replace(dim.first, size=count, stride=dim.first.stride * step),))


def _joined(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    """Tensors one after the other: channels, or tokens with some before them that stay."""
    parts, d = step.args[0], step.argument(1, "dim", 0) % len(shape)
    found, prefix = None, 0
    for part in parts:
        layout = layouts[part.number] if isinstance(part, Ref) else None
        size = (values[part.number] if isinstance(part, Ref) else part).shape[d]
        if isinstance(part, Ref) and layout is None:
            return None
        if found is not None and (found[d].moves or (layout is not None and layout[d].moves)):
            return None  # two maps behind each other
        if layout is not None and any(dim.moves for dim in layout):
            found = layout if found is None else found
        elif found is None:
            prefix += size
    if found is None:
        return tuple(plain(n) for n in shape)
    if not found[d].moves:
        return tuple(plain(shape[d]) if k == d else dim for k, dim in enumerate(found))
    return tuple(Dim(dim.factors, dim.prefix + prefix) if k == d else dim for k, dim in enumerate(found))


def _split(step: Step, shape: torch.Size, layouts: Layouts, values: Values) -> Layout | None:
    layout = _first(step, layouts)
    if layout is None:
        return None
    d = step.argument(2, "dim", 0) % len(layout)
    return (
        None if layout[d].moves else tuple(plain(shape[d]) if k == d else dim for k, dim in enumerate(layout))
    )


Rule = Callable[[Step, torch.Size, Layouts, Values], Layout | None]
_RULES: dict[str, Rule] = {
    **dict.fromkeys(("flatten", "reshape", "view", "unflatten", "squeeze", "unsqueeze"), _reshaped),
    **dict.fromkeys(("ravel", "view_as", "reshape_as", "Flatten", "Unflatten"), _reshaped),
    **dict.fromkeys(("permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims"), _permuted),
    **dict.fromkeys(("T", "mT", "t", "H", "mH", "adjoint"), _permuted),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "logsumexp", "std", "var", "norm"), _reduced),
    **dict.fromkeys(("linear", "Linear", "TiedLinear"), _linear),
    **dict.fromkeys(("matmul", "bmm", "rmatmul"), _matrix_product),
    **dict.fromkeys(
        ("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward"), _attention
    ),
    **dict.fromkeys(("cat", "concat", "concatenate"), _joined),
    **dict.fromkeys(("chunk", "split", "tensor_split"), _split),
    **dict.fromkeys(("pad", "CircularPad1d", "CircularPad2d", "CircularPad3d"), _padded),
    **dict.fromkeys(("einsum", "tensordot", "sort", "argsort", "topk", "fold", "unfold", "gather"), _unknown),
    **dict.fromkeys(
        ("Fold", "Unfold", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "pixel_shuffle"), _unknown
    ),
    **dict.fromkeys(("PixelShuffle", "PixelUnshuffle", "pixel_unshuffle", "RNN", "LSTM", "GRU"), _unknown),
    **dict.fromkeys(
        ("repeat", "tile", "repeat_interleave", "index_put_", "scatter", "masked_select"), _unknown
    ),
    "SharedLinear": _shared_linear,
    "narrow": _narrowed,
    "index_select": _chosen,
    "setitem": _written,
    **dict.fromkeys(("select", "unbind"), _selected),
    "getitem": _indexed,
}
