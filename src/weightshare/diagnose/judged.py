"""`Judged`: what the results for layers and for ties have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .verdict import Decision, Gain, Verdict


@dataclass(frozen=True, eq=False)
class Judged:
    """The verdict on one change of the model. All gains are fractions of the loss.

    Args:
        name: Name of the layer, or of the tied parameter, in the model.
        verdict: "relax", "keep" or "no verdict"; for a layer with several kernels, "share" replaces "relax".
        reason: Reason for the verdict, as a clause.
        gain: Gain over the best control on the judged examples; None if losses are not finite, or not
            positive on average.
        interval: Interval of the gain (low, high); those of all layers and ties hold together, for the
            candidates that were trained with this seed. None if the gain is None.
        p_value: One-sided p-value of no gain over the best control, with Holm's correction over layers and
            ties. A gain that is too small to matter can have a small p-value, so the verdict does not depend
            on it.
        gains: Gain over each control. If the change does not beat "continue", other controls are left out.
        parameters: Number of parameters that the change concerns.
        extra_parameters: Number of parameters that the change adds; it is negative for "share".
    """

    name: str
    verdict: Verdict
    reason: str
    gain: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    gains: Mapping[str, Gain]
    parameters: int
    extra_parameters: int

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "reason": self.reason,
            "gain": self.gain,
            "interval": None if self.interval is None else list(self.interval),
            "p_value": self.p_value,
            "gains": {control: vars(gain) for control, gain in self.gains.items()},
            "parameters": self.parameters,
            "extra_parameters": self.extra_parameters,
        }


def unpack(decision: Decision) -> dict[str, Any]:
    """Return the fields of a result that come from a decision."""
    best = decision.gain
    return {
        "verdict": decision.verdict,
        "reason": decision.reason,
        "gain": None if best is None else best.value,
        "interval": None if best is None else (best.low, best.high),
        "p_value": decision.p_value,
        "gains": decision.gains,
    }
