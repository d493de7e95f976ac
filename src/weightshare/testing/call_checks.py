"""Checks that all ways of calling a layer return the same values and gradients."""

import copy
import io

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from .. import functional, reference
from ..backends.layout import CHANNELS_LAST
from ..sharing import Full
from .case import Case, compute_results


def check_channels_last(case: Case) -> None:
    """Check that channels_last input has channels_last output.

    For `Full` sharing, torch chooses the memory format of the output.
    """
    layout = CHANNELS_LAST.get(case.layer.window.ndim + 2)
    if layout is None:
        return
    input = _detach_leaf(case.input.detach().contiguous(memory_format=layout))
    case.check("with channels_last input", case.layer, input)
    if not input.is_contiguous() and case.layer.sharing != Full():  # otherwise the input has both formats
        is_channels_last = case.layer(input).is_contiguous(memory_format=layout)
        assert is_channels_last, "output must be channels_last for channels_last input"


def check_strides(case: Case) -> None:
    """Check sliced and expanded inputs, and an expanded gradient of the output."""
    wide = case.input.detach().repeat_interleave(2, -1)
    wide[..., 1::2] = float("nan")
    case.check("with sliced input", case.layer, _detach_leaf(wide)[..., ::2].requires_grad_())
    image, expected = case.input.detach()[:1], case.expected["output"][:1]
    got = case.layer(image.expand(2, *image.shape[1:]))
    expected = expected.expand(2, *expected.shape[1:])
    case.check_close("output with expanded input", got, expected, case.magnitudes["output"])
    ones = torch.ones_like(case.direction)
    expanded = ones.new_ones(()).expand(ones.shape)
    got, expected = _compute_weight_gradient(case, expanded), _compute_weight_gradient(case, ones).double()
    absolute = case.input.detach().double().abs().requires_grad_()
    output = reference.output(case.absolute, absolute)
    sums = compute_results(case.absolute, absolute, output, ones.double())
    magnitude = float(sums["gradient of weight"].max())
    case.check_close("gradient of weight with expanded output gradient", got, expected, magnitude)


def _compute_weight_gradient(case: Case, direction: Tensor) -> Tensor:
    return torch.autograd.grad(case.layer(case.input), case.layer.weight, direction)[0]


def check_vmap(case: Case) -> None:
    """Check `torch.func.vmap` over the images, for outputs and for gradients of single images."""
    layer, direction = case.layer, case.direction
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def output(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(layer, parameters, (image,))

    def loss(parameters: dict[str, Tensor], image: Tensor, direction: Tensor) -> Tensor:
        return (output(parameters, image) * direction).sum()

    images = case.input.detach()
    gradients, input_grad = vmap(grad(loss, (0, 1)), (None, 0, 0))(parameters, images, direction)
    got = {"output": vmap(output, (None, 0))(parameters, images), "gradient of input": input_grad}
    got |= {f"gradient of {name}": values.sum(0) for name, values in gradients.items()}
    case.compare("with torch.func.vmap", got)


def check_autocast(case: Case) -> None:
    """Check values and output dtype under autocast, which does not change float64."""
    with torch.autocast(case.input.device.type, torch.bfloat16):
        output = case.layer(case.input)
        case.check("under autocast", case.layer)
    expected = torch.float64 if case.dtype == torch.float64 else torch.bfloat16
    assert output.dtype == expected, f"output under autocast must be {expected}, got {output.dtype}"


def check_determinism(case: Case) -> None:
    """Check that deterministic algorithms are supported and compute the same gradient twice."""
    was_enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        case.check("with deterministic algorithms", case.layer)
        first = _compute_weight_gradient(case, case.direction)
        second = _compute_weight_gradient(case, case.direction)
    finally:
        torch.use_deterministic_algorithms(was_enabled, warn_only=warn_only)
    assert torch.equal(first, second), (
        "gradient of weight must be exactly equal in two calls with deterministic algorithms"
    )


def check_portable(case: Case) -> None:
    """Check the computation with plain torch operators, which is exported to ONNX."""
    with functional.portable():
        case.check("with functional.portable()", case.layer)


def check_meta(case: Case) -> None:
    """Check shapes and dtypes on the meta device."""
    layer, input = copy.deepcopy(case.layer).to("meta"), _detach_leaf(case.input.detach().to("meta"))
    output = layer(input)
    output.sum().backward()
    for name, value in {"output": output, "gradient of input": input.grad}.items():
        shape = case.expected[name].shape
        assert value is not None, f"{name} is missing on the meta device"
        got = (value.device.type, value.dtype, value.shape)
        assert got == ("meta", case.dtype, shape), (
            f"{name} on the meta device must have dtype {case.dtype} and shape {list(shape)}, got "
            f"{value.dtype} and {list(value.shape)} on {value.device.type}"
        )


def check_compiled(case: Case) -> None:
    """Check `torch.compile` with one graph, including the backward pass."""
    torch.compiler.reset()
    case.check("with torch.compile", torch.compile(case.layer, fullgraph=True, backend="aot_eager"))
    torch.compiler.reset()


def check_exported(case: Case) -> None:
    """Check `torch.export` with a dynamic batch size, saved and loaded."""
    batch = torch.export.Dim("batch")
    example = case.input.detach().repeat(2, *[1] * (case.input.dim() - 1))
    program = torch.export.export(case.layer, (example,), dynamic_shapes=({0: batch},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    output = torch.export.load(file).module()(case.input.detach())
    case.compare("with torch.export", {"output": output})


def _detach_leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


#: The checks for every layer, those for convolutions, and those that compile and take seconds.
ANY = (check_strides, check_vmap, check_autocast, check_determinism, check_meta)
CONVOLUTION = (*ANY, check_channels_last, check_portable)
COMPILED = (check_compiled, check_exported)
