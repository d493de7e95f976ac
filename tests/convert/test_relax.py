"""Relaxing a layer keeps its function, dtype and flags, and refuses sharings that cannot express it."""

import pytest
import torch
import torch.nn.utils.prune

from weightshare import (
    Full,
    Local,
    LowRank,
    Mapped,
    Regional,
    SharedAlong,
    Tiled,
    nn,
    reference,
    relax,
    restrict,
    to_dense,
)
from weightshare.errors import ArgumentError, ConversionError, ShapeError, SharingError

FINER = [Full(), Tiled(2), Regional(3), SharedAlong(0), LowRank(2), LowRank(3, "free"), Local()]


@pytest.mark.parametrize("sharing", FINER, ids=str)
@pytest.mark.parametrize("name", ["Conv1d", "Conv2d", "Conv3d"])
def test_torch_convolutions_relax_to_every_sharing(name, sharing):
    ndim = int(name[4])
    plain = getattr(torch.nn, name)(4, 6, 3, stride=2, padding=1, groups=2, dtype=torch.float64)
    relaxed = relax(plain, sharing, input_size=8)
    x = torch.randn(2, 4, *(8,) * ndim, dtype=torch.float64)
    torch.testing.assert_close(relaxed(x), plain(x), rtol=1e-12, atol=1e-12)
    assert type(relaxed) is getattr(nn, name)
    assert (relaxed.stride, relaxed.groups, relaxed.sharing) == ((2,) * ndim, 2, sharing)
    assert relaxed.bias_sharing == (sharing if sharing.one_hot else Full())


@pytest.mark.parametrize("sharing", [Full(), Tiled(2), LowRank(2), Local()], ids=str)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_torch_transposed_convolutions_relax_over_input_positions(ndim, sharing):
    plain = getattr(torch.nn, f"ConvTranspose{ndim}d")(
        4, 6, 3, 2, padding=1, output_padding=1, groups=2, dtype=torch.float64
    )
    relaxed = relax(plain, sharing, input_size=4)
    x = torch.randn(2, 4, *(4,) * ndim, dtype=torch.float64)
    torch.testing.assert_close(relaxed(x), plain(x), rtol=1e-12, atol=1e-12)
    assert type(relaxed) is getattr(nn, f"ConvTranspose{ndim}d")
    assert relaxed.position_size == (4,) * ndim
    assert relaxed.bias_sharing == Full()


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_is_kept(mode):
    plain = torch.nn.Conv2d(2, 3, (3, 2), padding="same", padding_mode=mode)
    x = torch.randn(2, 2, 5, 6)
    torch.testing.assert_close(relax(plain, Local(), input_size=(5, 6))(x), plain(x))


def test_dtype_device_gradients_and_training_flag_are_kept():
    plain = torch.nn.Conv2d(2, 3, 3, dtype=torch.bfloat16, device="meta").eval()
    relaxed = relax(plain, LowRank(2), input_size=6)
    assert {p.dtype for p in relaxed.parameters()} == {torch.bfloat16}
    assert {p.device.type for p in relaxed.parameters()} == {"meta"}
    assert not relaxed.training
    plain = torch.nn.Conv2d(2, 3, 3)
    plain.bias.requires_grad_(False)
    relaxed = relax(plain, LowRank(2), input_size=6)
    assert relaxed.training
    grads = {name: p.requires_grad for name, p in relaxed.named_parameters()}
    assert grads == {"weight": True, "bias": False, "coefficients_0": True, "coefficients_1": True}


def test_low_rank_starts_like_a_new_layer():
    """Corrections are zero and coefficients have variance 1, so that all corrections get a gradient."""
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(2, 3, 3)
    relaxed = relax(plain, LowRank(4), input_size=34)
    assert torch.equal(relaxed.weight[0], plain.weight)
    assert not relaxed.weight[1:].any()
    assert relaxed.assignment()[:, 1:].var().item() == pytest.approx(1, rel=0.3)
    relaxed(torch.randn(1, 2, 34, 34)).square().sum().backward()
    assert (relaxed.weight.grad[1:].abs().amax((1, 2, 3, 4)) > 0).all()


