"""The statements of a trace hold on random networks, by brute force over all circular shifts.

`python -m tests.symmetry.test_trace_fuzz NUMBER [FIRST]` checks more of them and prints the figures.
"""

import copy
import itertools
import random
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd

import pytest
import torch
from torch import Tensor

import weightshare as ws
from tests.helpers.random_networks import Network, Recipe, build, draw, shrink
from weightshare.symmetry import EquivarianceTrace

_EXACT = 1e-9  # largest relative error of an exact shift
_NETWORKS = 100  # a part of those that `main` checks
_TINY = 1e-100  # numbers whose squares are 0
_ROUNDING = 1e-12  # largest relative error that may be due to rounding alone
_NOISE = 1e-11  # networks in which rounding has a larger effect are left out
_JOINT_SHIFTS = 12
_MORE = 300  # inputs that confirm what five do not refute


class BruteForce:
    """Runs a network in float64 on shifts of its input, and of other inputs."""

    def __init__(self, network: Network):
        self.network = network
        self.model = copy.deepcopy(network.model).double()
        x = network.x.double()
        scale = x.std() if x.std() > 0 else 1.0
        generator = torch.Generator().manual_seed(1)
        others = torch.randn((4, *x.shape), generator=generator, dtype=torch.float64)
        largest = x.abs().max()
        self.inputs = [
            *(x, x.mean() + scale * others[0], 0.3 * others[1], 0.1 * largest * others[2]),
            -largest * others[3].abs(),
        ]
        self.outputs = [self.run(x) for x in self.inputs]
        self.errors: dict[tuple[int, ...], list[float | None]] = {}

    @property
    def size(self) -> torch.Size:
        return self.network.x.shape[2:]

    @torch.no_grad()
    def run(self, x: Tensor) -> Tensor:
        return self.model(x.clone())

    def is_well_conditioned(self) -> bool:
        """Return whether the outputs are finite, and hardly changed by rounding errors in the input."""
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            if not self.network.model(self.network.x.clone()).isfinite().all():
                return False
        for x, output in zip(self.inputs, self.outputs):
            if not output.isfinite().all() or 0 < output.abs().max() < _TINY:
                return False
            for _ in range(2):
                noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
                if not compute_error(self.run(x + 1e-15 * x.abs().max() * noise), output) < _NOISE:
                    return False
        return True

    def depends_on_input(self) -> bool:
        return any(not torch.equal(output, self.outputs[0]) for output in self.outputs)

    def measure(self, shift: Sequence[int]) -> list[float | None]:
        """Return the relative error of the output for each of the inputs; None if the shift is undefined."""
        shift = tuple(shift)
        if shift not in self.errors:
            self.errors[shift] = []
            for x, output in zip(self.inputs, self.outputs):
                expected = self.network.shift_output(output, shift)
                got = None if expected is None else self.run(torch.roll(x, shift, tuple(range(2, x.dim()))))
                self.errors[shift].append(None if expected is None else compute_error(got, expected))
        return self.errors[shift]

    def is_exact(self, shift: Sequence[int], limit: float = _EXACT) -> bool:
        return all(error is not None and error < limit for error in self.measure(shift))

    def is_exact_on_more(self, shift: Sequence[int]) -> bool:
        """Return whether a shift is exact for more inputs, of several sizes."""
        generator = torch.Generator().manual_seed(3)
        x = self.network.x.double()
        for number in range(_MORE):
            other = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            other *= x.abs().max() * 0.1 * (1 + number % 10)
            expected = self.network.shift_output(self.run(other), shift)
            got = self.run(torch.roll(other, tuple(shift), tuple(range(2, x.dim()))))
            if expected is None or not compute_error(got, expected) < _EXACT:
                return False
        return True

    def along(self, axis: int, pixels: int) -> tuple[int, ...]:
        return tuple(pixels if a == axis else 0 for a in range(len(self.size)))

    def list_wrong_multiples(self, axis: int, number: int) -> list[int]:
        """Return the multiples of a shift along an axis that are not exact."""
        multiples = range(number, self.size[axis], number)
        return [pixels for pixels in multiples if not self.is_exact(self.along(axis, pixels))]

    def closes(self, axis: int) -> bool:
        """Return whether the positions of the output along an axis close the circle of the input."""
        factors = [factor for dim in self.network.output for factor in dim.factors if factor.axis == axis]
        return all(
            factor.size == 1 or (self.size[axis] / factor.stride).denominator == 1 for factor in factors
        )

    def is_chance(self, axis: int, pixels: int) -> bool:
        """Return whether a shift is exact for these inputs only: its multiples are not, around the circle."""
        size = self.size[axis]
        return self.closes(axis) and bool(self.list_wrong_multiples(axis, gcd(pixels, size)))

    def find_smallest(self, axis: int) -> int:
        """Return the smallest shift along an axis all of whose multiples are exact; 0 if there is none."""
        numbers = [n for n in range(1, self.size[axis]) if not self.closes(axis) or self.size[axis] % n == 0]
        return next((n for n in numbers if not self.list_wrong_multiples(axis, n)), 0)


