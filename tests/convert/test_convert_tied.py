"""Converting models whose layers share: the new layers share in the same way, or the model is refused."""

import copy
from functools import partial

import pytest
import torch
from torch.nn import Conv2d, Module, Parameter, Sequential
from torch.nn.utils import parametrize

import weightshare as ws
from weightshare import Full, Local, LowRank, Mapped, Regional, Tiled, nn, reference, relax, restrict
from weightshare.errors import ArgumentError, ConversionError

X = torch.rand(4, 1, 12, 12)
COEFFICIENTS = ("coefficients_0", "coefficients_1")


class Autoencoder(Module):
    """A convolution and the transposed convolution with its kernel."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        return self.decoder(torch.relu(self.encoder(x)))


def make_encoder(sharing=None, cls=nn.Conv2d):
    torch.manual_seed(0)
    more = {} if sharing is None else {"sharing": sharing, "input_size": 12}
    return cls(1, 8, 3, stride=2, padding=1, **more)


def make_decoder(sharing=None):
    more = {} if sharing is None else {"sharing": sharing, "input_size": 6}
    return nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1, output_padding=1, **more)


def reading(sharing=None, cls=nn.Conv2d):
    encoder = make_encoder(sharing, cls)
    return Autoencoder(encoder, nn.TiedConvTranspose2d(encoder, output_padding=1))


def with_same_parameter(sharing=None):
    model = Autoencoder(make_encoder(sharing), make_decoder(sharing))
    for name in ("weight", *model.decoder._coefficient_names):
        setattr(model.decoder, name, getattr(model.encoder, name))
    return model


def declared(sharing=None):
    model = Autoencoder(make_encoder(sharing), make_decoder(sharing))
    names = ("weight", *model.decoder._coefficient_names)
    return ws.tie_weights(model, {f"decoder.{name}": f"encoder.{name}" for name in names})


KINDS = {
    "reading": reading,
    "same parameter": with_same_parameter,
    "declared": declared,
    "reading a torch layer": partial(reading, cls=Conv2d),
}
SHARINGS = [Local(), Tiled(2), Regional((2, 3)), LowRank(2), LowRank(1, "free"), Mapped([[0] * 5 + [1]] * 6)]


def check_tied(model, other, kernel_names):
    """Check that a model has one set of kernels, and that its state dict restores all of it."""
    for name in kernel_names:
        assert getattr(model.decoder, name) is getattr(model.encoder, name)
        assert any(getattr(model.encoder, name) is p for p in model.parameters())
    assert ws.check_tied_weights(model).ok
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(X), model(X))
    torch.testing.assert_close(copy.deepcopy(model)(X), model(X))


@pytest.mark.parametrize("sharing", SHARINGS, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_a_tied_autoencoder_relaxes_to_a_tied_autoencoder(kind, sharing):
    model = KINDS[kind]()
    relaxed = relax(model, sharing, X)
    torch.testing.assert_close(relaxed(X), model(X))
    assert relaxed.encoder.sharing == relaxed.decoder.sharing == sharing
    assert isinstance(relaxed.decoder, type(model.decoder).__mro__[1 if "reading" in kind else 0])
    names = ("weight", *relaxed.encoder._coefficient_names)
    check_tied(relaxed, relax(model, sharing, X), names)
    codes = {warning.code for warning in ws.check_tied_weights(relaxed).warnings}
    assert codes == ({"UNDECLARED_TIE"} if kind == "same parameter" else set())
    relaxed(X).square().sum().backward()
    gradient = relaxed.encoder.weight.grad.clone()
    relaxed.zero_grad()
    alone = torch.func.functional_call(relaxed.encoder, {"weight": relaxed.encoder.weight.detach()}, (X,))
    relaxed.decoder(torch.relu(alone)).square().sum().backward()
    assert not torch.allclose(relaxed.encoder.weight.grad, gradient)  # both layers contribute


@pytest.mark.parametrize("target", [Full(), Tiled(2), LowRank(1), Regional(2)], ids=repr)
@pytest.mark.parametrize("source", [Local(), LowRank(3)], ids=repr)
@pytest.mark.parametrize("kind", ["reading", "same parameter", "declared"])
@torch.no_grad()
def test_a_tied_autoencoder_restricts_to_a_tied_autoencoder(kind, source, target):
    model = KINDS[kind](source)
    model.encoder.weight.normal_()
    result = restrict(model, target)
    assert result.errors["encoder"] == pytest.approx(result.errors["decoder"])
    alone = restrict(copy.deepcopy(model.encoder), target)
    assert result.errors["encoder"] == pytest.approx(alone.error)
    kernels = map(reference.kernels_by_position, (result.module.encoder, alone.module))
    torch.testing.assert_close(*kernels)
    check_tied(
        result.module, restrict(model, target).module, ("weight", *result.module.encoder._coefficient_names)
    )
    names = {name for name, _ in result.module.named_parameters(remove_duplicate=False)}
    assert not (names & {f"encoder.{name}" for name in COEFFICIENTS}) or target == LowRank(1)
    assert all(
        tie.alias.rpartition(".")[2] in ("weight", *COEFFICIENTS)
        for tie in ws.find_tied_weights(result.module)
    )


@pytest.mark.parametrize("sharing", [Local(), LowRank(2)], ids=repr)
def test_a_chain_of_ties_stays_a_chain(sharing):
    model = Chain()
    relaxed = relax(model, sharing, X)
    torch.testing.assert_close(relaxed(X), model(X))
    for made in (relaxed, restrict(relaxed, Tiled(2)).module):
        assert made.second.weight is made.first.weight is made.encoder.weight
        assert ws.check_tied_weights(made).ok, str(ws.check_tied_weights(made))
    if sharing == LowRank(2):
        assert relaxed.second.coefficients_0 is relaxed.encoder.coefficients_0


def test_training_a_relaxed_tied_autoencoder_keeps_the_tie():
    relaxed = relax(reading(), Local(), X)
    optimizer = torch.optim.SGD(relaxed.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (relaxed(X) - X).square().mean().backward()
        optimizer.step()
    assert relaxed.decoder.weight is relaxed.encoder.weight
    assert relaxed.encoder.weight.std(0).max() > 0  # kernels differ by position
    assert {name for name, _ in relaxed.named_parameters()} == {
        "encoder.weight",
        "encoder.bias",
        "decoder.bias",
    }


def test_a_tied_bias_stays_tied():
    model = Sequential(Conv2d(1, 1, 3, padding=1), Conv2d(1, 1, 3, padding=1))
    model[1].bias = model[0].bias
    relaxed = relax(model, Local(), X)
    assert relaxed[1].bias is relaxed[0].bias
    assert relaxed[1].weight is not relaxed[0].weight
    torch.testing.assert_close(relaxed(X), model(X))
    assert restrict(relaxed, Full()).module[1].bias is not relaxed[1].bias


class Calls(Module):
    """A model that calls its layers in a given order."""

    def __init__(self, order, **layers):
        super().__init__()
        self.order = order
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        for name in self.order:
            x = self.get_submodule(name)(x)
        return x


def test_a_layer_with_several_calls_is_converted_once():
    model = Calls("aba", a=Conv2d(1, 1, 3, padding=1), b=Conv2d(1, 1, 3, padding=1))
    relaxed = relax(model, Local(), X)
    torch.testing.assert_close(relaxed(X), model(X))
    assert relaxed.a.input_size == (12, 12)


def test_a_layer_with_two_names_is_replaced_under_both():
    layer = Conv2d(1, 1, 3, padding=1)
    model = Calls("ab", a=layer, b=layer)
    for plan in (Local(), {"a": Local()}, {"b": Local()}):
        relaxed = relax(model, plan, X)
        assert relaxed.a is relaxed.b
        assert relaxed.a.sharing == Local()
        torch.testing.assert_close(relaxed(X), model(X))
        result = restrict(relaxed, Full() if isinstance(plan, Local) else dict.fromkeys(plan, Full()))
        assert result.module.a is result.module.b
        assert result.errors.keys() == ({"a"} if isinstance(plan, Local) else plan.keys())


def test_a_shared_block_is_converted_once():
    block = Sequential(Conv2d(1, 2, 3, padding=1), torch.nn.ReLU(), Conv2d(2, 1, 3, padding=1))
    model = Sequential(block, torch.nn.Tanh(), block)
    relaxed = relax(model, Local(), X)
    assert relaxed[0] is relaxed[2]
    torch.testing.assert_close(relaxed(X), model(X))


class Listed(Module):
    """A model that calls a convolution through plain containers."""

    def __init__(self):
        super().__init__()
        self.conv = Conv2d(1, 1, 3, padding=1)
        self.plain, self.named = [self.conv], {"conv": (self.conv,)}

    def forward(self, x):
        return self.named["conv"][0](self.plain[0](x))


def test_plain_containers_refer_to_the_new_layer():
    model = Listed()
    relaxed = relax(model, Local(), X)
    torch.testing.assert_close(relaxed(X), model(X))
    restricted = restrict(relaxed, Full()).module
    torch.testing.assert_close(restricted(X), model(X))
    for made in (relaxed, restricted):
        assert made.plain[0] is made.named["conv"][0] is made.conv


class Twin(Module):
    """A parametrization that reads the weight of a layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, weight):
        return self.layer.weight.flip(2)


