"""A recorded model on which shifts are measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..._args import Size, is_sequence
from ..._running import evaluating
from ...pattern.shifts import check_shift
from ..outputs import FLOORS, check_repeatable, get_name, is_close, to_real
from ..transforms import UndefinedError
from .layout import (
    Layout,
    cut_margins,
    drop_margins,
    find_overlap,
    lay_out_input,
    make_fixed,
    orient,
    shift_by_fraction,
    shift_tensor,
)
from .match import Match, compare_elements, compute_error, match_overlap, measure_borders
from .movement import find_layout
from .record import record_forward, run_forward
from .rules import Mover, propagate
from .tape import Step, Tape, has_same_constants
from .turns import Turn, turn_tensor

#: Function from a step and the tensors so far to the results of the step.
Compute = Callable[[Step, Mapping[int, Tensor]], list[Tensor]]

#: Differences up to this many times those that rounding makes count as rounding.
_NOISE_FACTOR = 1e3

#: The largest difference, relative to the numbers that went in, for which the effect of rounding is measured.
_SUSPICIOUS = 1e-8


@dataclass(frozen=True)
class Comparison:
    """A run on a shifted input, compared with the run on the input.

    Args:
        steps: A match for the first output of each step that the model uses.
        output: Match of the output.
        changed: Names of the steps that received other constants than before.
        takes_same_path: Whether the model ran the same operations.
    """

    steps: tuple[Match, ...]
    output: Match
    changed: tuple[str, ...] = ()
    takes_same_path: bool = True


class Run:
    """A recorded model, its input, and the layouts of all tensors.

    The values of the tensors take the most memory. They are computed again when they are needed, and kept
    until `release` is called.

    Args:
        model: Model as it was called.
        tape: Record of `model(x)`, with or without values.
        x: Input [N, C, *spatial].
        output: Output of `model(x)`; None if another run on the same input was compared with it.
        precise: Whether the model was recorded, and is measured, in float64.
        like: Another run of the same operations, in which the layouts were found.
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        tape: Tape,
        x: Tensor,
        output: Tensor | None = None,
        *,
        precise: bool = False,
        like: "Run | None" = None,
    ):
        self.model, self.tape, self.output, self.precise = model, tape, output, precise
        self.x = x.double() if precise else x.clone()
        self.floor = FLOORS.get(self.x.dtype, 1e-5)
        self.shapes = tape.shapes
        self.used = {tape.output, *(ref for step in tape.steps for ref in step.inputs)}
        self.layouts = self._find_layouts() if like is None else like.layouts
        self.is_output_known = self._is_output_known if like is None else like.is_output_known
        self._largest: dict[int, float] = {}
        self._noise: dict[int, float] | None = None
        self._is_running = self._needs_noise = False

    @property
    def size(self) -> torch.Size:
        """Spatial size of the input."""
        return self.x.shape[2:]

    def load(self) -> None:
        """Compute the values of all tensors, unless they are kept.

        Raises:
            SymmetryError: If the output differs from that of the first run.
        """
        if self.tape.values:
            return
        tape, output = record_forward(self.model, self.x, precise=self.precise, like=self.tape)
        if self.output is not None:
            check_repeatable(
                get_name(self.model),
                self.output,
                output,
                lambda: find_random_step(self.model, self.x, self.precise),
            )
            self.output = None
        self.tape.values.update(tape.values)

    def release(self) -> None:
        """Free the memory of the values."""
        self.tape.values.clear()

    def _find_layouts(self) -> dict[int, Layout | None]:
        self.load()
        tape, values = self.tape, self.tape.values
        layouts: dict[int, Layout | None] = {tape.input: lay_out_input(self.x.shape)}
        self.mover = Mover(layouts, values)
        for step in tape.steps:
            found = propagate(step, self.mover, self.size, self.floor)
            layouts.update(zip(step.outputs, found))
        layout = layouts[tape.output]
        if layout is None or (len(layout) > 2 and not self.mover.is_certain(tape.output)):
            layout = self._measure_output()
        self._is_output_known = layout is not None
        if layout is None and tape.values[tape.output].dim() <= 2:  # no positions: it should not change
            layout = tuple(map(make_fixed, tape.values[tape.output].shape))
        layouts[tape.output] = layout
        if layout is not None and tape.output != tape.input:  # the output is a map of its own
            layouts[tape.output] = orient(drop_margins(layout, halos=True))
        return layouts

    def _measure_output(self) -> Layout | None:
        """Find the layout of the output from the whole model, where operations could not be followed."""
        value = self.tape.values[self.tape.output]

        def compute(axis: int, shift: int) -> Tensor | None:
            by = [shift if a == axis else 0 for a in range(len(self.size))]
            output = self.forward(shift_tensor(lay_out_input(self.x.shape), self.x, by))
            return output if output.shape == value.shape else None

        layout = find_layout(value, compute, self.size, [1] * len(self.size), self.floor, multiples=(1, 2, 4))
        has_moved = layout is not None and any(dim.moves for dim in layout)
        return layout if has_moved or value.dim() <= 2 else None  # it may have positions that look the same

    def forward(self, x: Tensor) -> Tensor:
        """Run the model in the precision in which it was recorded."""
        return run_forward(self.model, x, precise=self.precise)

    def shift(self, ref: int, tensor: Tensor, shift: Sequence[int]) -> Tensor | None:
        """Shift a tensor in the way that a shift of the input would; None if that is unknown or undefined."""
        layout = self.layouts[ref]
        try:
            return None if layout is None else shift_tensor(layout, tensor, shift)
        except UndefinedError:
            return None

    def turn(self, ref: int, tensor: Tensor, turn: Turn) -> Tensor | None:
        """Turn a tensor in the way that a turn of the input would; None if that is unknown or undefined."""
        layout = self.layouts[ref]
        try:
            return None if layout is None else turn_tensor(layout, tensor, turn)
        except UndefinedError:
            return None

    def compare(
        self, shift: Sequence[int], *, borders: bool = False, entering: Generator | None = None
    ) -> Comparison:
        """Run the model on a shifted input, and compare every recorded operation's output.

        Args:
            shift: Shift of the input, in pixels.
            borders: Whether to find the borders to which differences are confined.
            entering: Random generator of the pixels that enter the picture, as in a moved crop. By default,
                those that leave at the other end enter it, and are compared.
        """
        shifted = shift_tensor(lay_out_input(self.x.shape), self.x, shift)
        if entering is not None:
            shifted = _fill_entering(shifted, shift, entering)
        overlap = None if entering is None else tuple(shift)

        def match(ref: int, got: Tensor) -> Match:
            return self.match(ref, got, shift, borders=borders, overlap=overlap is not None)

        return self._compare(shifted, match)

    def compare_turned(self, turn: Turn) -> Comparison:
        """Run the model on a turned input, and compare every recorded operation's output."""
        turned = turn_tensor(lay_out_input(self.x.shape), self.x, turn)
        return self._compare(turned, lambda ref, got: self.match_turned(ref, got, turn))

    def match_turned(self, ref: int, got: Tensor, turn: Turn) -> Match:
        """Compare a tensor for a turned input with the turned tensor."""
        expected = self.turn(ref, self.tape.values[ref], turn)
        if expected is None or expected.shape != got.shape:
            return Match()
        return Match(compute_error(got, expected), self._get_limit(ref, expected, got) is None)

    def _compare(self, x: Tensor, match: Callable[[int, Tensor], Match]) -> Comparison:
        """Run the model on another input, and match each tensor as soon as it is computed."""
        self.load()
        steps, last = self.tape.steps, self.tape.output
        wanted = {last, *map(self.get_output, steps)}
        found: dict[int, Match] = {}
        unclear: dict[int, Tensor] = {}

        def observe(number: int, tensor: Tensor) -> None:
            if number in wanted:
                self._needs_noise = False
                found[number] = match(number, tensor)
                if self._needs_noise:
                    unclear[number] = tensor.clone()

        self._is_running = True
        try:
            tape, output = record_forward(
                self.model, x, precise=self.precise, like=self.tape, observe=observe
            )
        finally:
            self._is_running = False
        if [(s.name, s.op) for s in tape.steps] != [(s.name, s.op) for s in steps]:
            is_tensor = isinstance(output, Tensor)
            return Comparison(
                (Match(),) * len(steps), match(last, output) if is_tensor else Match(), takes_same_path=False
            )
        found.update({number: match(number, tensor) for number, tensor in unclear.items()})
        matches = tuple(found.get(self.get_output(step), Match()) for step in steps)
        changed = tuple(
            step.name for step, other in zip(steps, tape.steps) if not has_same_constants(step, other)
        )
        return Comparison(matches, found.get(last, Match()), changed)

    def get_output(self, step: Step) -> int:
        """Return the number of the first output of a step that the model uses."""
        return next(ref for ref in step.outputs if ref in self.used)

    def match(
        self, ref: int, got: Tensor, shift: Sequence[int], *, borders: bool = False, overlap: bool = False
    ) -> Match:
        """Compare a tensor for a shifted input with the shifted tensor.

        Args:
            ref: Number of the tensor on the tape.
            got: Tensor for the shifted input.
            shift: Shift of the input, in pixels.
            borders: Whether to find the borders to which differences are confined.
            overlap: Whether to compare only the positions that did not wrap around.
        """
        value, layout = self.tape.values[ref], self.layouts[ref]
        if layout is None or got.shape != value.shape:
            return Match()
        expected = self.shift(ref, value, shift)
        if expected is None:
            moved = shift_by_fraction(layout, value, shift)
            return Match(fractional=None if moved is None else compute_error(cut_margins(layout, got), moved))
        got, expected = cut_margins(layout, got), cut_margins(layout, expected)
        limit = self._get_limit(ref, expected, got)
        plain = drop_margins(layout, margins=False)
        if overlap:
            return match_overlap(plain, got, expected, shift, 0.0 if limit is None else limit)
        found = None
        if borders:
            found = () if limit is None else measure_borders(plain, got, expected, shift, limit)
        return Match(compute_error(got, expected), limit is None, found)

    def _get_limit(self, ref: int, expected: Tensor, got: Tensor) -> float | None:
        """Return the largest difference that rounding explains; None if it explains all differences."""
        if torch.equal(got, expected):
            return None
        difference, largest = compare_elements(got, expected)
        worst, limit = difference.max().item(), self.floor * largest
        if worst <= limit:
            return None
        if worst <= _SUSPICIOUS * self._get_largest(ref):
            if self._noise is None and self._is_running:  # a model is not run inside of another run
                self._needs_noise = True
                return limit
            limit = max(limit, _NOISE_FACTOR * self._get_noise(ref))
        return None if worst <= limit else limit

    def _get_largest(self, ref: int) -> float:
        """Return the largest finite number that was computed up to a tensor."""
        if not self._largest:
            largest = 0.0
            for number, value in sorted(self.tape.values.items()):
                if value.numel():
                    largest = max(largest, to_real(value).abs().nan_to_num(posinf=0.0).max().item())
                self._largest[number] = largest
        return self._largest[ref]

    def _get_noise(self, ref: int) -> float:
        """Return by how much a tensor changes if each operation rounds differently."""
        if self._noise is None:
            generator = Generator(self.x.device).manual_seed(0)
            noise: dict[int, float] = {}

            def observe(number: int, tensor: Tensor) -> None:
                value = self.tape.values.get(number)
                if value is not None and value.shape == tensor.shape and value.numel():
                    noise[number] = compare_elements(tensor, value)[0].max().item()

            record_forward(
                self.model,
                self.x,
                precise=self.precise,
                rounding=generator,
                like=self.tape,
                observe=observe,
            )
            self._noise = noise
        return self._noise.get(ref, 0.0)

    def measure(self, shift: Sequence[int]) -> float | None:
        """Return the relative error of the model's output; None if the shift is undefined there."""
        with evaluating(self.model):
            return self._measure(self.forward, shift)

    def measure_replay(self, shift: Sequence[int], instead: Mapping[str, Compute]) -> float | None:
        """Return the relative error of the output after replacing some operations, given by name."""
        with evaluating(self.model):
            return self._measure(lambda x: self.tape.replay(x, instead), shift)

    def _measure(self, model: Callable[[Tensor], Tensor], shift: Sequence[int]) -> float | None:
        expected = self.shift(self.tape.output, model(self.x).clone(), shift)
        if expected is None:
            return None
        shifted = shift_tensor(lay_out_input(self.x.shape), self.x, shift)
        return compute_error(model(shifted), expected)