def test_a_higher_rank_keeps_kernels_bit_for_bit():
    layer = nn.Conv2d(2, 3, 3, sharing=LowRank(2), input_size=6)
    torch.nn.init.normal_(layer.weight)
    relaxed = relax(layer, LowRank(5))
    assert torch.equal(relaxed.weight[:3], layer.weight)
    assert torch.equal(relaxed.coefficients_1[:2], layer.coefficients_1)
    assert relaxed.coefficients_1[2:].any(1).all()
    free = relax(layer, LowRank(5, "free"))
    torch.testing.assert_close(*map(reference.kernels_by_position, (free, layer)))


@pytest.mark.parametrize("rank", [2, 7])
def test_banks_become_corrections(rank):
    layer = nn.Conv2d(2, 3, 3, sharing=Mapped([[0, 1], [2, 1]]), input_size=4, dtype=torch.float64)
    relaxed = relax(layer, LowRank(rank, "free"))
    torch.testing.assert_close(*map(reference.kernels_by_position, (relaxed, layer)), rtol=1e-13, atol=1e-13)


def test_a_rank_above_the_number_of_positions_is_reduced():
    layer = nn.Conv1d(2, 3, 3, sharing=LowRank(9), input_size=5, dtype=torch.float64)
    torch.nn.init.normal_(layer.weight)
    relaxed = relax(layer, LowRank(2))
    torch.testing.assert_close(*map(reference.kernels_by_position, (relaxed, layer)), rtol=1e-12, atol=1e-12)


def test_after_training_kernels_differ_by_position():
    torch.manual_seed(0)
    x, y = torch.randn(8, 2, 6, 6), torch.randn(8, 3, 4, 4)
    for sharing in (Tiled(2), LowRank(2), Local()):
        layer = relax(torch.nn.Conv2d(2, 3, 3), sharing, input_size=6)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            (layer(x) - y).square().mean().backward()
            optimizer.step()
        assert reference.kernels_by_position(layer).var(0).max() > 1e-8


def test_biases_are_expanded_to_the_default_bias_sharing():
    plain = torch.nn.Conv2d(2, 3, 3)
    assert relax(plain, Tiled(2), input_size=6).bias.shape == (4, 3)
    assert relax(plain, Local(), input_size=6, bias_sharing=Full()).bias.shape == (3,)
    assert relax(plain, Full()).bias.shape == (3,)
    assert relax(torch.nn.Conv2d(2, 3, 3, bias=False), Local(), input_size=6).bias is None


def test_biases_that_the_default_cannot_express_keep_their_sharing():
    layer = nn.Conv2d(2, 3, 3, sharing=Tiled(2), input_size=6)
    relaxed = relax(layer, LowRank(4, "free"))
    assert relaxed.bias_sharing == Tiled(2)
    assert torch.equal(relaxed.bias, layer.bias)


def test_the_size_of_the_layer_is_used_and_full_accepts_another():
    layer = nn.Conv2d(2, 3, 3, input_size=6)
    assert relax(layer, Local()).input_size == (6, 6)
    assert relax(layer, Local(), input_size=(7, 8)).output_size == (5, 6)
    assert relax(nn.LocallyConnected1d(2, 3, 3, input_size=6), Local()).input_size == (6,)


class Shifted(torch.nn.Conv2d):
    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight, bias) + 1


def custom_forward():
    layer = torch.nn.Conv2d(2, 3, 3)
    layer.forward = lambda x: x
    return layer


def hooked():
    layer = torch.nn.Conv2d(2, 3, 3)
    layer.register_forward_hook(lambda *_: None)
    return layer


def pruned():
    layer = torch.nn.Conv2d(2, 3, 3)
    torch.nn.utils.prune.l1_unstructured(layer, "weight", amount=0.5)
    return layer


CONV = "Conv2d: the layer must be an unmodified convolution, got "
REFUSED = [
    (
        torch.nn.LazyConv2d(3, 3),
        CONV.replace("Conv2d", "LazyConv2d") + "uninitialized (lazy) parameters; "
        "call the module once to initialize them.",
    ),
    (custom_forward(), CONV + "a custom forward; use a plain Conv2d."),
    (Shifted(2, 3, 3), CONV.replace("Conv2d", "Shifted") + "a custom _conv_forward; use a plain Conv2d."),
    (
        hooked(),
        CONV + "hooks (weight_norm and spectral_norm add one); remove them, and add them to the new layer.",
    ),
    (
        pruned(),
        CONV + "a pruned weight or bias; use torch.nn.utils.prune.remove first.",
    ),
    (
        torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(2, 3, 3)),
        CONV.replace("Conv2d", "ParametrizedConv2d") + "a parametrized weight or bias; "
        "use torch.nn.utils.parametrize.remove_parametrizations first.",
    ),
]


