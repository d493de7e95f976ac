"""`LayerResult`: what a sharing test found about one layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..sharing import Full, LowRank, Sharing
from ..views.optional import require_matplotlib
from .deviations import Deviations
from .judged import Judged, unpack
from .restricting import Restriction
from .verdict import Decision

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Alternative:
    """A sharing that was not tried.

    Args:
        sharing: The sharing.
        extra_parameters: Number of weights that it adds to the layer.
        share: Part of the wanted changes that it can express, from the gradients.
    """

    sharing: Sharing
    extra_parameters: int
    share: float


@dataclass(frozen=True, eq=False)
class LayerResult(Judged):
    """What another sharing of one layer gains.

    A layer with one kernel is relaxed. One with several kernels is restricted to one, whose gain is usually
    negative: it is minus the cost of sharing.

    Args:
        suggestion: Sharing that was tried; `Full()` for a layer with several kernels.
        map: Where kernels want to differ [*positions]: agreement of both halves of the examples on how the
            kernel should change there. Values around zero are noise. For a layer with several kernels, it is
            the norm of the difference of each kernel from the shared one.
        spectrum: Singular values of these changes, approximately in descending order. Values around zero
            are noise, so the number of the others shows which rank could help. For a layer with several
            kernels, they are those of the differences, and show which rank would be enough.
        coefficients: Coefficients for `LowRank` from the gradients, by the name of the parameter.
        alternatives: Other sharings, which were not tried, for a layer whose verdict is "relax".
    """

    suggestion: Sharing
    map: np.ndarray = field(repr=False)
    spectrum: tuple[float, ...]
    coefficients: Mapping[str, Tensor] = field(repr=False)
    alternatives: tuple[Alternative, ...] = ()

    @classmethod
    def from_parts(
        cls, name: str, decision: Decision, sharing: LowRank, parameters: tuple[int, int], found: Deviations
    ) -> LayerResult:
        """Return the result from a decision and the deviations.

        Args:
            parameters: Number of weights of one kernel, and of the biases.
        """
        kernel, biases = parameters
        size = found.map.shape
        coefficients = sum(int(np.prod(shape)) for shape in sharing.coefficient_shapes(size).values())
        return cls(
            name=name,
            **unpack(decision),
            suggestion=sharing,
            parameters=kernel + biases,
            extra_parameters=sharing.rank * kernel + coefficients,
            map=found.map.double().cpu().numpy(),
            spectrum=found.spectrum,
            coefficients=found.coefficients,
            alternatives=tuple(
                Alternative(other, (other.banks(size) - 1) * kernel, share)
                for other, share in found.shares.items()
                if decision.verdict == "relax"
            ),
        )

    @classmethod
    def from_restriction(cls, name: str, decision: Decision, restriction: Restriction) -> LayerResult:
        """Return the result for a layer with several kernels."""
        return cls(
            name=name,
            **unpack(decision),
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
            "suggestion": str(self.suggestion),
            "map": self.map.tolist(),
            "spectrum": list(self.spectrum),
            "alternatives": [{**vars(one), "sharing": str(one.sharing)} for one in self.alternatives],
        }


def arrange_map(values: np.ndarray) -> np.ndarray:
    """Return a map [*size] as planes [1, depth, rows, columns]."""
    return values.reshape((1,) * (4 - values.ndim) + values.shape)