@dataclass
class Result:
    """What the check of one network found."""

    faults: list[str] = field(default_factory=list)
    is_followed: bool = False
    is_largest: bool = False
    is_left_out: bool = False
    claims: tuple = ()
    truth: tuple = ()


def compute_error(got: Tensor, expected: Tensor) -> float:
    difference, length = (got - expected).norm().item(), expected.norm().item()
    return difference / length if length else (float("inf") if difference else 0.0)


def check(network: Network) -> Result:
    """Trace a network, and compare all statements with brute force."""
    brute = BruteForce(network)
    if not brute.is_well_conditioned() or not brute.depends_on_input():
        return Result(is_left_out=True)
    before = copy.deepcopy(network.model.state_dict()), network.x.clone()
    try:
        trace = ws.trace_equivariance(network.model, network.x, network.recipe.shift)
        verdict = trace.verdict, str(trace), trace.to_dict()
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Result([f"{type(error).__name__} at {where.name}: {error}"])
    after = network.model.state_dict(), network.x
    result = Result(_list_faults(trace, verdict[0], brute), trace.followed)
    if not torch.equal(before[1], after[1]) or any(
        not torch.equal(tensor, after[0][name]) for name, tensor in before[0].items()
    ):
        result.faults.append("the model or the input was changed")
    examined = [axis for axis, shift in enumerate(trace.shift) if shift]
    result.truth = tuple(
        brute.find_smallest(axis) if axis in examined else None for axis in range(len(brute.size))
    )
    result.claims = trace.exact_along
    result.is_largest = result.claims == result.truth
    return result


def _list_faults(trace: EquivarianceTrace, verdict: str, brute: BruteForce) -> list[str]:
    faults: list[str] = []
    for axis, number in enumerate(trace.exact_along or ()):
        wrong = brute.list_wrong_multiples(axis, number) if number else []
        if wrong:
            errors = brute.measure(brute.along(axis, wrong[0]))
            faults.append(f"exact_along {trace.exact_along}: {wrong} along axis {axis} have errors {errors}")
    if trace.exact_for is not None and not faults:
        multiples = [range(0, n, by) if by else [0] for n, by in zip(brute.size, trace.exact_for)]
        shifts = [*itertools.product(*multiples)]
        for shift in random.Random(0).sample(shifts, min(_JOINT_SHIFTS, len(shifts))):
            if not brute.is_exact(shift):
                faults.append(f"exact_for {trace.exact_for}: {shift} has errors {brute.measure(shift)}")
                break
    error = brute.measure(trace.shift)[0]
    is_known = trace.exact_along is not None or trace.error is not None
    if is_known and not brute.network.has_lost_positions and not _is_same(trace.error, error):
        faults.append(f"error {trace.error}, by brute force {error}")
    if "preserved end to end" in verdict and not (error is not None and error < _EXACT):
        faults.append(f"'preserved end to end', but the error is {error}")
    if "first lost" in verdict and error is not None and error < _ROUNDING:
        faults.append(f"'first lost', but the error is {error}")
    if "no shift is preserved" in verdict:
        exact = [
            (axis, pixels)
            for axis, shift in enumerate(trace.shift)
            for pixels in (range(1, brute.size[axis]) if shift else ())
            if brute.is_exact(brute.along(axis, pixels), _ROUNDING)
            and not brute.is_chance(axis, pixels)
            and brute.is_exact_on_more(brute.along(axis, pixels))
        ]
        if exact:
            faults.append(f"'no shift is preserved', but (axis, pixels) {exact} are exact")
    return faults