class HiddenTwin(Twin):
    """The same, with the layer in a plain list, so that it is registered once."""

    def __init__(self, layer):
        Module.__init__(self)
        self.layers = [layer]

    def forward(self, weight):
        return self.layers[0].weight.flip(2)


def parametrized(twin):
    model = Sequential(make_encoder(Local()), nn.Conv2d(1, 8, 3, sharing=Local(), input_size=6))
    parametrize.register_parametrization(model[1], "weight", twin(model[0]), unsafe=True)
    return model


def with_parametrized_alias():
    """Return two layers with one Parameter, which one of them parametrizes."""
    model = Sequential(Conv2d(1, 1, 3, padding=1), Conv2d(1, 1, 3, padding=1))
    model[1].weight = model[0].weight
    parametrize.register_parametrization(model[1], "weight", torch.nn.Identity())
    return model


class Chain(Module):
    """An encoder and two decoders, the second of which reads the weight of the first."""

    def __init__(self):
        super().__init__()
        self.encoder = make_encoder()
        self.first, self.second = nn.TiedConvTranspose2d(self.encoder, output_padding=1), make_decoder()
        ws.tie_weights(self, {"second.weight": "first.weight"})

    def forward(self, x):
        hidden = torch.relu(self.encoder(x))
        return self.first(hidden) + self.second(hidden)


