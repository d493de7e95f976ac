"""`LayerResult`: what a sharing test found about one layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..sharing import Full, LowRank, Sharing
from ..views.optional import require_matplotlib
from .alternatives import Alternative, choose, count_added
from .deviations import Deviations
from .judged import Judged, unpack
from .restricting import Restriction
from .verdict import Decision, Rule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class LayerResult(Judged):
    """What another sharing of one layer gains.

    A layer with one kernel is relaxed. One with several kernels is restricted to one, whose gain is usually
    negative: it is minus the cost of sharing.

    Args:
        tried: Sharing that the gain is about; `Full()` for a layer with several kernels.
        suggestion: Sharing to use if the layer is relaxed: the one with the fewest parameters among those
            with at least two thirds of the largest gain, or `tried` without alternatives. For a layer
            with several kernels, it is `Full()`.
        map: Where kernels want to differ [*positions]: agreement of the two halves of the examples on how the
            kernel should change there. Values around zero are noise. For a layer with several kernels, it is
            the norm of the difference of each kernel from the shared one.
        spectrum: Singular values of the wanted changes, approximately in descending order. Values around zero
            are noise, so the number of the others shows which rank could help. For a layer with several
            kernels, they are those of the differences, and show which rank would be enough.
        coefficients: Coefficients from the gradients, by the name of the parameter, if the suggestion is
            `LowRank`.
        alternatives: Sharings for a layer whose verdict is "relax", including `tried`, from the fewest to
            the most parameters.
    """

    tried: Sharing
    suggestion: Sharing
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
        first = Alternative(tried, count_added(tried, found.map.shape, parameters), None, decision.gain)
        alternatives = sorted((first, *others), key=lambda one: one.extra_parameters) if others else []
        chosen = choose(alternatives, rule) if others else first
        suggestion = chosen.sharing
        return cls(
            name=name,
            **unpack(decision),
            tried=tried,
            suggestion=suggestion,
            parameters=sum(parameters),
            extra_parameters=chosen.extra_parameters,
            map=found.map.double().cpu().numpy(),
            spectrum=found.spectrum,
            coefficients=found.get_coefficients(suggestion) if isinstance(suggestion, LowRank) else {},
            alternatives=tuple(alternatives),
        )

    @classmethod
    def from_restriction(cls, name: str, decision: Decision, restriction: Restriction) -> LayerResult:
        """Return the result for a layer with several kernels."""
        return cls(
            name=name,
            **unpack(decision),
            tried=Full(),
            suggestion=Full(),
            parameters=restriction.parameters,
            extra_parameters=restriction.extra_parameters,
            map=restriction.map.cpu().numpy(),
            spectrum=restriction.spectrum,
            coefficients={},
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
            **super().to_dict(),
            "tried": str(self.tried),
            "suggestion": str(self.suggestion),
            "map": self.map.tolist(),
            "spectrum": list(self.spectrum),
            "alternatives": [one.to_dict() for one in self.alternatives],
        }


def arrange_map(values: np.ndarray) -> np.ndarray:
    """Return a map [*size] as planes [1, depth, rows, columns]."""
    return values.reshape((1,) * (4 - values.ndim) + values.shape)
