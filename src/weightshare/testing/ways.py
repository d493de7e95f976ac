"""The ways of calling a layer that must all give the same values and gradients."""

import copy
import io

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from .. import functional, reference
from ..backends.layout import CHANNELS_LAST
from ..sharing import Full
from .case import Case, results


def channels_last(case: Case) -> None:
    """Input in channels_last gives output in channels_last; with full sharing that is torch's affair."""
    layout = CHANNELS_LAST.get(case.layer.window.ndim + 2)
    if layout is None:
        return
    input = _leaf(case.input.detach().contiguous(memory_format=layout))
    case.check("of channels_last input", case.layer, input)
    if not input.is_contiguous() and case.layer.sharing != Full():  # else it is of both formats
        found = case.layer(input).is_contiguous(memory_format=layout)
        assert found, "channels_last input must give channels_last output"


def not_contiguous(case: Case) -> None:
    """Input that is a slice of a larger one, and images and gradients that are one number many times."""
    wide = case.input.detach().repeat_interleave(2, -1)
    wide[..., 1::2] = float("nan")
    case.check("of sliced input", case.layer, _leaf(wide)[..., ::2].requires_grad_())
    image = case.input.detach()[:1]
    again = image.expand(2, *image.shape[1:])
    got, expected = (
        case.layer(again),
        case.expected["output"][:1].expand(2, *case.expected["output"].shape[1:]),
    )
    case.close("output of expanded input", got, expected, case.sizes["output"])
    one = torch.ones_like(case.direction)
    got = [_weight_gradient(case, form) for form in (one, one.new_ones(()).expand(one.shape))]
    absolute = case.input.detach().double().abs()
    sums = results(
        case.absolute, absolute.requires_grad_(), reference.output(case.absolute, absolute), one.double()
    )
    size = float(sums["gradient of weight"].max())
    case.close("gradient of weight, of an expanded gradient,", got[1], got[0].double(), size)


def _weight_gradient(case: Case, direction: Tensor) -> Tensor:
    return torch.autograd.grad(case.layer(case.input), case.layer.weight, direction)[0]


def by_image(case: Case) -> None:
    """`torch.func`: vmap over the batch, and over the gradients of single images."""
    layer, direction = case.layer, case.direction
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def output(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(layer, parameters, (image,))

    def loss(parameters: dict[str, Tensor], image: Tensor, direction: Tensor) -> Tensor:
        return (output(parameters, image) * direction).sum()

    images = case.input.detach()
    gradients, of_input = vmap(grad(loss, (0, 1)), (None, 0, 0))(parameters, images, direction)
    got = {"output": vmap(output, (None, 0))(parameters, images), "gradient of input": of_input}
    got |= {f"gradient of {name}": values.sum(0) for name, values in gradients.items()}
    case.compare("by torch.func", got)


def autocast(case: Case) -> None:
    """The output is in autocast's dtype, but for float64, which autocast leaves alone."""
    with torch.autocast(case.input.device.type, torch.bfloat16):
        output = case.layer(case.input)
        case.check("under autocast", case.layer)
    expected = torch.float64 if case.dtype == torch.float64 else torch.bfloat16
    assert output.dtype == expected, f"under autocast the output must be {expected}, got {output.dtype}"


def deterministic(case: Case) -> None:
    """`torch.use_deterministic_algorithms(True)` raises nothing, and two calls give the same bits."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        case.check("by deterministic algorithms", case.layer)
        pair = [torch.autograd.grad(case.layer(case.input), case.layer.weight, case.direction) for _ in "ab"]
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
    assert torch.equal(pair[0][0], pair[1][0]), "deterministic algorithms must give the same gradient twice"


def portable(case: Case) -> None:
    """Plain operators of torch, as they are exported to ONNX."""
    with functional.portable():
        case.check("by plain operators", case.layer)


def meta(case: Case) -> None:
    """Shapes and dtypes without numbers."""
    layer, input = copy.deepcopy(case.layer).to("meta"), _leaf(case.input.detach().to("meta"))
    output = layer(input)
    output.sum().backward()
    for name, value in {"output": output, "gradient of input": input.grad}.items():
        expected = case.expected[name].shape
        assert value is not None, f"{name} is missing on the meta device"
        got = (value.device.type, value.dtype, value.shape)
        assert got == ("meta", case.dtype, expected), f"{name} on the meta device is {got}"


def compiled(case: Case) -> None:
    """`torch.compile` in one graph, backward included."""
    torch.compiler.reset()
    case.check("by torch.compile", torch.compile(case.layer, fullgraph=True, backend="aot_eager"))
    torch.compiler.reset()


def exported(case: Case) -> None:
    """`torch.export` with any batch, through a file."""
    batch = torch.export.Dim("batch")
    example = case.input.detach().repeat(2, *[1] * (case.input.dim() - 1))
    program = torch.export.export(case.layer, (example,), dynamic_shapes=({0: batch},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    output = torch.export.load(file).module()(case.input.detach())
    case.compare("by torch.export", {"output": output})


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


ANY = (not_contiguous, by_image, autocast, deterministic, meta)
CONVOLUTION = (*ANY, channels_last, portable)
COMPILED = (compiled, exported)