def flipped():
    layers = [nn.Conv2d(1, 1, 3, padding=1, sharing=Tiled(2), input_size=12) for _ in range(2)]
    return ws.tie_weights(Sequential(*layers), {"1.weight": ws.Tie("0.weight", "reshape")})


def with_view():
    layers = [nn.Conv2d(1, 1, 3, padding=1, sharing=Local(), input_size=12) for _ in range(2)]
    layers[1].weight = Parameter(layers[0].weight.detach())
    return Sequential(*layers)


def with_part():
    """Return two layers with the same banks and different coefficients."""
    model = with_same_parameter(LowRank(2))
    for name in COEFFICIENTS:
        setattr(model.decoder, name, Parameter(getattr(model.decoder, name).detach().clone()))
    return model


def with_hidden():
    model = Sequential(make_encoder(Local()))
    model.saved = {"weights": [model[0].weight]}
    return model


def with_linear():
    layer = nn.LocallyConnected2d(1, 1, 1, input_size=6)
    linear = torch.nn.Linear(36, 1, bias=False)
    linear.weight = layer.weight
    return Sequential(layer, torch.nn.Flatten(), linear)


def without_encoder():
    return Sequential(reading(Local()).decoder, nn.Conv2d(1, 1, 3, sharing=Local(), input_size=12))


def with_other_padding():
    encoder = make_encoder(Local())
    return Autoencoder(encoder, nn.TiedConvTranspose2d(encoder, output_padding=0))


