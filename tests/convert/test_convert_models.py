"""Converting models: plans select convolutions, the rest is unchanged, and errors name layer and reason."""

import copy

import pytest
import torch
from torch.nn import BatchNorm2d, Conv2d, Linear, Module, ReLU, Sequential

from weightshare import Full, Local, LowRank, Regional, Tiled, nn, relax, restrict
from weightshare.errors import ArgumentError, ConversionError, SharingError

X = torch.randn(2, 1, 10, 10)


def make_network():
    return Sequential(
        Conv2d(1, 4, 3, padding=1),
        BatchNorm2d(4),
        ReLU(),
        Sequential(Conv2d(4, 4, 3), torch.nn.Dropout()),
        torch.nn.Flatten(),
        Linear(256, 3),
    )


def take_snapshot(model):
    return copy.deepcopy(model.state_dict()), {n: m.training for n, m in model.named_modules()}


def is_same(a, b):
    return a[1] == b[1] and all(torch.equal(a[0][name], value) for name, value in b[0].items())


@pytest.mark.parametrize("sharing", [Tiled(2), LowRank(2), Local()], ids=str)
def test_a_model_relaxes_to_the_same_function(sharing):
    model = make_network()
    model[1].eval()
    before, state = take_snapshot(model), torch.get_rng_state()
    relaxed = relax(model, sharing, X)
    assert is_same(take_snapshot(model), before)
    if sharing.one_hot:
        assert torch.equal(state, torch.get_rng_state())
    assert (relaxed[0].sharing, relaxed[3][0].sharing) == (sharing, sharing)
    assert (relaxed[0].input_size, relaxed[3][0].output_size) == ((10, 10), (8, 8))
    assert [type(m) for m in relaxed[1:3]] == [BatchNorm2d, ReLU]
    assert {n: m.training for n, m in relaxed.named_modules()} == before[1]
    torch.testing.assert_close(relaxed.eval()(X), model.eval()(X))
    assert not any(len(m._forward_pre_hooks) for m in (*model.modules(), *relaxed.modules()))


def test_a_plan_with_names_changes_only_these_layers():
    model = make_network()
    relaxed = relax(model, {"3.0": Regional(2)}, X)
    assert relaxed[3][0].sharing == Regional(2)
    assert type(relaxed[0]) is Conv2d
    torch.testing.assert_close(relaxed.eval()(X), model.eval()(X))
    assert relaxed[0].weight.data_ptr() != model[0].weight.data_ptr()


def test_one_sharing_for_all_skips_layers_that_it_does_not_refine():
    model = Sequential(nn.Conv2d(1, 4, 3, sharing=Local(), input_size=10), Conv2d(4, 4, 3))
    relaxed = relax(model, Tiled(2), X)
    assert (relaxed[0].sharing, relaxed[1].sharing) == (Local(), Tiled(2))


def test_bias_sharing_applies_to_every_layer():
    assert relax(make_network(), Local(), X, bias_sharing=Full())[0].bias.shape == (4,)


def test_transposed_layers_are_convolutions_too():
    model = Sequential(Conv2d(1, 2, 4, stride=2), torch.nn.ConvTranspose2d(2, 1, 4, stride=2))
    relaxed = relax(model, Local(), X)
    torch.testing.assert_close(relaxed(X), model(X))
    assert relaxed[1].position_size == (4, 4)


def test_lazy_parameters_of_other_layers_do_not_matter():
    model = Sequential(Conv2d(1, 2, 3), torch.nn.LazyConv2d(4, 3))
    relaxed = relax(model, {"0": Local()}, X)
    assert relaxed[0].sharing == Local()
    assert type(model[1]) is type(relaxed[1]) is torch.nn.LazyConv2d


