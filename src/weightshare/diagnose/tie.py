"""`TieResult`: what a sharing test found about one tie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from .judged import Judged, unpack
from .ties import Tied
from .verdict import Decision


@dataclass(frozen=True, eq=False)
class TieResult(Judged):
    """What untying parameters gains: each use then has a copy of its own.

    The verdict "relax" means to untie them. A tie has the name that owns its first parameter, as in
    `find_tied_weights`. Parameters that the same modules share, such as a weight and a bias, are one tie.

    Args:
        names: Names of each parameter under which the model uses it. The first one keeps the parameter.
    """

    names: tuple[tuple[str, ...], ...]

    @classmethod
    def from_parts(cls, decision: Decision, tied: Tied, model: nn.Module) -> TieResult:
        """Return the result from a decision."""
        parameters, extra = tied.count(model)
        return cls(
            name=tied.name,
            **unpack(decision),
            parameters=parameters,
            extra_parameters=extra,
            names=tuple(parameter.names for parameter in tied.parameters),
        )

    @property
    def suggestion(self) -> str:
        """What was tried, which is "untie"."""
        return "untie"

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names that get parameters of their own if the verdict is "relax"."""
        return tuple(name for names in self.names for name in names[1:])

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {**super().to_dict(), "suggestion": self.suggestion, "names": list(map(list, self.names))}
