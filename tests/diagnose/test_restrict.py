"""`sharing_test` on layers with several kernels: what one shared kernel costs."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset

import weightshare as ws
from tests.helpers.diagnosed import QUICK, StoppedError, make_examples, make_network, stop_after
from weightshare.diagnose.restricting import examine_restriction
from weightshare.errors import ArgumentError, ConversionError

RULE = ws.diagnose.Rule(least_examples=50)


def make_local(strength, count=400):
    """Return a locally connected layer, and data from kernels that differ from a shared one by `strength`.

    The layer has kernels that differ from those of the data by noise.
    """
    torch.manual_seed(3)
    x = torch.randn(count, 1, 6, 6)
    teacher = ws.nn.Conv2d(1, 2, 3, padding=1, sharing=ws.Local(), input_size=6, bias=False)
    convolution = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    with torch.no_grad():
        teacher.weight.copy_(ws.relax(convolution, ws.Local(), input_size=6).weight)
        teacher.weight += strength * torch.randn_like(teacher.weight)
        y = teacher(x) + 0.5 * torch.randn(count, 2, 6, 6)
        teacher.weight += 0.1 * torch.randn_like(teacher.weight)
    return nn.Sequential(teacher).eval(), TensorDataset(x, y)


@pytest.fixture(scope="module")
def shared():
    model, data = make_local(0.0)
    return model, ws.sharing_test(model, data, mse_loss, epochs=3, batch_size=20, rule=RULE)


def test_kernels_of_a_teacher_that_shares_are_told_to_share(shared):
    model, test = shared
    layer = test.layers["0"]
    assert layer.verdict == "share"
    assert layer.reason == "one kernel for all positions costs less than 1% of the loss"
    assert set(layer.gains) == {"continue"}
    assert 0 < layer.interval[0] < layer.gain  # here one kernel is even better
    assert test.plan == {"0": ws.Full()}
    assert test.coefficients == {}
    assert layer.parameters == 36 * 18
    assert layer.extra_parameters == 18 - 36 * 18
    restricted = ws.restrict(model, test)
    assert restricted.module[0].sharing == ws.Full()
    x = torch.randn(3, 1, 6, 6)
    assert torch.equal(restricted.module(x), ws.restrict(model, ws.Full()).module(x))
    assert model[0].sharing == ws.Local()


def test_kernels_of_a_local_teacher_are_kept():
    model, data = make_local(0.3)
    test = ws.sharing_test(model, data, mse_loss, epochs=3, batch_size=20, rule=RULE)
    layer = test.layers["0"]
    assert layer.verdict == "keep"
    assert layer.reason == "one kernel for all positions costs more than 1% of the loss"
    assert layer.interval[1] < -0.01
    assert layer.p_value > 0.9
    assert test.plan == {}
    with pytest.raises(ConversionError, match="restrict: the plan must select at least one convolution"):
        ws.restrict(model, test)


def test_text_json_and_html(shared, tmp_path):
    _, test = shared
    assert "Share: one kernel for all positions costs less than 1% of the loss." in str(test)
    assert "Spectrum of the differences of the kernels from the shared one: " in str(test)
    row = next(line for line in str(test).splitlines() if line.split()[:2] == ["0", "share"])
    assert row.split()[-2:] == ["full", "-630"]
    assert "The verdict is to share one kernel in a layer with several if the interval is above -1%" in str(
        test
    )
    assert "relax" not in str(test)
    values = json.loads(test.to_json())
    assert values["plan"] == {"0": "full"}
    assert values["layers"][0]["extra_parameters"] == -630
    assert np.shape(values["layers"][0]["map"]) == (6, 6)
    test.to_html(tmp_path / "test.html")
    page = (tmp_path / "test.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "Where kernels differ from the shared one (light: more)" in page


def test_each_function_applies_its_part_of_the_plan():
    """One layer to relax and one to share."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)).eval()
    x = torch.randn(20, 1, 7, 7)
    model = ws.relax(model, {"1": ws.Local()}, x)
    data, rule = TensorDataset(x, model(x).detach() + 1), ws.diagnose.Rule(least_examples=1)
    test = ws.sharing_test(model, data, mse_loss, rule=rule, **QUICK)
    assert list(test.layers) == ["0", "1"]
    for verdict, name in (("relax", "0"), ("share", "1")):
        object.__setattr__(test.layers[name], "verdict", verdict)
    assert test.plan == {"0": ws.LowRank(2), "1": ws.Full()}
    relaxed, restricted = ws.relax(model, test), ws.restrict(model, test).module
    assert [layer.sharing for layer in relaxed] == [ws.LowRank(2), ws.Local()]
    torch.testing.assert_close(relaxed(x), model(x))
    assert type(restricted[0]) is nn.Conv2d
    assert restricted[1].sharing == ws.Full()
    assert torch.equal(restricted[1].weight, ws.restrict(model[1], ws.Full()).module.weight)
    both = ws.restrict(relaxed, test).module
    assert [layer.sharing for layer in both] == [ws.LowRank(2), ws.Full()]


