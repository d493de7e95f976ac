"""Check the statements of a trace by brute force: the model in float64, and `torch.roll`."""

import copy
from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor, nn

#: Differences up to this, relative to the largest element, are rounding.
ROUNDING = 1e-11
#: Relative disagreement of two errors that is allowed.
AGREEMENT = 1e-6

#: For each dimension that moves: the input axis, and the number of input pixels per position.
Moves = dict[int, tuple[int, Fraction]]


class BruteForce:
    """A model in float64 with the outputs of its modules, and how each of them should move.

    Args:
        model: Model; it is copied.
        x: Input [N, C, *spatial].
        stride: Input pixels per position of the deepest map.
        tokens_after: Number of tokens without a position, in models that turn maps into sequences; None for
            other models.
    """

    def __init__(self, model: nn.Module, x: Tensor, stride: int, tokens_after: int | None):
        self.model = copy.deepcopy(model).double().eval()
        self.stride, self.tokens_after = stride, tokens_after
        self.size = x.shape[2:]
        other = torch.randn(x.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        self.inputs = [x.double(), other]
        self.expected = [self.run(each) for each in self.inputs]
        self.moves = {name: self.find_moves(tensor) for name, tensor in self.expected[0].items()}

    @torch.no_grad()
    def run(self, x: Tensor) -> dict[str, Tensor]:
        """Return the outputs of all calls of modules, by name, as in "relu (2)"; that of the model is ""."""
        outputs: dict[str, Tensor] = {}
        calls: dict[str, int] = {}

        def keep(name: str, output: object) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(output, Tensor):
                outputs[name if calls[name] == 1 else f"{name} ({calls[name]})"] = output.clone()

        hooks = [
            module.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
            for name, module in self.model.named_modules()
        ]
        self.model(x.clone())
        for hook in hooks:
            hook.remove()
        return outputs

    def find_moves(self, tensor: Tensor) -> Moves | None:
        """Return how a tensor should move: a map, a sequence, or numbers; None if unclear."""
        axes = len(self.size)
        if tensor.dim() == 2:
            return {}
        if self.tokens_after is not None and tensor.dim() == 3 and len(tensor) == 1:
            if axes == 1:  # [N, C, T] or [N, T, C]: the length fits the stride better than the channels
                fits = {d: self._list_moves((tensor.shape[d],), d) for d in (1, 2)}
                return min(fits.values(), key=lambda moves: self._find_misfit(moves, tensor))
            tensor = self.split_tokens(tensor)
            return None if tensor is None else self._list_moves(tensor.shape[1:-1], 1)
        if axes == 2 and tensor.dim() == 4 and tensor.shape[1] == tensor.shape[2] != tensor.shape[3]:
            return self._list_moves(tensor.shape[1:3], 1)  # channels last
        if tensor.dim() == axes + 2 or (axes == 3 and tensor.dim() == 4):
            return self._list_moves(tensor.shape[2:], 2, axes - (tensor.dim() - 2))
        return None

    def split_tokens(self, tensor: Tensor) -> Tensor | None:
        """Return tokens [N, T, C] as [N, *grid, C], without those that have no position."""
        assert self.tokens_after is not None
        tokens = tensor[:, self.tokens_after :]
        side = round(tokens.shape[1] ** 0.5)
        return tokens.unflatten(1, (side, side)) if side**2 == tokens.shape[1] else None

    def _list_moves(self, sizes: tuple[int, ...], first: int, first_axis: int = 0) -> Moves:
        moves: Moves = {}
        for place, n in enumerate(sizes):
            axis = first_axis + place
            if n > 1:
                ratio = Fraction(self.size[axis], n)
                whole = [Fraction(k) for k in range(1, self.stride + 1) if self.stride % k == 0]
                near = min(whole, key=lambda stride: abs(stride - ratio))
                moves[first + place] = axis, ratio if ratio in whole or ratio < 1 else near
        return moves

    def _find_misfit(self, moves: Moves, tensor: Tensor) -> float:
        """Return how far the strides are from the ratios of the sizes."""
        return max(
            abs(self.size[axis] / tensor.shape[dim] / stride - 1) for dim, (axis, stride) in moves.items()
        )

    def shift_input(self, x: Tensor, shift: tuple[int, ...]) -> Tensor:
        """Shift an input on the circle."""
        return torch.roll(x, shift, tuple(range(2, x.dim())))

    def shift_output(self, name: str, tensor: Tensor, shift: tuple[int, ...]) -> Tensor | None:
        """Shift the output of a module; None if the shift is a fraction of a position."""
        moves = self.moves[name]
        assert moves is not None
        steps = {dim: Fraction(shift[axis]) / stride for dim, (axis, stride) in moves.items()}
        if any(step.denominator > 1 for step in steps.values()):
            return None
        if self.tokens_after is None or tensor.dim() != 3 or len(self.size) == 1:
            return (
                torch.roll(tensor, [int(step) for step in steps.values()], tuple(steps)) if steps else tensor
            )
        head, grid = tensor[:, : self.tokens_after], self.split_tokens(tensor)
        assert grid is not None
        moved = torch.roll(grid, [int(step) for step in steps.values()], tuple(steps))
        return torch.cat([head, moved.flatten(1, -2)], 1)

    def measure(self, shift: tuple[int, ...], number: int = 0) -> dict[str, tuple[float, bool] | None]:
        """Return for each module the relative error of its output, and whether it is exact.

        Args:
            shift: Shift of the input, in pixels.
            number: Which input: the given one, or another one.
        """
        got = self.run(self.shift_input(self.inputs[number], shift))
        results: dict[str, tuple[float, bool] | None] = {}
        for name, tensor in self.expected[number].items():
            if self.moves[name] is None:
                continue
            expected = self.shift_output(name, tensor, shift)
            if expected is None:
                results[name] = None
                continue
            difference = got[name] - expected
            largest = expected.abs().max()
            results[name] = (
                float(difference.norm() / expected.norm()),
                bool(difference.abs().max() <= ROUNDING * largest),
            )
        return results

    @torch.no_grad()
    def measure_output(self, model: nn.Module, shift: tuple[int, ...]) -> float:
        """Return the relative error of the output of another model in float64."""
        expected = self.shift_output("", model(self.inputs[0].clone()), shift)
        assert expected is not None
        got = model(self.shift_input(self.inputs[0], shift))
        return float((got - expected).norm() / expected.norm())

    def find_exact_shifts(self, axis: int) -> dict[str, set[int]]:
        """Return for each module all shifts along an axis for which its output is exact on all inputs."""
        exact: dict[str, set[int]] = {name: set() for name, moves in self.moves.items() if moves is not None}
        for pixels in range(1, self.size[axis]):
            shift = tuple(pixels if a == axis else 0 for a in range(len(self.size)))
            passed = None
            for number in range(len(self.inputs)):
                results = self.measure(shift, number)
                here = {name for name, result in results.items() if result is not None and result[1]}
                passed = here if passed is None else passed & here
            for name in passed or ():
                exact[name].add(pixels)
        return exact


def list_false_claims(claim: int, exact: set[int], size: int) -> Iterator[str]:
    """Yield what is wrong with the statement that multiples of a number are exact (0: no shift is)."""
    if not claim:
        if exact:
            yield f"no shift is said to be exact, but {min(exact)} is"
        return
    wrong = [pixels for pixels in range(claim, size, claim) if pixels not in exact]
    if wrong:
        yield f"multiples of {claim} are said to be exact, but {wrong[0]} is not"
    smaller = [pixels for pixels in exact if pixels < claim and set(range(pixels, size, pixels)) <= exact]
    if smaller:
        yield f"multiples of {claim} are said to be exact, but those of {min(smaller)} are, too"


def agrees(one: float | None, other: float | None) -> bool:
    """Return whether two errors agree, up to rounding."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= AGREEMENT * max(one, other) + ROUNDING
