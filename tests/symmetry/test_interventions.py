"""Interventions give the same errors as networks from which a cause was removed by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import weightshare as ws
from tests.helpers.networks import X, net, picture
from weightshare.errors import SymmetryError
from weightshare.symmetry import equivariance_error, trace_equivariance, translate


def measure_error(model, x=X, shift=1):
    steps = (shift,) * (x.dim() - 2)
    return equivariance_error(model, x, translate(steps), out="invariant").relative


def run_interventions(model, x=X, shift=1):
    return trace_equivariance(model, x, shift).interventions()


def with_circular_padding(model):
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "circular"
    return model


def with_blur_pooling(model, circular):
    """Replace each max pool by one with stride 1 and blur pooling, for pools without padding."""
    layers = []
    for layer in copy.deepcopy(model):
        if isinstance(layer, nn.MaxPool2d):
            wrap = nn.CircularPad2d((0, 1, 0, 1)) if circular else nn.Identity()
            blur = ws.nn.BlurPool2d(padding_mode="circular" if circular else "reflect")
            layers.append(nn.Sequential(wrap, nn.MaxPool2d(2, 1), blur))
        else:
            layers.append(layer)
    return nn.Sequential(*layers).eval()


def test_padding_as_the_only_cause():
    model = net("zeros", "none")
    result = run_interventions(model)
    (padding,) = result.effects
    assert (padding.cause, padding.operations) == ("padding", ("0", "3", "6"))
    assert result.error == padding.alone == pytest.approx(measure_error(model))
    assert result.rest == padding.without < 1e-12
    assert result.interaction == pytest.approx(0)


def test_down_sampling_as_the_only_cause():
    model = net("circular", "pool")
    result = run_interventions(model)
    (pooling,) = result.effects
    assert (pooling.cause, pooling.operations) == ("down-sampling", ("2", "5"))
    assert result.error == pooling.alone == pytest.approx(measure_error(model))
    assert (
        result.rest
        == pooling.without
        == pytest.approx(measure_error(with_blur_pooling(model, circular=True)))
    )
    assert result.rest < result.error / 2


def test_two_causes_and_their_interaction():
    model = net("zeros", "pool")
    result = run_interventions(model)
    padding, pooling = result.effects
    assert (padding.cause, pooling.cause) == ("padding", "down-sampling")
    circular = with_circular_padding(model)
    assert result.error == pytest.approx(measure_error(model))
    assert padding.without == pooling.alone == pytest.approx(measure_error(circular))
    assert (
        pooling.without
        == padding.alone
        == pytest.approx(measure_error(with_blur_pooling(model, circular=True)))
    )
    assert result.rest == pytest.approx(measure_error(with_blur_pooling(circular, circular=True)))
    parts = result.rest + (padding.alone - result.rest) + (pooling.alone - result.rest)
    assert result.interaction == pytest.approx(result.error - parts)
    lines = str(result).splitlines()
    assert lines[0].startswith("relative error of the output for shift (1, 1): 0.0")
    assert lines[1] == (
        f"  padding (3 operations): error {padding.alone:.2g} from this cause alone, "
        f"{padding.without:.2g} with circular padding instead"
    )
    assert lines[2].endswith(f", {pooling.without:.2g} with blur pooling before every stride instead")
    assert lines[3] == (
        f"  all of these causes removed: error {result.rest:.2g}; interaction {result.interaction:+.2g}"
    )


def test_padded_pools_are_blurred_as_published():
    """A padded pool is blurred with reflection padding, as in Zhang 2019."""
    torch.manual_seed(0)
    pool = nn.MaxPool2d(3, 2, 1)
    model = (
        nn.Sequential(pool, nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        .double()
        .eval()
    )
    effects = {e.cause: e for e in run_interventions(model).effects}
    by_hand = nn.Sequential(nn.MaxPool2d(3, 1, 1), ws.nn.BlurPool2d(), *copy.deepcopy(model)[1:]).eval()
    assert effects["down-sampling"].without == pytest.approx(measure_error(by_hand))


class Functions(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.parts = model

    def forward(self, x):
        convolutions = [m for m in self.parts if isinstance(m, nn.Conv2d)]
        for number, m in enumerate(convolutions):
            x = F.relu(F.conv2d(x, m.weight, m.bias, padding=1))
            x = F.max_pool2d(x, 2) if number < 2 else x
        return self.parts[10](x.mean((2, 3)))


def test_functions_are_changed_like_modules():
    model = net("zeros", "pool")
    by_modules, by_functions = run_interventions(model), run_interventions(Functions(model).eval())
    assert by_functions.error == pytest.approx(by_modules.error)
    for one, other in zip(by_functions.effects, by_modules.effects):
        assert (one.alone, one.without) == (
            pytest.approx(other.alone),
            pytest.approx(other.without),
        )


@pytest.mark.parametrize(
    "layer",
    [lambda: nn.Conv1d(2, 2, 3, 2, padding=1), lambda: nn.AvgPool1d(2), lambda: nn.MaxPool1d(3, 3)],
    ids=["convolution", "mean", "maximum"],
)
def test_a_stride_is_replaced_by_blur_pooling(layer):
    torch.manual_seed(0)
    model = nn.Sequential(layer(), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()).double().eval()
    result = run_interventions(model, picture(1, 2, 24))
    assert "down-sampling" in {e.cause for e in result.effects}
    assert result.rest < result.error or result.error < 1e-12  # an average of averages is exact


def test_unshared_weights():
    torch.manual_seed(0)
    layer = ws.nn.Conv2d(3, 4, 3, padding=1, sharing=ws.Local(), input_size=16)
    model = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()
    effects = {e.cause: e for e in run_interventions(model).effects}
    assert set(effects) == {"padding", "unshared weights"}
    shared = nn.Sequential(ws.restrict(layer, ws.Full()).module, *copy.deepcopy(model)[1:]).eval()
    assert effects["unshared weights"].without == pytest.approx(measure_error(shared))
    assert run_interventions(model).rest < 1e-12


def test_the_model_is_unchanged():
    model = net("zeros", "pool")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    output = model(X)
    run_interventions(model)
    assert torch.equal(model(X), output)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[0].padding_mode == "zeros"


def test_a_shift_that_is_fractional_at_the_output_raises_an_error():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2)).double().eval()
    text = (
        r"interventions: the shift must be a whole number of positions of the output, got \(1, 1\), undefined"
    )
    with pytest.raises(SymmetryError, match=text):
        run_interventions(model)
    result = run_interventions(model, shift=2)
    assert {e.cause: e.without for e in result.effects}["padding"] < 1e-12


def test_no_cause_to_remove():
    result = run_interventions(net("circular", "none"))
    assert (result.effects, result.error < 1e-12, result.interaction) == ((), True, 0)


def test_a_max_pool_that_returns_indices_is_not_changed():
    result = run_interventions(lambda x: F.max_pool2d(x, 2, return_indices=True)[0].mean((2, 3)))
    assert (result.effects, result.unchanged) == ((), (("max_pool2d_with_indices", "pooling"),))


def test_models_in_single_precision():
    model = net("zeros", "none").float()
    result = run_interventions(model, X.float())
    (padding,) = result.effects
    assert padding.operations == ("0", "3", "6")
    assert result.error == padding.alone > 1e-6
    assert padding.without < 1e-12
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_causal_padding_belongs_to_the_layer_after_it(dtype):
    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 2, 2, dilation=4, dtype=dtype)

        def forward(self, x):
            return self.conv(F.pad(x, (4, 0)))

    model, x = Causal().eval(), torch.randn(1, 1, 16, dtype=dtype)
    result = run_interventions(model, x)
    (padding,) = result.effects
    assert padding.operations == ("conv",)
    assert padding.without < 1e-12 < padding.alone == result.error


def test_padding_that_is_wider_than_the_map():
    model = nn.Sequential(nn.Conv2d(1, 2, 7, padding=3)).double().eval()
    result = run_interventions(model, torch.randn(1, 1, 2, 2, dtype=torch.float64))
    assert result.unchanged == ()
    assert result.rest < 1e-12 < result.error


def test_a_stride_is_no_cause_of_a_shift_by_whole_positions():
    layers = [nn.Conv2d(3, 2, 3, 2, padding=1), nn.MaxPool2d(3, 2, 1)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()
    assert [effect.cause for effect in run_interventions(model).effects] == ["padding", "down-sampling"]
    result = run_interventions(model, shift=4)
    assert [effect.cause for effect in result.effects] == ["padding"]
    assert result.unchanged == ()


class WindowAttention(nn.Module):
    """Attention inside windows of four positions, with a mask for each window, or none."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, x):
        windows = x.transpose(1, 2).reshape(-1, 4, x.shape[1])
        attended = F.scaled_dot_product_attention(windows, windows, windows, attn_mask=self.mask)
        return attended.reshape(len(x), x.shape[2], -1).transpose(1, 2)