@pytest.mark.parametrize(
    "sharing", [ws.Local(), ws.Regional(2), ws.LowRank(2), ws.SharedAlong(0), ws.Tiled(2)]
)
def test_every_sharing(sharing):
    model = ws.relax(make_network(), {"3": sharing}, make_examples().tensors[0][:2])
    test = ws.sharing_test(model, make_examples(), cross_entropy, layers=["3"], **QUICK)
    layer = test.layers["3"]
    assert layer.suggestion == ws.Full()
    assert layer.gain is not None
    restricted = ws.restrict(model, {"3": ws.Full()}).module[3]
    assert layer.parameters == sum(p.numel() for p in model[3].parameters())
    assert layer.parameters + layer.extra_parameters == sum(p.numel() for p in restricted.parameters())
    np.testing.assert_allclose(layer.map, 0, atol=1e-6)  # relaxed kernels are equal until they are trained
    np.testing.assert_allclose(layer.spectrum, 0, atol=1e-5)


@pytest.mark.parametrize(
    "make", [ws.nn.Conv1d, ws.nn.ConvTranspose1d, ws.nn.Conv3d, ws.nn.LocallyConnected2d]
)
def test_dimensions_and_transposed_layers(make):
    size = {"Conv3d": (4, 3, 3), "LocallyConnected2d": (4, 5)}.get(make.__name__, (6,))
    sharing = {} if make is ws.nn.LocallyConnected2d else {"sharing": ws.Local()}
    model = nn.Sequential(make(2, 2, 2, input_size=size, **sharing)).eval()
    x = torch.randn(20, 2, *size)
    test = ws.sharing_test(model, TensorDataset(x, model(x).detach() + 0.1), mse_loss, **QUICK)
    assert test.layers["0"].map.shape == model[0].position_size
    assert test.layers["0"].gain < 0
    assert "data:image/png" in test._repr_html_()


def test_the_map_and_the_spectrum_show_how_the_kernels_differ():
    """Kernels w + c[p] v differ most where c is far from its mean; taps on padding do not count."""
    layer = ws.nn.Conv2d(1, 2, 3, padding=1, sharing=ws.Local(), input_size=5)
    w, v, c = torch.randn(1, 18), torch.randn(1, 18), torch.randn(25, 1)
    with torch.no_grad():
        kernels = (w + c * v).view(25, 2, 1, 3, 3)
        layer.weight.copy_(kernels.permute(0, 3, 4, 2, 1))
    found = examine_restriction("test", nn.Sequential(layer), "0")
    rows = torch.arange(5)[:, None] + torch.arange(3) - 1
    inside = (rows >= 0) & (rows < 5)
    used = (inside[:, None, :, None] & inside[None, :, None, :]).view(25, 1, 1, 3, 3)
    mean = (kernels * used).sum(0) / used.sum(0)
    differences = ((kernels - mean) * used).flatten(1).detach()
    torch.testing.assert_close(found.map.float(), differences.norm(dim=1).view(5, 5))
    torch.testing.assert_close(
        torch.tensor(found.spectrum), torch.linalg.svdvals(differences)[:8], rtol=1e-3, atol=1e-3
    )
    interior = found.map[1:4, 1:4].flatten().float()
    assert (
        torch.corrcoef(torch.stack([interior, (c.view(5, 5)[1:4, 1:4] - c.mean()).abs().flatten()]))[0, 1]
        > 0.9
    )


