"""`LayerResult`: what a sharing test found about one layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..sharing import LowRank, Sharing
from ..views.optional import require_matplotlib
from .alternatives import Alternative, choose, count_added
from .deviations import Deviations
from .verdict import Decision, Gain, Rule, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class LayerResult:
    """What relaxing one layer gains. All gains are fractions of the loss.

    Args:
        name: Name of the layer in the model.
        verdict: "relax", "keep" or "no verdict".
        reason: Reason for the verdict, as a clause.
        gain: Gain over the best control on the judged examples; None if the loss is not finite or negative.
        interval: Interval of the gain (low, high); those of all layers hold together, for the
            candidates that were trained with this seed. None if the gain is None.
        p_value: One-sided p-value of no gain over the best control, with Holm's correction over layers. A
            gain that is too small to matter can have a small p-value, so the verdict does not depend on it.
        gains: Gain over each control. If relaxing does not beat "continue", other controls are left out.
        tried: Sharing that all these numbers are about.
        suggestion: Sharing to use if the layer is relaxed: the one with the fewest parameters among those
            with at least two thirds of the largest gain, and `tried` if there are no alternatives.
        parameters: Number of parameters of the layer.
        extra_parameters: Number of parameters that the suggestion adds.
        map: Where kernels want to differ [*positions]: agreement of both halves of the examples on how the
            kernel should change there. Values around zero are noise.
        spectrum: Singular values of these changes, approximately in descending order. Values around zero
            are noise, so the number of the others shows which rank could help.
        coefficients: Coefficients from the gradients, by the name of the parameter, if the suggestion is
            `LowRank`.
        alternatives: Sharings for a layer whose verdict is "relax", including `tried`, from the fewest to
            the most parameters.
    """

    name: str
    verdict: Verdict
    reason: str
    gain: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    gains: Mapping[str, Gain]
    tried: Sharing
    suggestion: Sharing
    parameters: int
    extra_parameters: int
    map: np.ndarray = field(repr=False)
    spectrum: tuple[float, ...]
    coefficients: Mapping[str, Tensor] = field(repr=False)
    alternatives: tuple[Alternative, ...] = ()

    @classmethod
    def from_parts(
        cls,
        name: str,
        decision: Decision,
        tried: LowRank,
        parameters: tuple[int, int],
        found: Deviations,
        others: tuple[Alternative, ...],
        rule: Rule,
    ) -> LayerResult:
        """Return the result from a decision and the deviations.

        Args:
            parameters: Number of weights of one kernel, and of the biases.
            others: Alternatives to the sharing that was tried, if it is relaxed.
        """
        best = decision.gain
        first = Alternative(tried, count_added(tried, found.map.shape, parameters), None, best)
        alternatives = sorted((first, *others), key=lambda one: one.extra_parameters) if others else []
        chosen = choose(alternatives, rule) if others else first
        suggestion = chosen.sharing
        return cls(
            name=name,
            verdict=decision.verdict,
            reason=decision.reason,
            gain=None if best is None else best.value,
            interval=None if best is None else (best.low, best.high),
            p_value=decision.p_value,
            gains=decision.gains,
            tried=tried,
            suggestion=suggestion,
            parameters=sum(parameters),
            extra_parameters=chosen.extra_parameters,
            map=found.map.double().cpu().numpy(),
            spectrum=found.spectrum,
            coefficients=found.get_coefficients(suggestion) if isinstance(suggestion, LowRank) else {},
            alternatives=tuple(alternatives),
        )

    def plot_map(self, *, ax: Axes | None = None) -> Figure:
        """Draw the map of where kernels want to differ; light and orange is positive, dark is negative.

        The planes of a map with three axes are drawn next to each other.

        Args:
            ax: Axes to draw on. By default, a new figure with a transparent background is created.

        Raises:
            ArgumentError: If `ax` is not matplotlib Axes.
            MissingExtraError: If matplotlib is not installed.
        """
        where = "LayerResult.plot_map"
        with require_matplotlib(where):
            from ..views.kernels import draw_kernels
        return draw_kernels(where, arrange_map(self.map), title=self.name, note="positions", ax=ax)

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
            "tried": str(self.tried),
            "suggestion": str(self.suggestion),
            "parameters": self.parameters,
            "extra_parameters": self.extra_parameters,
            "map": self.map.tolist(),
            "spectrum": list(self.spectrum),
            "alternatives": [one.to_dict() for one in self.alternatives],
        }


def arrange_map(values: np.ndarray) -> np.ndarray:
    """Return a map [*size] as planes [1, depth, rows, columns]."""
    return values.reshape((1,) * (4 - values.ndim) + values.shape)
