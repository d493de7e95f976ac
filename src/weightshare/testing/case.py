"""What a layer should give, by the oracle in float64, and how far rounding may lead away from it."""

import copy
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .. import reference
from ..nn import SharedLinear

#: What rounding may change a result by, as a share of the sum of its terms' absolute values.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 1.6e-2, torch.float16: 2e-3}


class Case:
    """A layer with an input: the values and gradients that it should have, whatever the way of calling it.

    The oracle sees the layer's own rounded numbers, in float64. It computes twice: once as it is, once with
    the absolute values of all numbers, which tells how large the terms are that a result is the sum of.

    Args:
        layer: A copy of its own, whose parameters all require a gradient.
        batch: Images in the input.
    """

    def __init__(self, layer: Any, batch: int):
        self.layer = layer
        self.dtype: torch.dtype = layer.weight.dtype
        self.input = self._random(batch, *in_shape(layer)).requires_grad_()
        self.direction = self._random(batch, *out_shape(layer))
        self.exact = copy.deepcopy(layer).double()
        self.absolute = copy.deepcopy(self.exact)
        with torch.no_grad():
            for parameter in self.absolute.parameters():
                parameter.abs_()

    def _random(self, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(self.layer.weight)

    @cached_property
    def expected(self) -> dict[str, Tensor]:
        """The oracle's output and gradients."""
        return self._by_oracle(self.exact, lambda numbers: numbers)

    @cached_property
    def sizes(self) -> dict[str, float]:
        """The largest sum of absolute values behind the output and each gradient."""
        sums = self._by_oracle(self.absolute, torch.abs)
        return {
            name: float(values.detach().max()) if values.numel() else 0.0 for name, values in sums.items()
        }

    def _by_oracle(self, layer: Any, form: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        input = form(self.input.detach().double()).requires_grad_()
        output = reference.output(layer, input)
        return results(layer, input, output, form(self.direction.double()))

    def check(self, how: str, function: Callable[[Tensor], Tensor], input: Tensor | None = None) -> None:
        """Check the output of a function of the input and all its gradients.

        Args:
            how: Names the way of calling in the error.
            input: The same numbers in another form.
        """
        input = self.input if input is None else input
        output = function(input)
        got = results(self.layer, input, output, self.direction.to(output.dtype))
        self.compare(how, got, self._coarser(output.dtype))

    def compare(self, how: str, got: dict[str, Tensor], dtype: torch.dtype | None = None) -> None:
        """Check results against the oracle's of the same names.

        Args:
            dtype: In which they were computed; default the layer's.
        """
        for name, value in got.items():
            self.close(
                f"{name}, {how}," if how else name, value, self.expected[name], self.sizes[name], dtype
            )

    def close(
        self, what: str, got: Tensor, expected: Tensor, size: float, dtype: torch.dtype | None = None
    ) -> None:
        """Check that values differ by no more than rounding.

        Args:
            size: The largest sum of absolute values behind one of the values.
            dtype: In which they were computed; default the layer's.
        """
        assert got.shape == expected.shape, (
            f"{what} has the shape {list(got.shape)}, expected {list(expected.shape)}"
        )
        allowed = TOLERANCES[self.dtype if dtype is None else dtype] * size
        far = (got.detach().double() - expected.detach()).abs()
        worst = float(far.max()) if far.numel() else 0.0
        assert worst <= allowed, f"{what} differs by {worst:.3g} from the oracle's, {allowed:.3g} is allowed"

    def _coarser(self, dtype: torch.dtype) -> torch.dtype:
        return max((dtype, self.dtype), key=TOLERANCES.__getitem__)


def in_shape(layer: Any) -> tuple[int, ...]:
    """Of one input, without the batch."""
    if isinstance(layer, SharedLinear):
        return (layer.in_features,)
    return (layer.in_channels, *layer.input_size)


def out_shape(layer: Any) -> tuple[int, ...]:
    """Of one output, without the batch."""
    if isinstance(layer, SharedLinear):
        return (layer.out_features,)
    return (layer.out_channels, *layer.output_size)


def results(layer: Any, input: Tensor, output: Tensor, direction: Tensor) -> dict[str, Tensor]:
    """The output, and the gradients of its product with a direction."""
    names = ("input", *(name for name, _ in layer.named_parameters()))
    sources = (input, *layer.parameters())
    gradients = torch.autograd.grad(output, sources, direction, allow_unused=True)
    return {"output": output.detach(), **_named(names, sources, gradients)}


def _named(names: Iterable[str], sources: Iterable[Tensor], gradients: Iterable[Any]) -> dict[str, Tensor]:
    return {
        f"gradient of {name}": torch.zeros_like(source) if gradient is None else gradient
        for name, source, gradient in zip(names, sources, gradients)
    }
