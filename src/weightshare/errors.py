"""The errors of the package. Each one names what is wrong and where, what was expected and what was given.

Every error is a `WeightshareError`, and therefore a `ValueError`, and carries its parts as attributes.
"""


class WeightshareError(ValueError):
    """Base class of the errors of the package.

    The message reads "where: expected, got got; hint."

    Args:
        where: The layer, value, file or command at fault.
        expected: What is required, as a clause that continues "where: ".
        got: What was given, as text.
        hint: How to fix it, if that does not follow from `expected`.
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
    """A sharing that does not fit the output it is used on; `where` ends with the sharing."""

    _separator = " "


class ShapeError(WeightshareError, RuntimeError):
    """A tensor with the wrong rank, number of channels or size (also a `RuntimeError`, as in torch)."""


class SpecError(WeightshareError):
    """A layer, sharing or file name whose text cannot be parsed."""


class DataError(WeightshareError):
    """A data set that is missing, corrupt, or not of the named kind."""


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
            package: Name of the package, as pip knows it.
            extra: The extra of `weightshare` that contains it; None to install the package alone.
        """
        command = f"pip install {package}" if extra is None else f"pip install '.[{extra}]' in the repository"
        return cls(where, f"needs the package {package}", "no such package", f"run {command}")
