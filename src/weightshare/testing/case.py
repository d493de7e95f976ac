"""A layer with an input, and the expected outputs and gradients with their tolerances."""

import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .. import reference
from ..nn import SharedLinear

#: Maximum error of a result, relative to the sum of the absolute values of its terms.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 1.6e-2, torch.float16: 2e-3}


class Case:
    """A layer with an input, and the values and gradients that every way of calling it has to return.

    The oracle computes in float64 from the rounded parameters of the layer. It runs twice: with the actual
    values, and with the absolute values of all parameters and inputs. The second run gives the magnitude of
    the terms of each sum, to which rounding errors are relative.

    Args:
        layer: A copy of the layer, whose parameters all require a gradient.
        batch: Number of images in the input.
    """

    def __init__(self, layer: Any, batch: int):
        self.layer = layer
        self.dtype: torch.dtype = layer.weight.dtype
        self.input = self._draw(batch, *get_input_shape(layer)).requires_grad_()
        self.direction = self._draw(batch, *get_output_shape(layer))
        self.exact = copy.deepcopy(layer).double()
        self.absolute = copy.deepcopy(self.exact)
        with torch.no_grad():
            for parameter in self.absolute.parameters():
                parameter.abs_()

    def _draw(self, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(self.layer.weight)

    @cached_property
    def expected(self) -> dict[str, Tensor]:
        """Output and gradients of the oracle."""
        return self._run_oracle(self.exact, lambda tensor: tensor)

    @cached_property
    def magnitudes(self) -> dict[str, float]:
        """For the output and each gradient, the largest sum of the absolute values of the terms."""
        sums = self._run_oracle(self.absolute, torch.abs)
        return {
            name: float(values.detach().max()) if values.numel() else 0.0 for name, values in sums.items()
        }

    def _run_oracle(self, layer: Any, transform: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        input = transform(self.input.detach().double()).requires_grad_()
        output = reference.output(layer, input)
        return compute_results(layer, input, output, transform(self.direction.double()))

    def check(self, how: str, function: Callable[[Tensor], Tensor], input: Tensor | None = None) -> None:
        """Check the output of a function of the input, and all its gradients.

        Args:
            how: Description of the call for error messages, such as "with channels_last input"; may be empty.
            function: Function that calls the layer.
            input: The input with the same values in another form; by default `self.input`.
        """
        input = self.input if input is None else input
        output = function(input)
        got = compute_results(self.layer, input, output, self.direction.to(output.dtype))
        self.compare(how, got, max((output.dtype, self.dtype), key=TOLERANCES.__getitem__))

    def compare(self, how: str, got: dict[str, Tensor], dtype: torch.dtype | None = None) -> None:
        """Compare results with the results of the oracle of the same name.

        Args:
            how: Description of the call for error messages; may be empty.
            got: Results by name, as in `expected`.
            dtype: Dtype in which they were computed; by default the dtype of the layer.
        """
        for name, value in got.items():
            what = f"{name} {how}" if how else name
            self.check_close(what, value, self.expected[name], self.magnitudes[name], dtype)

    def check_close(
        self, what: str, got: Tensor, expected: Tensor, magnitude: float, dtype: torch.dtype | None = None
    ) -> None:
        """Check that values differ only by rounding errors.

        Args:
            what: Description of the values for error messages.
            got: The values.
            expected: The expected values.
            magnitude: The largest sum of the absolute values of the terms of a value.
            dtype: Dtype in which they were computed; by default the dtype of the layer.
        """
        assert got.shape == expected.shape, (
            f"{what} must have shape {list(expected.shape)}, got {list(got.shape)}"
        )
        allowed = TOLERANCES[self.dtype if dtype is None else dtype] * magnitude
        errors = (got.detach().double() - expected.detach()).abs()
        worst = float(errors.max()) if errors.numel() else 0.0
        assert worst <= allowed, (
            f"{what} differs from the expected value by {worst:.3g}, at most {allowed:.3g} is allowed"
        )


def get_input_shape(layer: Any) -> tuple[int, ...]:
    """Return the shape of an input without a batch axis."""
    if isinstance(layer, SharedLinear):
        return (layer.in_features,)
    return (layer.in_channels, *layer.input_size)


def get_output_shape(layer: Any) -> tuple[int, ...]:
    """Return the shape of an output without a batch axis."""
    if isinstance(layer, SharedLinear):
        return (layer.out_features,)
    return (layer.out_channels, *layer.output_size)


def compute_results(layer: Any, input: Tensor, output: Tensor, direction: Tensor) -> dict[str, Tensor]:
    """Return the output, and the gradients of its inner product with a direction."""
    sources = {"input": input, **dict(layer.named_parameters())}
    gradients = torch.autograd.grad(output, list(sources.values()), direction, allow_unused=True)
    results = {"output": output.detach()}
    for (name, source), gradient in zip(sources.items(), gradients):
        results[f"gradient of {name}"] = torch.zeros_like(source) if gradient is None else gradient
    return results
