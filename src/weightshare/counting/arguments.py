"""The arguments of a layer by name, checked where they are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._args import check_per_axis, is_sequence
from ..errors import ArgumentError, ShapeError, SpecError
from .block import Block, Shape, format_shape
from .formulas import Parameters
from .sizes import check_number
from .terms import Term
from .words import Form


@dataclass(frozen=True)
class Arguments:
    """The arguments of a layer.

    Args:
        form: Form of the layer.
        given: Value of each argument that was given.
    """

    form: Form
    given: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Class of the layer."""
        return self.form.torch_name

    def get(self, word: str) -> Any:
        """Return a value as given, or its default."""
        return self.given.get(word, self.form.defaults.get(word))

    def read_number(self, word: str) -> int:
        """Return an integer of at least 1."""
        return check_number(self.name, word, self.get(word))

    def read_optional_number(self, word: str) -> int | None:
        """Return an integer of at least 1, or None."""
        return None if self.get(word) is None else self.read_number(word)

    def read_flag(self, word: str) -> bool:
        """Return a boolean."""
        value = self.get(word)
        if not isinstance(value, bool):
            raise ArgumentError(self.name, f"{word} must be True or False", repr(value))
        return value

    def read_choice(self, word: str, choices: tuple[str, ...]) -> str:
        """Return one of the given texts, in lower case."""
        value = self.get(word)
        if not isinstance(value, str) or value.lower() not in choices:
            raise ArgumentError(self.name, f"{word} must be {' or '.join(map(repr, choices))}", repr(value))
        return value.lower()

    def read_axes(self, word: str, ndim: int, least: int = 1) -> tuple[int, ...]:
        """Return one integer per axis."""
        return check_per_axis(self.name, word, self.get(word), ndim, least)

    def read_sizes(self, word: str) -> tuple[int, ...]:
        """Return integers of at least 1, of which there is at least one."""
        value = self.get(word)
        values = value if is_sequence(value) else (value,)
        if not values:
            raise ArgumentError(self.name, f"{word} must have at least one entry", repr(value))
        return tuple(check_number(self.name, f"{word}[{i}]", n) for i, n in enumerate(values))

    def check_axes(self, shape: Shape | None, *lengths: int) -> None:
        """Raise `ShapeError` if the size of the input has another number of axes."""
        if shape is not None and len(shape) not in lengths:
            order = "with the channels last" if self.form.is_keras else "with the channels first"
            expected = " or ".join(map(str, lengths))
            raise ShapeError(
                self.name,
                f"the input must have {expected} axes without the batch"
                + (f", {order}" if max(lengths) > 2 else ""),
                format_shape(shape),
            )

    def check_size(self, shape: Shape | None, axis: int, word: str, size: int) -> None:
        """Raise `ShapeError` if an axis of the input has another size than the argument `word`."""
        if shape is not None and shape[axis] not in (None, size):
            raise ShapeError(
                self.name,
                f"the input must have {word}={size}",
                f"{shape[axis]} from input {format_shape(shape)}",
            )

    def read_features(self, shape: Shape | None, axis: int = -1) -> int:
        """Return the size of an axis of the input, which Keras infers."""
        if shape is None or not shape or shape[axis] is None:
            raise SpecError(
                self.name,
                "needs the number of input features, which Keras infers from the input",
                "no input size" if shape is None else f"input {format_shape(shape)}",
                "pass input_size (--input on the command line), with the features last",
            )
        return int(shape[axis] or 0)

    def build(
        self,
        shape: Shape | None,
        output: Shape | None,
        parameters: Parameters | None = None,
        lines: tuple[str, ...] = (),
    ) -> Block:
        """Return the layer with its parameters and its size of output."""
        terms = tuple(Term(name, factors) for name, factors in (parameters or {}).items())
        if not terms:
            lines = ("This layer has no parameters.", *lines)
        return Block(self.format(), terms, shape, output, lines)

    def format(self) -> str:
        """Return the layer as a call, without arguments that do not affect counts."""
        values = {word: value for word, value in self.given.items() if word in self.form.words}
        positional = [repr(values[word]) for word in self.form.required if word in values]
        named = [
            f"{word}={values[word]!r}"
            for word, default in self.form.defaults.items()
            if word in values and values[word] != default
        ]
        return f"{self.name}({', '.join([*positional, *named])})"