class Noisy(Module):
    """A model that draws random numbers, counts its calls, and passes its input by keyword."""

    def __init__(self):
        super().__init__()
        self.conv = Conv2d(1, 2, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.conv(input=x + torch.rand_like(x))


def test_the_forward_pass_has_no_side_effects():
    model, state = Noisy(), torch.get_rng_state()
    relaxed = relax(model, Local(), X)
    assert torch.equal(state, torch.get_rng_state())
    assert model.calls == relaxed.calls == 0
    assert relaxed.conv.input_size == (10, 10)


def test_restricting_a_model_needs_no_input_and_returns_the_error_of_each_layer():
    model = make_network()
    relaxed = relax(model, {"0": Local(), "3.0": Tiled(2)}, X)
    result = restrict(relaxed, Full())
    assert result.errors.keys() == {"0", "3.0"}
    assert result.error == max(result.errors.values()) < 1e-6
    torch.testing.assert_close(result.module.eval()(X), model.eval()(X))
    part = restrict(relaxed, {"0": Regional(2)})
    assert (part.module[0].sharing, part.module[3][0].sharing) == (Regional(2), Tiled(2))


def test_restricting_a_model_skips_layers_that_the_sharing_can_express():
    relaxed = relax(make_network(), {"0": Local(), "3.0": Tiled(2)}, X)
    result = restrict(relaxed, Tiled(4))
    assert result.errors.keys() == {"0"}


def not_finite():
    layer = nn.Conv2d(1, 1, 3, sharing=Local(), input_size=10)
    layer.weight.data.view(-1)[:2] = torch.tensor([float("nan"), float("inf")])
    return layer


class Twice(Module):
    def __init__(self):
        super().__init__()
        self.conv, self.unused = Conv2d(1, 1, 3), Conv2d(1, 1, 3)

    def forward(self, x):
        return self.conv(self.conv(x))


def tied():
    model = Sequential(Conv2d(1, 1, 3), Conv2d(1, 1, 3))
    model[1].weight = model[0].weight
    return model


def share_storage():
    model = Sequential(Conv2d(1, 1, 3), Conv2d(1, 1, 3))
    model[1].weight = torch.nn.Parameter(model[0].weight.detach())
    return model


def normed():
    return Sequential(torch.nn.utils.parametrizations.weight_norm(Conv2d(1, 1, 3)))


class Typed(Module):
    """A model that calls its layers only if they have a certain class."""

    def __init__(self):
        super().__init__()
        self.conv = Conv2d(1, 1, 3)

    def forward(self, x):
        x = x + torch.rand_like(x)
        return self.conv(x) if type(self.conv) is Conv2d else x


class Closed(Module):
    """A model that calls a convolution through a closure, which a copy of the model calls too."""

    def __init__(self):
        super().__init__()
        self.conv = conv = Conv2d(1, 1, 3)
        self.call = lambda x: conv(x)

    def forward(self, x):
        return self.call(x)


class Scaled(Module):
    """A model whose output contains the norm of the weight of its convolution."""

    def __init__(self):
        super().__init__()
        self.conv = Conv2d(1, 2, 3)

    def forward(self, x):
        return {"y": self.conv(x), "penalty": [self.conv.weight.norm()]}


class Measured(Module):
    """A model that reads the weight of its convolution directly."""

    def __init__(self):
        super().__init__()
        self.conv = Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x) + self.conv.weight.view(2, 9)[0, 0]


LEAVE_OUT = "use a plan {name: sharing} without this layer."
ONCE = "the layer must be called on inputs of one size in a forward pass in evaluation mode, got "
OWN = "the layer must not share parameters with other modules, got one shared with "
REFUSED = [
    (
        Twice(),
        {"conv": Local()},
        f"relax: 'conv': Conv2d: {ONCE}2 calls, on inputs of size 10 x 10, 8 x 8; {LEAVE_OUT}",
    ),
    (Twice(), {"unused": Local()}, f"relax: 'unused': Conv2d: {ONCE}no call; {LEAVE_OUT}"),
    (
        tied(),
        {"0": Local()},
        f"relax: '0': Conv2d: {OWN}'1.weight'; include '1' with the same sharing, or {LEAVE_OUT}",
    ),
    (share_storage(), {"1": Local()}, f"relax: '1': Conv2d: {OWN}'0.weight'; {LEAVE_OUT}"),
    (
        Typed(),
        Local(),
        "relax: 'conv': Conv2d: the new layer must be called once in a forward pass, got no call; call it "
        "through its attribute, whatever its class is, or leave it out of the plan.",
    ),
    (Closed(), Local(), f"relax: 'conv': Conv2d: {ONCE}no call; {LEAVE_OUT}"),
    (
        Measured(),
        Local(),
        "relax: Measured: the forward pass with the new layers must succeed, got RuntimeError: "
        "shape '[2, 9]' is invalid for input of size 1152; use a plan without the convolutions "
        "whose weights or attributes the model reads directly.",
    ),
    (
        Scaled(),
        Local(),
        "relax: the result must compute the same function, got different outputs on the example inputs; "
        "use a plan without the convolutions whose weights or attributes the model reads directly.",
    ),
    (
        normed(),
        Local(),
        "relax: '0': ParametrizedConv2d: the layer must be an unmodified convolution, got a parametrized "
        "weight or bias; use torch.nn.utils.parametrize.remove_parametrizations first.",
    ),
    (
        Linear(10, 10),
        Local(),
        "relax: the plan must select at least one convolution, got Local(), which selects none in Linear; "
        "list the names with model.named_modules().",
    ),
]


@pytest.mark.parametrize(("model", "plan", "text"), REFUSED)
def test_modules_that_cannot_be_replaced_are_refused(model, plan, text):
    before = take_snapshot(model)
    with pytest.raises(ConversionError) as error:
        relax(model, plan, X)
    assert str(error.value) == text
    assert is_same(take_snapshot(model), before)


def test_a_model_whose_result_is_refused_is_unchanged():
    model, state = Typed(), torch.get_rng_state()
    with pytest.raises(ConversionError, match="the new layer must be called once"):
        relax(model, Local(), X)
    assert torch.equal(state, torch.get_rng_state())
    assert type(model.conv) is Conv2d
    assert not model.conv._forward_pre_hooks


