"""Derive for which shifts operations are exact from each of them alone, and verify it on the whole model.

For each axis, a claim is a number: shifts by its multiples are exact. The claim 0 means that only the shift
by 0 is exact, since that is its only multiple.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import gcd, lcm

from ...sharing import Full, Local, LowRank
from .layout import find_smallest_shift
from .match import Match
from .run import Comparison, Run
from .tape import Step

#: Number of elements of an input below which a claim is confirmed on more inputs.
_FEW_ELEMENTS = 1024

#: Multiples of an unexpected claim that are tested.
_CONFIRMED = 8

#: Multiples of the smallest shift that are tried for an axis whose size is not a multiple of it.
_MULTIPLES = 8


@dataclass(frozen=True)
class LocalError:
    """A frozen record of how one operation alone responds to shifts of its inputs.

    Args:
        error: Largest relative error for the smallest shifts along each axis; None if positions cannot be
            followed through the operation.
        claims: For each axis, the claim that this operation alone allows; None if it is unknown.
        borders: For each axis that was measured and has positions, the widths of the border to which errors
            are confined; None if they are not confined to one.
    """

    error: float | None
    claims: tuple[int, ...] | None
    borders: tuple[tuple[int, int], ...] | None

    @property
    def is_exact(self) -> bool:
        """Whether the operation is exact for the smallest shifts."""
        return self.borders == ()


def measure_step(run: Run, step: Step, axes: Sequence[bool]) -> LocalError:
    """Shift the inputs of an operation along each axis in turn, and compare the outputs.

    Args:
        run: Recorded model.
        step: Operation to measure.
        axes: Whether to measure each axis. A claim for another axis is 0.
    """
    outputs = [(place, ref) for place, ref in enumerate(step.outputs) if ref in run.used]
    layouts = [layout for _, ref in outputs if (layout := run.layouts[ref]) is not None]
    if len(layouts) < len(outputs):
        return LocalError(None, None, None)
    smallest = find_smallest_shift([*layouts, *run.mover.find_known(step.inputs).values()], axes)
    errors, claims, borders = [0.0], [0] * len(axes), []
    for axis, step_size in enumerate(smallest):
        if not axes[axis]:
            continue
        if not step_size:  # nothing has positions along this axis
            claims[axis] = 1
        elif step_size % run.size[axis] == 0:
            errors.append(float("inf"))  # the smallest whole shift goes once around the circle
            borders.append(None)
        else:
            matches = (
                _measure_shift(run, step, outputs, axis, pixels, borders=True)
                for pixels in _list_shifts(run, outputs, axis, step_size)
            )
            first = next(matches)
            match = first if not first.is_exact else next((m for m in matches if m.is_exact is False), first)
            if match.error is None:
                return LocalError(None, None, None)
            errors.append(match.error)
            claims[axis] = step_size if match.is_exact else 0
            if not match.is_exact:
                borders.append(match.borders)
                claims[axis] = _find_period(run, step, outputs, axis, step_size, match.borders)
    confined = tuple(pair for found in borders if found is not None for pair in found)
    return LocalError(max(errors), tuple(claims), None if None in borders else confined)


def _list_shifts(run: Run, outputs: Sequence[tuple[int, int]], axis: int, smallest: int) -> range:
    """Return the smallest shift, and some of its multiples if a few outputs may agree by chance."""
    multiples = range(smallest, max(run.size[axis], smallest + 1), smallest)
    is_small = sum(run.shapes[ref].numel() for _, ref in outputs) < _FEW_ELEMENTS
    return multiples[:: 1 + len(multiples) // _CONFIRMED] if is_small else multiples[:1]


def _find_period(
    run: Run, step: Step, outputs: Sequence[tuple[int, int]], axis: int, smallest: int, borders: object
) -> int:
    """Return the first multiple of the smallest shift for which an operation is exact; 0 if there is none."""
    multiples = (times * smallest for times in _list_multiples(step, borders is not None))
    exact = (
        pixels
        for pixels in multiples
        if pixels % run.size[axis] and _measure_shift(run, step, outputs, axis, pixels).is_exact
    )
    return next(exact, 0)


def _measure_shift(
    run: Run,
    step: Step,
    outputs: Sequence[tuple[int, int]],
    axis: int,
    pixels: int,
    *,
    borders: bool = False,
) -> Match:
    """Return the match of the output with the largest error."""
    shift = [pixels if a == axis else 0 for a in range(len(run.size))]
    tensors = run.mover.shift(step.inputs, shift)
    if tensors is None:
        return Match()
    results = step.run(tensors)
    matches = [run.match(ref, results[place], shift, borders=borders) for place, ref in outputs]
    if any(match.error is None for match in matches):
        return Match()
    return max(matches, key=lambda match: (not match.is_exact, match.error))


def _list_multiples(step: Step, has_border: bool) -> range:
    """Return the multiples to try if the smallest shift is not exact, for operations that may be periodic."""
    sharing = getattr(step.module, "sharing", Full())
    if sharing not in (Full(), Local()) and not isinstance(sharing, LowRank):
        return range(2, 1 + max(getattr(step.module, "output_size", None) or (1,)) // 2)
    return range(0) if has_border else range(2, 9)


def combine(before: Sequence[int], own: Sequence[int] | None) -> tuple[int, ...]:
    """Return the claims for two operations, one after the other, of which the second may be unknown."""
    return tuple(before) if own is None else tuple(lcm(a, b) for a, b in zip(before, own))


def is_multiple(shift: Sequence[int], claims: Sequence[int | None]) -> bool:
    """Return whether a shift is exact according to the claims."""
    return all(not s if not claim else s % claim == 0 for s, claim in zip(shift, claims))


@dataclass
class Verifier:
    """Runs a model on shifted inputs, and keeps what the runs have shown.

    Only the run that is in use has the values of its tensors in memory.

    Args:
        runs: The recorded runs that a claim must hold for: on generic inputs, and on the given one.
        more: Runs on more inputs, for claims that are not expected; they are made when they are needed.
    """

    runs: Sequence[Run]
    more: Iterator[Run]
    spare: list[Run] = field(default_factory=list)
    seen: dict[tuple[int, int, int], Comparison] = field(default_factory=dict)  # by run, axis and shift

    def use(self, number: int) -> Run:
        """Return one of the runs, and free the values of all others."""
        run = self._list_runs()[number]
        self.release(run)
        return run

    def release(self, used: Run | None = None) -> None:
        """Free the values of all runs except one."""
        for run in self._list_runs():
            if run is not used:
                run.release()

    def _list_runs(self) -> list[Run]:
        return [*self.runs, *self.spare]

    def compare(self, number: int, axis: int, pixels: int) -> Comparison:
        """Return the comparison of one of the runs for a shift along one axis."""
        key = number, axis, pixels
        if key not in self.seen:
            shift = [pixels if a == axis else 0 for a in range(len(self.runs[0].size))]
            self.seen[key] = self.use(number).compare(shift)
        return self.seen[key]

    def search(self, axis: int, hypothesis: int) -> int:
        """Return the smallest shift along an axis that is exact on the first input; 0 if there is none.

        The hypothesis is tested first. If it fails, the largest shifts are tested: if none is exact, no
        other is. From a shift that is exact, the smaller ones that divide it are tested.
        """
        candidates = self._list_candidates(axis)
        best = hypothesis if hypothesis in candidates and self._holds(0, axis, hypothesis) else 0
        tops = [c for c in candidates if not any(d != c and d % c == 0 for d in candidates)]
        best = best or next((c for c in reversed(tops) if self._holds(0, axis, c)), 0)
        while best:
            below = [c for c in candidates if c < best and best % c == 0]
            below = [c for c in below if not any(d != c and d % c == 0 for d in below)]
            smaller = next((c for c in reversed(below) if self._holds(0, axis, c)), 0)
            if not smaller:
                break
            best = smaller
        return best

    def confirm(self, axis: int, best: int, hypothesis: int) -> int:
        """Return the smallest multiple of the shift that was found that is exact on all inputs; or 0.

        If the hypothesis does not contain it, if it does not divide the size, or if the input is small, it
        may hold by chance, as when no maximum is at the border. It is then confirmed for several multiples
        and on more inputs.
        """
        candidates = self._list_candidates(axis)
        multiples = [c for c in candidates if best and c % best == 0]
        others = range(1, len(self.runs))
        for claim in multiples:
            if all(self._holds(n, axis, claim) for n in (0, *others)):
                is_expected = bool(hypothesis) and claim % hypothesis == 0
                is_round = self.runs[0].size[axis] % claim == 0
                is_likely = is_expected and is_round and self.runs[0].x.numel() >= _FEW_ELEMENTS
                if is_likely or self._holds_for_multiples(axis, claim):
                    return claim
        return 0

    def find_row_claim(self, axis: int, number: int, hypothesis: int) -> int | None:
        """Return the claim for a step: the hypothesis, unless a run has refuted it; None if none was made."""
        results = [
            (pixels, comparison.steps[number].is_exact)
            for (_, a, pixels), comparison in self.seen.items()
            if a == axis
        ]
        shown = {pixels for pixels, is_exact in results if is_exact}
        refuted = {pixels for pixels, is_exact in results if is_exact is False}
        if hypothesis and shown and not any(pixels % hypothesis == 0 for pixels in refuted):
            return hypothesis
        passed = sorted(c for c in shown if not any(pixels % c == 0 for pixels in refuted))
        return passed[0] if passed else 0 if refuted else None

    def _holds(self, number: int, axis: int, pixels: int) -> bool:
        return self.compare(number, axis, pixels).output.is_exact is True

    def _holds_for_multiples(self, axis: int, claim: int) -> bool:
        multiples = range(claim, self.runs[0].size[axis], claim)
        some = multiples[:: 1 + len(multiples) // _CONFIRMED]
        return all(self._holds(n, axis, pixels) for n in self._iter_numbers() for pixels in some)

    def _iter_numbers(self) -> Iterator[int]:
        """Yield the number of each run; the last ones are made first if they do not exist yet."""
        yield from reversed(range(len(self._list_runs())))  # the last run was used before
        for run in self.more:
            self.spare.append(run)
            yield len(self._list_runs()) - 1

    def holds_jointly(self, shift: Sequence[int]) -> bool:
        """Return whether a shift and its multiples leave the output exact, on all inputs."""
        period = lcm(*(n // gcd(s, n) for s, n in zip(shift, self.runs[0].size)))
        multiples = [1, *range(2, period)[:: 1 + period // _CONFIRMED]]
        return all(
            self.use(number).compare([times * s for s in shift]).output.is_exact
            for number in self._iter_numbers()
            for times in (multiples if number < len(self.runs) else multiples[:1])
        )

    def _list_candidates(self, axis: int) -> list[int]:
        """Return the shifts along an axis that are whole numbers of output positions, up to symmetry."""
        run = self.runs[0]
        size, layout = run.size[axis], run.layouts[run.tape.output]
        if layout is None:
            return []
        axes = [a == axis for a in range(len(run.size))]
        smallest = find_smallest_shift([layout], axes)[axis] or 1
        if size % smallest:
            return [smallest * k for k in range(1, _MULTIPLES + 1) if smallest * k < size]
        return [c for c in range(smallest, size, smallest) if size % c == 0]