def _is_same(error: float | None, expected: float | None) -> bool:
    return (
        error == expected
        if None in (error, expected)
        else error == pytest.approx(expected, rel=1e-9, abs=1e-12)
    )


def check_recipe(recipe: Recipe) -> Result | None:
    network = build(recipe)
    return None if network is None else check(network)


@pytest.fixture(scope="module")
def results():
    """Results for the first networks, by seed, with the names of their operations."""
    networks = {seed: build(draw(seed)) for seed in range(_NETWORKS)}
    return {seed: (network.used, check(network)) for seed, network in networks.items() if network is not None}


def test_no_statement_about_random_networks_is_false(results):
    for seed, (_, result) in results.items():
        assert not result.faults, f"{result.faults} of seed {seed}:\n{build(draw(seed)).program}"


def test_random_networks_are_followed_and_claims_are_as_large_as_the_truth(results):
    checked = [result for _, result in results.values() if not result.is_left_out]
    followed = [result for result in checked if result.is_followed]
    assert len(checked) > 0.9 * _NETWORKS
    assert len(followed) >= 0.95 * len(checked)
    assert sum(result.is_largest for result in followed) >= 0.95 * len(followed)
    assert sum(any(result.truth) for result in checked) > 0.4 * len(checked)


def test_random_networks_contain_many_kinds_of_operations(results):
    assert len({name for used, _ in results.values() for name in used}) > 100


def _shrink(recipe: Recipe, kind: str) -> Recipe:
    """Return the smallest recipe found that has a fault of the same kind."""

    def is_faulty(smaller: Recipe) -> bool:
        result = check_recipe(smaller)
        return result is not None and any(fault.startswith(kind) for fault in result.faults)

    return shrink(recipe, is_faulty)


def main(number: int, first: int = 0) -> None:
    """Check many networks, and print the smallest programs of those with faults and the figures."""
    warnings.simplefilter("ignore")
    figures, used = Counter(), Counter()
    for seed in range(first, first + number):
        recipe = draw(seed)
        network = build(recipe)
        result = None if network is None else check(network)
        if result is None or result.is_left_out:
            figures["left out"] += 1
            continue
        used.update(network.used)
        figures["networks"] += 1
        figures["with a false statement"] += bool(result.faults)
        figures["followed"] += result.is_followed
        figures["followed, with exact shifts as large as the truth"] += (
            result.is_followed and result.is_largest
        )
        figures["with exact shifts"] += any(result.truth)
        if result.faults:
            print(f"\nseed {seed}:", *result.faults, sep="\n    ")
            small = _shrink(recipe, result.faults[0][:12])
            print(*check_recipe(small).faults, build(small).program, f"# shift {small.shift}", sep="\n")
        elif not result.is_followed:
            print(f"seed {seed} is not followed: {network.used}")
        elif not result.is_largest:
            print(f"seed {seed}: claims {result.claims}, true {result.truth}: {network.used}")
    print(*(f"{name}: {count}" for name, count in figures.items()), f"kinds: {len(used)}", sep="\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
