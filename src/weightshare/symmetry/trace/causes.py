"""Why an operation does not hand a shift on as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_iter

from ...sharing import Full
from .layout import Layout, strides
from .tape import Step

Layouts = Mapping[int, Layout | None]


def causes(
    step: Step,
    values: Mapping[int, Tensor],
    layouts: Layouts,
    exact_for: Sequence[int] | None,
    border: int | None,
    direction: Sequence[int],
) -> tuple[str, ...]:
    """The causes of one operation; empty where it hands all shifts on.

    Args:
        exact_for: The shifts for which it is exact by itself.
        border: The width of the border outside of which it is exact; None where that is not all.
    """
    found = []
    known = [layout for ref in step.inputs if (layout := layouts[ref]) is not None]
    after = layouts[step.outputs[0]]
    if len(known) < len(step.inputs) or after is None:
        return ("mixes positions",) if known else ()
    if getattr(step.module, "sharing", Full()) != Full():
        found.append("unshared weights")
    elif exact_for is None:
        found.append(_broken(step, values, layouts, border))
    before = {axis: stride for layout in known for axis, stride in strides(layout).items()}
    behind = strides(after)
    if any(behind.get(axis, 0) > stride for axis, stride in before.items() if direction[axis]):
        found.append("pooling" if "pool" in step.op.lower() else "stride")
    return tuple(found)


def _broken(step: Step, values: Mapping[int, Tensor], layouts: Layouts, border: int | None) -> str:
    """What breaks even the smallest shift of an operation whose weights are shared."""
    first = layouts[step.inputs[0]]
    if step.op.lower().endswith("linear") and first is not None and first[-1].moves:
        return "flatten"
    if has_constant(step, values):
        return "position embedding"
    windows = any(kind in step.op.lower() for kind in ("conv", "pool"))  # small maps may be all border
    if border is not None or windows:
        return "padding" if pads(step) else "valid border"
    return "mixes positions"


def has_constant(step: Step, values: Mapping[int, Tensor]) -> bool:
    """Whether a function joins its input with a tensor that is not the same at all positions."""
    if step.module is not None or step.op not in (
        "add",
        "radd",
        "iadd",
        "add_",
        "sub",
        "mul",
        "rmul",
        "mul_",
        "cat",
    ):
        return False
    return any(isinstance(leaf, Tensor) and leaf.numel() > 1 for leaf in tree_iter((step.args, step.kwargs)))


def pads(step: Step) -> bool:
    """Whether an operation adds to the borders of its input."""
    if step.op in ("pad",) or step.op.endswith(("Pad1d", "Pad2d", "Pad3d")):
        return True
    if step.module is not None:
        padding: Any = getattr(step.module, "padding", 0)
    elif step.op.startswith("conv"):
        padding = step.argument(4, "padding", 0)
    else:
        padding = step.argument(3, "padding", 0)
    if isinstance(padding, str):
        return padding != "valid"
    return any(padding) if isinstance(padding, Sequence) else bool(padding)