@pytest.mark.parametrize("masked", [False, -100.0])
def test_masks_of_windows(masked):
    mask = torch.full((4, 4, 4), masked is False, dtype=torch.bool if masked is False else torch.float64)
    mask[3, :2, 2:] = mask[3, 2:, :2] = masked
    x = torch.randn(1, 3, 16, dtype=torch.float64)
    trace = trace_equivariance(WindowAttention(mask).eval(), x, 4)
    assert [row.cause for row in trace.rows if row.op == "scaled_dot_product_attention"] == ["mask"]
    result = trace.interventions()
    (effect,) = result.effects
    assert effect.cause == "mask"
    expected = equivariance_error(WindowAttention(mask).eval(), x, translate(4)).relative
    assert result.error == effect.alone == pytest.approx(expected)
    assert equivariance_error(WindowAttention(None).eval(), x, translate(4)).relative < 1e-12
    assert effect.without < 1e-12


def test_causal_attention_has_a_mask():
    def attend(x):
        sequence = x.transpose(1, 2)
        return F.scaled_dot_product_attention(sequence, sequence, sequence, is_causal=True).transpose(1, 2)

    trace = trace_equivariance(attend, torch.randn(1, 3, 16, dtype=torch.float64))
    assert trace.first_loss == "scaled_dot_product_attention"
    assert "mask" in {row.cause for row in trace.rows}
    assert trace.interventions().unchanged == (("scaled_dot_product_attention", "mask"),)