def _fill_entering(shifted: Tensor, shift: Sequence[int], generator: Generator) -> Tensor:
    """Replace what wrapped around by random values in the range of the picture."""
    low, high = shifted.min(), shifted.max()
    new = torch.rand(shifted.shape, generator=generator, device=shifted.device, dtype=shifted.dtype)
    keep = find_overlap(lay_out_input(shifted.shape), shift)
    new = new * (high - low) + low
    new[keep] = shifted[keep]
    return new


def parse_shift(shift: Size, x: Tensor) -> tuple[int, ...]:
    """Return one shift per spatial axis of `x`; a shift of a whole axis or more is taken modulo its size."""
    axes = x.dim() - 2
    given = shift if is_sequence(shift) else (shift,) * axes
    steps = check_shift("trace_equivariance", "shift", given, axes)
    return tuple(s if abs(s) < n else s % n for s, n in zip(steps, x.shape[2:]))


def find_random_step(model: Callable[[Tensor], Tensor], x: Tensor, precise: bool) -> str | None:
    """Return the name of the first operation whose output differs in two runs, if there is one."""
    (one, _), (other, _) = (record_forward(model, x, precise=precise) for _ in range(2))
    names = (
        step.name
        for step, again in zip(one.steps, other.steps)
        if not is_close(one.values[step.outputs[0]], other.values[again.outputs[0]])
    )
    return next(names, None)
