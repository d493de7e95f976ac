"""Errors that say what is wrong, where, what was got, what is wanted and the way out.

Every error of the package is a `WeightshareError`, hence a `ValueError`, and carries its parts as attributes.
"""


class WeightshareError(ValueError):
    """Base of every error of the package.

    Args:
        where: The layer, value, file or command at fault.
        wanted: What would have been right, as a phrase that starts after "where: ".
        got: What was given, already as text.
        way_out: What to do instead.
    """

    _joint = ": "

    def __init__(self, where: str, wanted: str, got: str, way_out: str):
        super().__init__(f"{where}{self._joint}{wanted}, got {got}; {way_out}.")
        self.where, self.wanted, self.got, self.way_out = where, wanted, got, way_out

    def __reduce__(self):
        return type(self), (self.where, self.wanted, self.got, self.way_out)


class ArgumentError(WeightshareError):
    """An argument that no input could make right: `kernel_size=0`, a tuple of the wrong length."""


class SharingError(WeightshareError):
    """A sharing that does not fit the output it is used on; `where` ends with the sharing itself."""

    _joint = " "


class ShapeError(WeightshareError, RuntimeError):
    """A tensor of the wrong rank, channel number or size (also a `RuntimeError`, as torch's own)."""


class SpecError(WeightshareError):
    """A layer, sharing or file name written as text that cannot be understood."""


class DataError(WeightshareError):
    """A data set that is missing, corrupt or not what its name says."""


class ConversionError(WeightshareError):
    """A layer or model that cannot be converted as asked."""


class PatternError(WeightshareError):
    """A pattern of connections that does not fit together, does not fit memory, or has not what is asked."""


class SymmetryError(WeightshareError):
    """A symmetry that cannot be measured on a model."""


class EquivarianceError(SymmetryError, AssertionError):
    """A symmetry that was asserted and does not hold (also an `AssertionError`)."""


class TieError(WeightshareError):
    """Weights that cannot be tied as asked, or a declared tie that does not hold."""


class StudyError(WeightshareError):
    """A study that cannot start: its folder is in use, or holds another study."""


class MissingExtraError(WeightshareError, ImportError):
    """A part of the package whose extra is not installed (also an `ImportError`)."""