def with_other_size():
    model = Sequential(Conv2d(1, 1, 3), Conv2d(1, 1, 3))
    model[1].weight = model[0].weight
    return model


def with_other_sharing():
    layers = [nn.Conv2d(1, 1, 3, padding=1, sharing=s, input_size=12) for s in (Tiled(2), Regional(2))]
    layers[1].weight = layers[0].weight
    return Sequential(*layers)


LEAVE_OUT = "use a plan {name: sharing} without this layer."
OWN = "the layer must not share parameters with other modules, got one shared with "
REFUSED = [
    (
        lambda: relax(reading(), {"encoder": Local()}, X),
        f"relax: 'encoder': Conv2d: {OWN}'decoder.weight'; include 'decoder' with the same sharing, "
        f"or {LEAVE_OUT}",
    ),
    (
        lambda: relax(reading(), {"decoder": Local()}, X),
        f"relax: 'decoder': TiedConvTranspose2d: {OWN}'encoder.weight'; include 'encoder' with the same "
        f"sharing, or {LEAVE_OUT}",
    ),
    (
        lambda: restrict(declared(Local()), {"decoder": Full()}),
        f"restrict: 'decoder': ConvTranspose2d: {OWN}'encoder.weight'; include 'encoder' with the same "
        f"sharing, or {LEAVE_OUT}",
    ),
    (
        lambda: relax(reading(), {"encoder": Local(), "decoder": Tiled(2)}, X),
        f"relax: 'decoder': TiedConvTranspose2d: {OWN}'encoder.weight'; give 'encoder' and 'decoder' the "
        "same sharing, or call untie_weights first.",
    ),
    *[
        (
            lambda twin=twin: restrict(parametrized(twin), {"0": Full()}),
            "restrict: '0': Conv2d: the layer must not be part of a parametrization, got one in "
            f"'1.parametrizations.weight'; {LEAVE_OUT}",
        )
        for twin in (Twin, HiddenTwin)
    ],
    (
        lambda: relax(with_parametrized_alias(), {"0": Local()}, X),
        f"relax: '0': Conv2d: {OWN}'1.parametrizations.weight.original'; {LEAVE_OUT}",
    ),
    (lambda: restrict(flipped(), Full()), f"restrict: '0': Conv2d: {OWN}'1.weight'; {LEAVE_OUT}"),
    (lambda: restrict(with_view(), Full()), f"restrict: '0': Conv2d: {OWN}'1.weight'; {LEAVE_OUT}"),
    (
        lambda: restrict(with_part(), Full()),
        f"restrict: 'decoder': ConvTranspose2d: {OWN}'encoder.weight'; {LEAVE_OUT}",
    ),
    (
        lambda: restrict(with_linear(), Full()),
        f"restrict: '0': LocallyConnected2d: {OWN}'2.weight'; {LEAVE_OUT}",
    ),
    (lambda: relax(with_other_sharing(), Local(), X), f"relax: '1': Conv2d: {OWN}'0.weight'; {LEAVE_OUT}"),
    (
        lambda: restrict(with_hidden(), Full()),
        "restrict: '0': Conv2d: nothing else in the model must refer to the parameters of the layer, got a "
        f"reference to its weight outside of the registered parameters; {LEAVE_OUT}",
    ),
    (
        lambda: restrict(without_encoder(), {"1": Full()}),
        "restrict: '0': TiedConvTranspose2d: weight must be read from a module of the model, got one that is "
        "read from a Conv2d outside of it; convert a model that contains both, or call untie_weights first.",
    ),
    (
        lambda: restrict(with_other_padding(), Full()),
        "restrict: 'decoder': ConvTranspose2d: the layer must have the same taps on padding as 'encoder', "
        "whose kernel it uses, got different taps; call untie_weights first, or use a plan {name: sharing} "
        "without these layers.",
    ),
    (
        lambda: relax(with_other_size(), Local(), X),
        "relax: '1': Conv2d: the layer must have as many positions as '0', whose kernel it uses, got "
        "8 x 8 and "
        "10 x 10; call untie_weights first, or use a plan {name: sharing} without these layers.",
    ),
]