@pytest.mark.parametrize(("layer", "text"), REFUSED)
def test_modified_layers_are_refused(layer, text):
    with pytest.raises(ConversionError) as error:
        relax(layer, Local(), input_size=6)
    assert str(error.value) == text


def test_a_subclass_without_a_custom_forward_is_accepted():
    class Named(torch.nn.Conv2d):
        pass

    assert type(relax(Named(2, 3, 3), Local(), input_size=6)) is nn.Conv2d


def regional():
    return nn.Conv2d(2, 3, 3, sharing=Regional(2), input_size=8)


ERRORS = [
    (
        lambda: relax(regional(), Regional(3)),
        ConversionError,
        "Conv2d: the new sharing Regional(3) must refine the current one, got Regional(2) on 6 x 6 "
        "positions; use restrict(layer, Regional(3)) for the nearest layer.",
    ),
    (
        lambda: relax(regional(), Local(), bias_sharing=Full()),
        ConversionError,
        "Conv2d: bias_sharing=Full() must refine the current one, got Regional(2) on an output of size 6 x "
        "6; "
        "omit bias_sharing, or use restrict.",
    ),
    (
        lambda: relax(regional(), Local(), input_size=9),
        ArgumentError,
        "Conv2d: input_size must be (8, 8), the size for which Regional(2) has weights, got (9, 9).",
    ),
    (
        lambda: relax(torch.nn.Conv2d(2, 3, 3), Local()),
        ArgumentError,
        "Conv2d: sharing=Local() needs input_size, the spatial size of the input, got None; pass an integer "
        "or a tuple of length 2; only Full() works without input_size.",
    ),
    (
        lambda: relax(torch.nn.Conv2d(2, 3, 3), Local(), input_size=2),
        ShapeError,
        "Conv2d: the padded input must be at least (3, 3), the extent of the window, got (2, 2) "
        "from input_size=(2, 2); use a larger input, a smaller kernel or more padding.",
    ),
    (
        lambda: relax(torch.nn.Conv2d(2, 3, 3), Regional(5), input_size=6),
        SharingError,
        "Conv2d: sharing=Regional(5) needs an output of at least 5 x 5, got (4, 4) from input_size=(6, 6), "
        "kernel_size=3; use a smaller grid or Local().",
    ),
    (
        lambda: relax(torch.nn.Conv2d(2, 3, 3), "local", input_size=6),
        ArgumentError,
        "relax: the plan for a layer must be a sharing, got 'local'; convert text with parse_sharing().",
    ),
    (
        lambda: relax(torch.nn.Conv2d(2, 3, 3), Local(), torch.zeros(1, 2, 6, 6)),
        ArgumentError,
        "relax: a single layer takes no example inputs, got 1; pass input_size= instead.",
    ),
]


@pytest.mark.parametrize(("act", "kind", "text"), ERRORS)
def test_errors(act, kind, text):
    with pytest.raises(kind) as error:
        act()
    assert type(error.value) is kind
    assert str(error.value) == text


def test_only_new_coefficients_use_the_random_generator():
    layer, state = regional(), torch.get_rng_state()
    relax(layer, Local())
    assert torch.equal(state, torch.get_rng_state())
    relax(layer, LowRank(5, "free"))
    assert not torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("sharing", [Full(), Tiled(2), LowRank(2), Local()], ids=str)
def test_layers_on_the_meta_device_stay_there(sharing):
    relaxed = relax(torch.nn.Conv2d(2, 3, 3, device="meta"), sharing, input_size=6)
    assert relaxed.weight.is_meta
    assert relaxed(torch.zeros(1, 2, 6, 6, device="meta")).shape == (1, 3, 4, 4)


def test_the_default_device_does_not_matter():
    plain = torch.nn.Conv2d(2, 3, 3, padding=1)
    with torch.device("meta"):
        layer = relax(plain, Tiled(2), input_size=6)
        back = restrict(layer, Full()).module
        dense = to_dense(layer)
    assert torch.equal(back.weight, plain.weight)
    assert not any(p.is_meta for module in (layer, back, dense) for p in module.parameters())