def test_operations_that_are_exact_for_smaller_shifts_are_not_changed():
    layers = [nn.MaxPool2d(2), nn.ConvTranspose2d(3, 2, 2, stride=2)]
    (effect,) = run_interventions(nn.Sequential(*layers).double().eval()).effects
    assert (effect.cause, effect.operations) == ("down-sampling", ("0",))


@pytest.mark.parametrize("dtype", [torch.bool, torch.float64])
def test_the_mask_of_multihead_attention_is_removed(dtype):
    """It excludes positions where it is true, in contrast to `scaled_dot_product_attention`."""
    layer, x = nn.MultiheadAttention(4, 2, batch_first=True).double().eval(), picture(2, 4, 12)
    mask = torch.ones(12, 12).triu(1).bool()
    mask = mask if dtype == torch.bool else torch.zeros(12, 12, dtype=dtype).masked_fill(mask, -torch.inf)

    def attend(x):
        return layer(x.mT, x.mT, x.mT, attn_mask=mask, need_weights=False)[0].mT

    (effect,) = trace_equivariance(attend, x).interventions().effects
    assert (effect.cause, effect.without < 1e-12) == ("mask", True)


def test_a_transposed_convolution_by_function():
    weight = picture(3, 2, 4, 4)
    found = run_interventions(lambda x: F.conv_transpose2d(x, weight, stride=2, padding=1))
    assert (found.effects[0].cause, found.error > 0.1, found.rest < 1e-12) == ("padding", True, True)
    larger = run_interventions(nn.ConvTranspose2d(3, 2, 4).double().eval())
    assert (larger.effects, larger.unchanged) == ((), (("ConvTranspose2d", "padding"),))
    assert "padding: with circular padding, its output would have another size" in str(larger)


def test_a_pool_that_does_not_count_its_padding():
    pool = nn.AvgPool2d(3, 2, 1, count_include_pad=False).eval()
    (effect,) = run_interventions(pool, shift=2).effects
    assert (effect.cause, effect.alone > 0.1, effect.without < 1e-12) == ("padding", True, True)


def test_a_padded_layer_on_an_uneven_size():
    trace = trace_equivariance(nn.Conv2d(3, 2, 3, 2, 1).double().eval(), picture(1, 3, 15, 15), 2)
    assert trace.rows[0].causes == ("padding", "uneven size", "stride")
    assert trace.interventions().unchanged == (("Conv2d", "uneven size"),)
