"""What `weightshare equivariance` prints."""

import json
from collections.abc import Sequence

import torch

from ..counting.sizes import read_size
from ..errors import SpecError, SymmetryError
from ..models.find import find_model
from ..models.weights import load_weights
from .trace import trace_equivariance
from .trace.result import number


def answer(
    name: str,
    weights: str | None,
    shape: str | Sequence[int] | None,
    shifts: Sequence[str],
    interventions: bool,
    seed: int,
    as_json: bool,
) -> str:
    """The trace of the first shift, the errors of the others and the interventions, in float64.

    Args:
        name: As `find_model` takes it.
        weights: A checkpoint.
        shape: Of one example.
        shifts: "1" or "0x3".
        seed: Of the weights that no checkpoint gives, and of the input, which is standard normal.
    """
    steps = [_shift(text) for text in shifts]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = find_model(name, device="cpu").double().eval()
        if weights is not None:
            load_weights(model, weights)
        x = torch.randn(1, *_size(shape), dtype=torch.float64)
    trace = trace_equivariance(model, x, steps[0])
    others = {text: trace.at(step) for text, step in zip(shifts[1:], steps[1:])}
    changed, why_not = None, ""
    if interventions:
        try:
            changed = trace.interventions()
        except SymmetryError as error:
            why_not = str(error)
    if as_json:
        effects = (
            None if changed is None else {**vars(changed), "effects": [vars(e) for e in changed.effects]}
        )
        return json.dumps({**trace.to_dict(), "shifts": others, "interventions": effects}, indent=2)
    lines = [str(trace)]
    if others:
        errors = (
            f"{text}: {'undefined' if error is None else number(error)}" for text, error in others.items()
        )
        lines.append(f"\nrelative error of the output for other shifts: {', '.join(errors)}")
    lines.append(f"\n{changed}" if changed is not None else f"\n{why_not}" if why_not else "")
    return "\n".join(lines).rstrip()


def _size(shape: str | Sequence[int] | None) -> tuple[int, ...]:
    if shape is None:
        raise SpecError(
            "equivariance", "needs the shape of one example", "none", "give --input 3x224x224, say"
        )
    size = read_size(shape) if isinstance(shape, str) else tuple(shape)
    return (size,) if isinstance(size, int) else size


def _shift(text: str) -> int | tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.split("x"))
    except ValueError:
        expected = "a shift must be pixels, or pixels for each axis"
        raise SpecError("equivariance", expected, repr(text), "write 1, or 0x3") from None
    return values[0] if len(values) == 1 else values