@pytest.mark.parametrize(("act", "text"), REFUSED)
def test_ties_that_cannot_be_kept_are_refused(act, text):
    with pytest.raises(ConversionError) as error:
        act()
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("function", "act"),
    [
        ("relax", lambda layer: relax(layer, Local(), input_size=6)),
        ("restrict", lambda layer: restrict(layer, Full())),
        ("to_torch", ws.to_torch),
    ],
)
def test_a_single_layer_that_reads_its_weight_is_refused(function, act):
    model = reading()
    with pytest.raises(ConversionError) as error:
        act(model.decoder)
    assert str(error.value) == (
        f"{function}: TiedConvTranspose2d: weight must be a parameter of the layer, got one that is "
        "read from the "
        "weight of another module (Conv2d); call untie_weights first, or relax or restrict the model that "
        "contains both."
    )
    act(ws.untie_weights(model, "decoder.weight").decoder)


def make_sized(model):
    """Return the decoder as an untied layer with a fixed input size."""
    sized = make_decoder(Full())
    sized.load_state_dict({"weight": model.encoder.weight, "bias": model.decoder.bias})
    return sized


@torch.no_grad()
def test_the_dense_form_of_a_tied_layer_is_a_copy_of_its_values():
    model = reading()
    linear = ws.to_dense(model.decoder, 6)
    torch.testing.assert_close(linear.weight, reference.dense_matrix(make_sized(model), (6, 6)).float())
    assert linear.weight.requires_grad
    layers = Sequential(Conv2d(1, 1, 3), Conv2d(1, 1, 3))
    ws.tie_weights(layers, {"1.weight": ws.Tie("0.weight", "flip")})
    linear = ws.to_dense(layers[1], 6)
    x = torch.rand(2, 1, 6, 6)
    torch.testing.assert_close(linear(x.flatten(1)), layers[1](x).flatten(1))
    assert linear.weight.requires_grad


def test_a_layer_selected_under_two_names_is_refused():
    layer = Conv2d(1, 1, 3, padding=1)
    with pytest.raises(ArgumentError) as error:
        relax(Calls("ab", a=layer, b=layer), {"a": Local(), "b": Local()}, X)
    assert str(error.value) == (
        "relax: the plan must contain each layer once, got 'a' and 'b', two names of one module; "
        "leave out 'b'."
    )


class Keyword(Module):
    """A model with positional and keyword inputs, one of them a dict and one a tuple."""

    def __init__(self):
        super().__init__()
        self.conv = Conv2d(1, 2, 3)

    def forward(self, batch, *, scale, offsets=(0, 0)):
        return {"y": self.conv(batch["x"]) * scale + offsets[1]}


def test_keyword_inputs_are_passed_on():
    model = Keyword()
    kwargs = {"scale": torch.tensor(2.0), "offsets": (1, 3)}
    relaxed = relax(model, Local(), {"x": X}, example_kwargs=kwargs)
    torch.testing.assert_close(relaxed({"x": X}, **kwargs), model({"x": X}, **kwargs))
    relaxed = relax(model, Local(), example_kwargs={"batch": {"x": X}, **kwargs})
    assert relaxed.conv.input_size == (12, 12)
    with pytest.raises(ConversionError, match=r"relax: Keyword: the forward pass .* got TypeError"):
        relax(model, Local(), {"x": X})


class InPlace(Module):
    def __init__(self):
        super().__init__()
        self.conv = Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x.mul_(2))


def test_the_example_inputs_are_not_changed():
    x = X.clone()
    relax(InPlace(), Local(), x)
    assert torch.equal(x, X)


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (
            lambda: relax(Keyword(), Local(), example_kwargs=[X]),
            "relax: example_kwargs must map argument names to inputs, got [tensor(",
        ),
        (
            lambda: relax(Conv2d(1, 1, 3), Local(), example_kwargs={"x": X}),
            "relax: a single layer takes no example inputs, got 1; pass input_size= instead.",
        ),
    ],
)
def test_invalid_keyword_inputs_are_refused(act, text):
    with pytest.raises(ArgumentError) as error:
        act()
    assert str(error.value).startswith(text)