def test_starting_from_the_nearest_kernel_without_training_gives_its_loss():
    model, (x, y) = make_local(0.3, count=60)[0], make_local(0.3, count=60)[1].tensors
    still = ws.sharing_test(model, TensorDataset(x, y), mse_loss, optimizer=make_still, **QUICK)
    with torch.no_grad():
        before, after = (
            ((one(x) - y) ** 2).mean((1, 2, 3)) for one in (model, ws.restrict(model, ws.Full()).module)
        )
    assert still.layers["0"].gain == pytest.approx(float((before - after).mean() / before.mean()), rel=0.05)


def make_still(parameters):
    return torch.optim.SGD(parameters, lr=0.0)


def test_layers_with_several_kernels_that_are_not_tried_are_listed():
    one = ws.nn.Conv2d(1, 2, 6, sharing=ws.Local(), input_size=6)
    model = nn.Sequential(
        ws.nn.Conv2d(1, 1, 3, padding=1, sharing=ws.Local(), input_size=6), one, nn.Flatten()
    )
    x = torch.randn(20, 1, 6, 6)
    data = TensorDataset(x, model(x).detach())
    test = ws.sharing_test(model.eval(), data, mse_loss, **QUICK)
    assert test.skipped == {"1": "the layer must have several kernels, got one"}
    model[0].requires_grad_(False)
    with pytest.raises(ConversionError) as error:
        ws.sharing_test(model, data, mse_loss, layers=["0"], **QUICK)
    expected = "the weight of the layer must require gradients, got a frozen weight."
    assert str(error.value) == f"sharing_test: '0': {expected}"
    model[0].requires_grad_(True).register_forward_hook(lambda *_: None)
    with pytest.raises(
        ConversionError, match="sharing_test: '0': the layer must be an unmodified convolution"
    ):
        ws.sharing_test(model, data, mse_loss, layers=["0"], **QUICK)


def test_a_tied_local_layer_is_not_restricted_alone():
    local = ws.nn.Conv2d(1, 2, 3, sharing=ws.Local(), input_size=6)
    model = nn.Sequential(local, nn.ReLU(), ws.nn.TiedConvTranspose2d(local)).eval()
    x = torch.randn(20, 1, 6, 6)
    test = ws.sharing_test(model, TensorDataset(x, x), mse_loss, **QUICK)
    assert (
        test.skipped["0"]
        == "the layer must not share parameters with other modules, got one shared with '2.weight'"
    )
    assert list(test.ties) == ["0.weight"]


def test_restrict_refuses_a_test_for_a_single_layer(shared):
    model, test = shared
    with pytest.raises(ArgumentError) as error:
        ws.restrict(model[0], test)
    assert str(error.value) == "restrict: the plan for a layer must be a sharing, got SharingTest."
    with pytest.raises(ArgumentError, match="model must not be a single convolution, got Conv2d; wrap it"):
        ws.sharing_test(model[0], TensorDataset(torch.zeros(20, 1, 6, 6), torch.zeros(20)), mse_loss)


def test_an_interrupted_test_continues_and_an_executor_gives_equal_results(tmp_path):
    model, data = make_local(0.1, count=60)
    complete = ws.sharing_test(model, data, mse_loss, **QUICK)
    with pytest.raises(StoppedError):
        ws.sharing_test(model, data, mse_loss, out=tmp_path, progress=stop_after(3), **QUICK)
    states = []
    with ThreadPoolExecutor(2) as executor:
        again = ws.sharing_test(
            model, data, mse_loss, out=tmp_path, progress=states.append, executor=executor, **QUICK
        )
    assert again.to_json() == complete.to_json()
    assert [(s.candidate, s.layer, s.stored) for s in states] == [
        ("start", "", True),
        ("start", "", True),
        ("continue", "", True),
        ("continue", "", False),
        ("restrict", "0", False),
        ("restrict", "0", False),
    ]
