"""Exceptions of the package. Each one reports where the error is, what was expected and what was given.

All of them are subclasses of `WeightshareError`, and therefore of `ValueError`, and carry these parts as
attributes.
"""

__all__ = [
    "ArgumentError",
    "ConversionError",
    "DataError",
    "EquivarianceError",
    "MissingExtraError",
    "PatternError",
    "ShapeError",
    "SharingError",
    "SpecError",
    "StudyError",
    "SymmetryError",
    "TieError",
    "WeightshareError",
]


class WeightshareError(ValueError):
    """Base class of the errors of the package.

    The message reads "where: expected, got got; hint."

    Args:
        where: Name of the layer, value, file or command with the error.
        expected: Requirement, as a clause such as "stride must be at least 1".
        got: Description of what was given.
        hint: Way to fix the error, as an imperative; None if it follows from `expected`.
    """

    _separator = ": "

    def __init__(self, where: str, expected: str, got: str, hint: str | None = None):
        ending = "." if hint is None else f"; {hint}" + ("" if hint.endswith("?") else ".")
        super().__init__(f"{where}{self._separator}{expected}, got {got}{ending}")
        self.where, self.expected, self.got, self.hint = where, expected, got, hint

    def __reduce__(self):
        return type(self), (self.where, self.expected, self.got, self.hint)


class ArgumentError(WeightshareError):
    """An invalid constructor or function argument, such as `kernel_size=0` or a tuple of the wrong length."""


class SharingError(WeightshareError):
    """A sharing that does not fit the output of its layer.

    `where` ends with the sharing, and the message reads "where expected, got got; hint."
    """

    _separator = " "


class ShapeError(WeightshareError, RuntimeError):
    """A tensor with the wrong rank, number of channels or size (also a `RuntimeError`, as in torch)."""


class SpecError(WeightshareError):
    """A layer, sharing or file name whose text cannot be parsed."""


class DataError(WeightshareError):
    """A data set or checkpoint that is missing, corrupt, or of another kind than required."""


class ConversionError(WeightshareError):
    """A layer or model that cannot be converted as requested."""


class PatternError(WeightshareError):
    """An invalid pattern, one too large for memory, or one without the requested property."""


class SymmetryError(WeightshareError):
    """A symmetry that cannot be measured on a model."""


class EquivarianceError(SymmetryError, AssertionError):
    """A symmetry that was asserted and does not hold (also an `AssertionError`)."""


class TieError(WeightshareError):
    """Weights that cannot be tied as requested, or a declared tie that does not hold."""


class StudyError(WeightshareError):
    """A study that cannot start because its folder is in use or holds another study."""


class MissingExtraError(WeightshareError, ImportError):
    """A package that is needed but not installed (also an `ImportError`)."""

    @classmethod
    def for_package(cls, where: str, package: str, extra: str | None = None) -> "MissingExtraError":
        """Return the error for a missing package, with the command that installs it.

        Args:
            where: The command, function or file that needs the package.
            package: Name under which pip installs the package.
            extra: Extra of `weightshare` that includes the package; None if no extra does.
        """
        command = f"pip install {package}" if extra is None else f"pip install '.[{extra}]' in the repository"
        return cls(where, f"needs the package {package}", "no such package", f"run {command}")
