"""The custom operators work with torch.compile, torch.export, torch.func, FLOP counters and autocast."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.utils.flop_counter import FlopCounterMode

from tests.helpers.ways import WAYS, computing
from weightshare import Full, Local, LowRank, Mapped, Regional, Tiled, nn, reference
from weightshare.backends import operators
from weightshare.functional import portable

OPERATORS = torch.ops.weightshare
STRIPES = Mapped([[0, 1, 0], [1, 2, 1], [2, 2, 0]])
#: Sharings and groups of layers with 5 x 5 inputs, 3 x 3 kernels and 3 x 3 positions.
ONE_HOT = [(Local(), 1), (Local(), 2), (Local(), 4), (STRIPES, 2), (Tiled(2), 1)]
SHARINGS = [Local(), STRIPES, Tiled(2), Regional((1, 3)), LowRank(2), LowRank(1, "free"), Full()]


def named(value):
    return value.__name__ if isinstance(value, type) else str(value).partition("-")[0]


def build(kind, sharing, groups=1, dtype=torch.float64, **arguments):
    """Build a layer with 3 x 3 positions."""
    torch.manual_seed(0)
    size = 3 if kind is nn.ConvTranspose2d else 5
    layer = kind(4, 4, 3, sharing=sharing, groups=groups, input_size=size, dtype=dtype, **arguments)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def images(layer, batch=2, **form):
    return torch.randn(batch, layer.in_channels, *layer.input_size, dtype=layer.weight.dtype, **form)


def close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


each_layer = pytest.mark.parametrize(("sharing", "groups"), ONE_HOT, ids=str)
both_ways = pytest.mark.parametrize("way", [WAYS[0], "off"])


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


# -- registration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@each_layer
@both_ways
def test_operators_pass_the_checks_of_torch(sharing, groups, way, layout):
    """`opcheck` tests schema, autograd, fake tensors and tracing with dynamic shapes."""
    layer = build(nn.Conv2d, sharing, groups, bias=False)
    x = images(layer).contiguous(memory_format=layout).requires_grad_()
    weight, text = layer.weight, layer._backend.text
    with computing(way):
        y = layer(x).detach().requires_grad_()
        torch.library.opcheck(OPERATORS.output, (x, weight, text))
        torch.library.opcheck(OPERATORS.input_grad, (y, weight, text, x.shape))
        torch.library.opcheck(OPERATORS.weight_grad, (x, y, text, weight.shape))


@each_layer
@both_ways
def test_first_and_second_derivatives(sharing, groups, way):
    layer = build(nn.Conv2d, sharing, groups, bias=False)
    x, weight, text = images(layer, 1, requires_grad=True), layer.weight, layer._backend.text
    y = layer(x).detach().requires_grad_()
    calls = [
        (lambda a, b: OPERATORS.output(a, b, text), (x, weight)),
        (lambda a, b: OPERATORS.input_grad(a, b, text, x.shape), (y, weight)),
        (lambda a, b: OPERATORS.weight_grad(a, b, text, weight.shape), (x, y)),
    ]
    with computing(way):
        for function, arguments in calls:
            assert torch.autograd.gradcheck(function, arguments, fast_mode=True)
            assert torch.autograd.gradgradcheck(function, arguments, fast_mode=True)


@each_layer
def test_a_backend_is_rebuilt_from_its_text(sharing, groups):
    made = build(nn.Conv2d, sharing, groups)._backend
    read = operators.from_text(made.text)
    assert (read, read.text) == (replace(made, window=read.window), made.text)


# -- compile and export -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("sharing", SHARINGS, ids=named)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d], ids=named)
def test_two_graphs_serve_all_batch_sizes(kind, sharing, backend):
    """The first graph is for the first batch size, the second for any other."""
    layer, counter = build(kind, sharing), CompileCounterWithBackend(backend)
    compiled = torch.compile(layer, fullgraph=True, backend=counter)
    for batch in (2, 3, 5, 8):
        x = images(layer, batch, requires_grad=True)
        results = []
        for function in (compiled, layer):
            y = function(x)
            results.append((y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])))
        for got, expected in zip(*results):
            close(got, expected)
    assert counter.frame_count <= 2


def test_one_graph_serves_a_dynamic_batch_size():
    layer, counter = build(nn.Conv2d, Local()), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    for batch in (2, 3, 5):
        close(compiled(images(layer, batch)).shape, layer(images(layer, batch)).shape)
    assert counter.frame_count == 1


@pytest.mark.long
@pytest.mark.parametrize("sharing", [Local(), LowRank(2)], ids=named)
def test_inductor(sharing):
    layer = build(nn.Conv2d, sharing)
    x = images(layer, requires_grad=True)
    results = []
    for function in (torch.compile(layer, fullgraph=True), layer):
        y = function(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])))
    for got, expected in zip(*results):
        close(got, expected)


LOAD = """
import sys, torch, weightshare.nn
for path in sys.argv[1:]:
    x, expected = torch.load(path + ".pt")
    program = torch.export.load(path).module()
    for first in (1, 3):
        torch.testing.assert_close(program(x[:first]), expected[:first], rtol=1e-10, atol=1e-10)
