"""Why an operation does not hand a shift on as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..._torch import tree_iter
from ...sharing import Full
from .layout import Layout, strides
from .tape import Step

Layouts = Mapping[int, Layout | None]

_JOINS = ("add", "radd", "sub", "rsub", "mul", "rmul", "div", "truediv", "where", "cat", "maximum", "minimum")
_RESHAPES = ("view", "reshape", "unflatten")


def causes(
    step: Step,
    ref: int,
    layouts: Layouts,
    broken: bool,
    border: int | None,
    direction: Sequence[int],
) -> tuple[str, ...]:
    """The causes of one operation; empty where it hands all shifts on.

    Args:
        ref: Of its outputs the one that is used.
        broken: Whether it is not exact for the smallest steps of its positions.
        border: The width of the border outside of which it is exact; None where that is not all.
    """
    found = []
    known = [layout for given in step.inputs if (layout := layouts[given]) is not None]
    after = layouts[ref]
    if len(known) < len(step.inputs) or after is None:
        return ("not followed",) if known else ()
    if getattr(step.module, "sharing", Full()) != Full():
        found.append("unshared weights")
    elif broken:
        found.append(_broken(step, layouts, border))
    before = {axis: stride for layout in known for axis, stride in strides(layout).items()}
    behind = strides(after)
    if any(
        axis in behind and behind[axis].numerator > s.numerator
        for axis, s in before.items()
        if direction[axis]
    ):
        op = step.op.lower()
        found.append("pooling" if "pool" in op else "windows" if op in _RESHAPES else "stride")
    return tuple(found)


def _broken(step: Step, layouts: Layouts, border: int | None) -> str:
    """What breaks even the smallest shift of an operation whose weights are shared."""
    first = layouts[step.inputs[0]]
    if step.op.lower().endswith("linear") and first is not None and first[-1].moves:
        return "flatten"
    if constants(step, layouts):
        return "position embedding"
    windows = any(kind in step.op.lower() for kind in ("conv", "pool", "pad"))  # small maps may be all border
    if border is not None or windows:
        return "padding" if pads(step) else "uneven size" if _uneven(step, layouts) else "valid border"
    return "mixes positions"


def constants(step: Step, layouts: Layouts) -> list[Tensor]:
    """The tensors that a function joins with its input and that differ along positions."""
    after = layouts[step.outputs[0]]
    if step.module is not None or after is None or step.op.strip("_") not in _JOINS:
        return []
    leaves = tree_iter((step.args, step.kwargs))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and _differs(leaf, after)]


def _differs(tensor: Tensor, layout: Layout) -> bool:
    """Whether a tensor that broadcasts to a layout has several numbers along what a shift moves."""
    aligned = list(zip(reversed(tensor.shape), reversed(layout)))
    fits = tensor.dim() <= len(layout) and all(n in (1, dim.size) or not dim.moves for n, dim in aligned)
    return fits and any(n > 1 and dim.moves for n, dim in aligned)


def _uneven(step: Step, layouts: Layouts) -> bool:
    """Whether the circle of the input is no whole number of steps of the output."""
    before, after = (
        {f.axis: f.size * f.stride for dim in layout or () for f in dim.factors if f.moves}
        for layout in (layouts[step.inputs[0]], layouts[step.outputs[0]])
    )
    slow = strides(layouts[step.outputs[0]] or ()) != strides(layouts[step.inputs[0]] or ())
    return slow and any(after.get(axis, length) != length for axis, length in before.items())


def pads(step: Step) -> bool:
    """Whether an operation adds to the borders of its input."""
    if step.op in ("pad",) or step.op.endswith(("Pad1d", "Pad2d", "Pad3d")):
        return True
    if getattr(step.module, "padding_mode", "zeros") == "circular":
        return False
    if step.module is not None:
        padding: Any = getattr(step.module, "padding", 0)
    elif step.op.startswith("conv"):
        padding = step.argument(4, "padding", 0)
    else:
        padding = step.argument(3, "padding", 0)
    if isinstance(padding, str):
        return padding != "valid"
    return any(padding) if isinstance(padding, Sequence) else bool(padding)
