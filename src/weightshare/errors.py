"""Exceptions of the package. Each one reports where the error is, what was expected and what was given.

They are subclasses of `WeightshareError`, and therefore of `ValueError`. The parts of the message are also
attributes.
"""

from __future__ import annotations

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
    """Base class of all exceptions of the package.

    The message reads "where: expected, got got; hint."

    Args:
        where: Name of the layer, value, file or command with the error.
        expected: Requirement, as a clause such as "stride must be at least 1".
        got: Description of what was given.
        hint: Way to fix the error, as an imperative; None if it follows from `expected`.
    """

    where: str
    expected: str
    got: str
    hint: str | None

    _separator = ": "

    def __init__(self, where: str, expected: str, got: str, hint: str | None = None):
        ending = "." if hint is None else f"; {hint}" + ("" if hint.endswith("?") else ".")
        super().__init__(f"{where}{self._separator}{expected}, got {got}{ending}")
        self.where, self.expected, self.got, self.hint = where, expected, got, hint

    def __reduce__(self) -> tuple[type[WeightshareError], tuple[str, str, str, str | None]]:
        return type(self), (self.where, self.expected, self.got, self.hint)


def describe_exception(error: BaseException) -> str:
    """Return the type of an exception and the first line of its text, to be quoted in another error.

    For an error of the system, only its cause is returned, and for a syntax error also its place.

    >>> describe_exception(KeyError("width")), describe_exception(AssertionError())
    ("KeyError: 'width'", 'AssertionError')
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    name, text = type(error).__name__, next(iter(str(error).splitlines()), "")
    if isinstance(error, SyntaxError) and error.filename:
        name, text = f"{name} in {error.filename}, line {error.lineno}", error.msg
    return f"{name}: {text}" if text else name


class ArgumentError(WeightshareError):
    """Raised for an invalid argument, such as `kernel_size=0` or a tuple of the wrong length."""


class SharingError(WeightshareError):
    """Raised if a sharing does not fit the output of its layer.

    `where` ends with the sharing, and the message reads "where expected, got got; hint."
    """

    _separator = " "


class ShapeError(WeightshareError, RuntimeError):
    """Raised for a tensor of the wrong rank, channels or size. It is also a `RuntimeError`, as in torch."""


class SpecError(WeightshareError):
    """Raised if the text of a layer, sharing, model or data source cannot be parsed."""


class DataError(WeightshareError):
    """Raised if a data set or checkpoint is missing, corrupt, or of the wrong kind."""


class ConversionError(WeightshareError):
    """Raised if a layer or model cannot be converted as requested."""


class PatternError(WeightshareError):
    """Raised if a pattern is invalid, does not fit in memory, or lacks the requested property."""


class SymmetryError(WeightshareError):
    """Raised if a symmetry cannot be measured on a model."""


class EquivarianceError(SymmetryError, AssertionError):
    """Raised if an asserted symmetry does not hold. It is also an `AssertionError`."""


class TieError(WeightshareError):
    """Raised if weights cannot be tied as requested, or a declared tie does not hold."""


class StudyError(WeightshareError):
    """Raised if a study cannot run, for example because its folder is in use or holds another study."""


class MissingExtraError(WeightshareError, ImportError):
    """Raised if a required package is not installed. It is also an `ImportError`."""

    @classmethod
    def for_package(cls, where: str, package: str, extra: str | None = None) -> MissingExtraError:
        """Return the error for a missing package, with the command that installs it.

        Args:
            where: The command, function or file that needs the package.
            package: Name under which pip installs the package.
            extra: Extra of `weightshare` that includes the package; None if no extra does.
        """
        command = f"pip install {package}" if extra is None else f"pip install '.[{extra}]' in the repository"
        return cls(where, f"needs the package {package}", "no such package", f"run {command}")