print("equal")
"""


@torch.no_grad()
def test_an_exported_program_runs_in_another_process(tmp_path):
    paths = []
    for kind in (nn.Conv2d, nn.ConvTranspose2d):
        for sharing in SHARINGS:
            layer, path = build(kind, sharing), tmp_path / f"{len(paths)}.pt2"
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.export.export(layer, (images(layer),), dynamic_shapes=shapes)
            torch.export.save(program, path)
            x = images(layer, 3)
            torch.save((x, layer(x)), f"{path}.pt")
            paths.append(str(path))
    done = subprocess.run([sys.executable, "-c", LOAD, *paths], capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr


def test_an_exported_layer_is_one_operator():
    layer = build(nn.Conv2d, Local())
    program = torch.export.export(layer, (images(layer),))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called.count("weightshare.output.default") == 1
    assert len(called) < 10


# -- torch.func -------------------------------------------------------------------------------------------

FUNCTIONS = [(kind, sharing) for kind in (nn.Conv2d, nn.ConvTranspose2d) for sharing in SHARINGS]
FUNCTIONS += [(nn.Conv2d, "depthwise")]


def make_case(kind, sharing):
    """Return a layer, its parameters, and a nonlinear function of parameters and one image."""
    layer = build(kind, Local(), 4) if sharing == "depthwise" else build(kind, sharing)
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def loss(parameters, image):
        return functional_call(layer, parameters, (image,)).pow(3).mean()

    return layer, parameters, loss


@pytest.mark.parametrize(("kind", "sharing"), FUNCTIONS, ids=named)
def test_gradients_of_single_images(kind, sharing):
    layer, parameters, loss = make_case(kind, sharing)
    x = images(layer, 3)
    got = vmap(grad(loss), (None, 0))(parameters, x)
    for number, image in enumerate(x):
        expected = torch.autograd.grad(layer(image).pow(3).mean(), list(layer.parameters()))
        for values, one in zip(got.values(), expected):
            close(values[number], one)


@pytest.mark.parametrize(("kind", "sharing"), FUNCTIONS, ids=named)
def test_directional_derivatives(kind, sharing):
    layer, parameters, _ = make_case(kind, sharing)
    x = images(layer)
    directions = {name: torch.randn_like(value) for name, value in parameters.items()}

    def function(parameters, x):
        return functional_call(layer, parameters, (x,))

    output, got = jvp(function, (parameters, x), (directions, torch.ones_like(x)))
    close(output, layer(x))
    step = 1e-6
    forward = {name: value + step * directions[name] for name, value in parameters.items()}
    backward = {name: value - step * directions[name] for name, value in parameters.items()}
    expected = (function(forward, x + step) - function(backward, x - step)) / (2 * step)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "sharing"), FUNCTIONS, ids=named)
def test_jacobians_are_the_dense_matrix(kind, sharing):
    layer = make_case(kind, sharing)[0]
    image = images(layer, 1)[0]
    expected = reference.dense_matrix(layer, layer.input_size).detach()
    shape = (layer.out_channels, *layer.output_size, *image.shape)
    for jacobian in (jacrev, jacfwd):
        close(jacobian(lambda image: layer(image))(image).detach(), expected.view(shape))


@pytest.mark.parametrize(("kind", "sharing"), FUNCTIONS, ids=named)
def test_hessian(kind, sharing):
    layer, parameters, loss = make_case(kind, sharing)
    image = images(layer, 1)[0]
    got = hessian(loss, 1)(parameters, image)

    def by_oracle(image):
        return reference.output(layer, image[None]).pow(3).mean()

    close(got, torch.autograd.functional.hessian(by_oracle, image))


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d], ids=named)
@pytest.mark.parametrize("sharing", [Local(), Tiled(2), STRIPES], ids=named)
def test_an_ensemble_of_layers(kind, sharing):
    layers = [build(kind, sharing) for _ in range(3)]
    with torch.no_grad():
        for number, layer in enumerate(layers):
            layer.weight.mul_(number + 1)
    parameters, _ = torch.func.stack_module_state(layers)
    x = images(layers[0])

    def call(parameters, x):
        return functional_call(layers[0], parameters, (x,))

    close(vmap(call, (0, None))(parameters, x), torch.stack([layer(x) for layer in layers]))
    several = torch.stack([x, -x, 2 * x])
    expected = torch.stack([layer(part) for layer, part in zip(layers, several)])
    close(vmap(call)(parameters, several), expected)
    close(vmap(call, (0, 2))(parameters, several.movedim(0, 2)), expected)


def test_forward_mode_autograd():
    layer = build(nn.Conv2d, Local())
    x, direction = images(layer), images(layer)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, direction)
        tangent = torch.autograd.forward_ad.unpack_dual(layer(dual)).tangent
        close(tangent, layer(direction) - layer.bias_map())


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d], ids=named)
@each_layer
@both_ways
def test_batched_gradients_of_autograd(kind, sharing, groups, way):
    """`vectorize=True` and `is_grads_batched=True` use an older vmap than `torch.func`."""
    layer = build(kind, sharing, groups)
    image = images(layer, 1)
    with computing(way):
        got = torch.autograd.functional.jacobian(layer, image, vectorize=True)
        expected = torch.autograd.functional.jacobian(layer, image)
        close(got, expected)
        assert torch.autograd.gradcheck(layer, image.requires_grad_(), check_batched_grad=True)


def test_lazy_zeros_and_empty_sizes():
    layer = build(nn.Conv2d, Local())
    x = images(layer)
    close(layer(torch._efficientzerotensor(x.shape, dtype=x.dtype)), layer(torch.zeros_like(x)))
    text, weight = layer._backend.text, layer.weight.detach()
    assert OPERATORS.input_grad(layer(x), weight, text, (2, 4, 0, 5)).shape == (2, 4, 0, 5)


@pytest.mark.parametrize("sharing", SHARINGS, ids=named)
def test_portable_programs_can_be_traced_by_dynamo(sharing):
    layer, x = build(nn.Conv2d, sharing), torch.randn(2, 4, 5, 5, dtype=torch.float64)
    expected = layer(x)
    with portable():
        close(layer(x), expected)
        close(torch.compile(layer, fullgraph=True, backend="eager")(x), expected)
        program = torch.export.export(layer, (x,), strict=True).module()
    got = program(x)
    assert type(got) is torch.Tensor
    close(got, expected)


# -- counts and autocast ----------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("sharing", [Local(), STRIPES, Tiled(2), Regional((1, 3)), LowRank(2)], ids=named)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d], ids=named)
def test_flops(kind, sharing, groups):
    layer = build(kind, sharing, groups)
    x = images(layer, 5, requires_grad=True)
    forward = 2 * 5 * 9 * layer.out_channels * (layer.in_channels // groups) * 9
    if isinstance(sharing, LowRank):
        forward *= 1 + sharing.rank
    with FlopCounterMode(display=False) as counter:
        y = layer(x)
    assert counter.get_total_flops() == forward
    if groups > 1 and isinstance(sharing, LowRank):
        return  # torch's formula for the backward pass of its convolution ignores groups
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert counter.get_total_flops() == 2 * forward


def test_flops_without_a_gradient_of_the_input():
    layer = build(nn.Conv2d, Local())
    with FlopCounterMode(display=False) as counter:
        layer(images(layer, 5)).sum().backward()
    assert counter.get_total_flops() == 2 * (2 * 5 * 9 * 4 * 4 * 9)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("sharing", SHARINGS, ids=named)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d], ids=named)
def test_autocast(kind, sharing, low):
    """Outputs have the autocast dtype, gradients that of their tensor; float64 does not change."""
    for dtype in (torch.float32, low):
        layer = build(kind, sharing, dtype=torch.float32)
        x = images(layer).to(dtype).requires_grad_()
        with torch.autocast("cpu", low):
            y = layer(x)
        assert y.dtype == low
        y.sum().backward()
        assert (x.grad.dtype, layer.weight.grad.dtype, layer.bias.grad.dtype) == (dtype, *[torch.float32] * 2)
    layer = build(kind, sharing)
    with torch.autocast("cpu", low):
        assert layer(images(layer)).dtype == torch.float64
    with torch.autocast("cpu", low), torch.autocast("cpu", enabled=False):
        assert build(kind, sharing, dtype=torch.float32)(images(layer).float()).dtype == torch.float32


def test_a_function_mode_can_compute_gradients_inside_no_grad():
    seen = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if "weightshare" in str(function):
                with torch.enable_grad():
                    seen.append((torch.ones(1, requires_grad=True) * 2).requires_grad)
            return function(*args, **(kwargs or {}))

    layer = nn.Conv2d(2, 3, 3, sharing=Local(), input_size=6)
    with Mode(), torch.no_grad():
        layer(torch.zeros(1, 2, 6, 6))
    assert seen == [True]