INPUTS = "pass inputs with the size, channels, dtype and device that the model expects."
RUN = "the forward pass on the example inputs must succeed in evaluation mode, got "
FAILS = [
    (
        make_network(),
        (torch.zeros(1, 3, 10, 10),),
        f"relax: '0': Conv2d: {RUN}RuntimeError: Given groups=1, weight of size [4, 1, 3, 3], expected "
        "input[1, 3, 10, 10] to have 1 channels, but got 3 channels instead; ",
    ),
    (
        make_network(),
        (torch.zeros(1, 1, 9, 9),),
        f"relax: '5': Linear: {RUN}RuntimeError: mat1 and mat2 shapes cannot be multiplied ",
    ),
    (
        Sequential(Sequential(nn.Conv2d(1, 4, 3, sharing=Local(), input_size=10)), Conv2d(4, 4, 3)),
        (torch.zeros(1, 1, 9, 9),),
        f"relax: '0.0': Conv2d: {RUN}ShapeError: Conv2d: ",
    ),
    (Noisy(), (X, X), f"relax: Noisy: {RUN}TypeError: "),
]


@pytest.mark.parametrize(("model", "inputs", "text"), FAILS)
def test_a_model_that_fails_on_its_example_inputs_is_refused(model, inputs, text):
    with pytest.raises(ConversionError) as error:
        relax(model, Local(), *inputs)
    assert str(error.value).startswith(text)
    assert str(error.value).endswith(f"; {INPUTS}")
    assert isinstance(error.value.__cause__, Exception)


ERRORS = [
    (
        lambda: relax(make_network(), {"3.1x": Local()}, X),
        ArgumentError,
        "relax: each name in the plan must be that of a module, got '3.1x'; did you mean '3.1', '3.0'?",
    ),
    (
        lambda: relax(None, Local()),
        ArgumentError,
        "relax: module must be a torch.nn.Module, got None.",
    ),
    (
        lambda: restrict(None, Full()),
        ArgumentError,
        "restrict: module must be a torch.nn.Module, got None.",
    ),
    (
        lambda: relax(torch.compile(Conv2d(1, 4, 3)), Local(), input_size=5),
        ConversionError,
        "relax: module must not be wrapped by torch.compile, got OptimizedModule around Conv2d; "
        "relax the original module, and compile the result.",
    ),
    (
        lambda: restrict(torch.compile(make_network()), Full()),
        ConversionError,
        "restrict: module must not be wrapped by torch.compile, got OptimizedModule around Sequential; "
        "restrict the original module, and compile the result.",
    ),
    (
        lambda: restrict(Sequential(not_finite()), Full()),
        ConversionError,
        "restrict: '0': Conv2d: weight must be finite, got NaN or infinity in 2 of 576 elements; replace "
        "them "
        "first, for example with torch.nan_to_num.",
    ),
    (
        lambda: relax(make_network(), {"features": Local()}, X),
        ArgumentError,
        "relax: each name in the plan must be that of a module, got 'features'; "
        "list the names with model.named_modules().",
    ),
    (
        lambda: relax(make_network(), {"1": Local()}, X),
        ArgumentError,
        "relax: '1': the module must be a convolution, got a BatchNorm2d.",
    ),
    (
        lambda: relax(make_network(), {"0": "local"}, X),
        ArgumentError,
        "relax: '0': its entry in the plan must be a sharing, got 'local'; convert text with "
        "parse_sharing().",
    ),
    (
        lambda: relax(make_network(), "local", X),
        ArgumentError,
        "relax: plan must be a sharing or a mapping from module names to sharings, got 'local'; "
        "use Local() or {'conv1': Local()}.",
    ),
    (
        lambda: relax(make_network(), Local()),
        ArgumentError,
        "relax: example inputs must be given for a model, to find input sizes, got none.",
    ),
    (
        lambda: relax(make_network(), Local(), input_size=6),
        ArgumentError,
        "relax: input_size must be None for a model, got 6; pass example inputs instead.",
    ),
    (
        lambda: relax(make_network(), Regional(9), X),
        SharingError,
        "relax: '3.0': Conv2d: sharing=Regional(9) needs an output of at least 9 x 9, got (8, 8) from "
        "input_size=(10, 10), kernel_size=3; use a smaller grid or Local().",
    ),
    (
        lambda: restrict(make_network(), {"0": Full()}),
        ConversionError,
        "restrict: '0': Conv2d: the layer must be one of weightshare.nn, got a torch.nn layer, which is "
        "already fully shared; use relax(layer, sharing, input_size=...) to share less.",
    ),
]


@pytest.mark.parametrize(("act", "kind", "text"), ERRORS)
def test_errors(act, kind, text):
    with pytest.raises(kind) as error:
        act()
    assert type(error.value) is kind
    assert str(error.value) == text
