"""A forward pass adds calls, MACs and dead parameters to a summary, and leaves the model unchanged."""

import copy
import threading
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import weightshare as ws


def macs(model, *inputs, **arguments):
    return ws.summary(model, *inputs, **arguments).totals.macs


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.bias = nn.Linear(20, 8), nn.Parameter(torch.zeros(20))

    def forward(self, x):
        return F.linear(self.enc(x), self.enc.weight.t(), self.bias)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


class Branches(nn.Module):
    """A model with two layers, one of which is never called."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.used(self.used(x))


def test_macs_are_counted_from_the_operators_that_run():
    x = torch.zeros(1, 20)
    assert macs(Tied(), x) == 320
    assert macs(Attention(), torch.zeros(1, 5, 16)) == 5 * 16 * 48 + 2 * 5 * 5 * 16 + 5 * 16 * 16 == 5920
    lstm = nn.LSTM(16, 16, 2, bidirectional=True, batch_first=True)
    assert macs(lstm, torch.zeros(1, 5, 16)) == 5 * (2 * 4 * 16 * 32 + 2 * 4 * 16 * 48)
    gru = nn.GRU(10, 20, batch_first=True)
    assert macs(gru, torch.zeros(2, 5, 10)) == 2 * 5 * 3 * 20 * (10 + 20)
    assert macs(nn.Embedding(100, 16), torch.zeros(1, 5, dtype=torch.long)) == 0
    assert macs(nn.Conv2d(4, 6, 3, groups=2), torch.zeros(2, 4, 8, 8)) == 2 * 36 * 6 * 2 * 9
    assert macs(nn.Bilinear(3, 4, 5), torch.zeros(2, 3), torch.zeros(2, 4)) == 2 * 5 * 12
    layer = ws.nn.Conv2d(2, 3, 3, sharing=ws.Local(), input_size=8)
    assert macs(layer, torch.zeros(4, 2, 8, 8)) == 4 * 36 * 3 * 18
    assert macs(layer, input_shape=(2, 8, 8)) == 36 * 3 * 18 == macs(layer, input_shape="2x8x8")


def test_an_operator_without_a_formula_is_reported():
    class Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real

    (note,) = ws.summary(Fourier(), torch.zeros(2, 8)).warnings
    assert (note.code, note.names) == ("NOT_COUNTED", ("aten._fft_r2c",))


def test_calls_and_totals():
    answer = ws.summary(Branches(), torch.zeros(1, 8))
    assert [row.calls for row in answer.rows] == [2, 0]
    assert (answer.totals.unique, answer.totals.unrolled, answer.totals.dead) == (144, 216, 72)
    assert [note.code for note in answer.warnings] == ["DEAD_PARAM"]
    assert answer.rows[1].parts[0].kind == "dead"
    assert "Calling modules repeatedly saves 72 parameters." in str(answer)


def test_weights_read_without_a_call_of_their_module_are_not_dead():
    answer = ws.summary(Attention(), torch.zeros(1, 5, 16))
    assert (answer.totals.dead, answer.warnings) == (0, ())
    assert ws.summary(Tied(), torch.zeros(1, 20)).totals.dead == 0


@pytest.mark.parametrize("training", [True, False])
def test_all_layers_of_a_transformer_are_called(training):
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).train(training)
    answer = ws.summary(model, torch.zeros(1, 5, 16))
    assert answer.totals.dead == 0
    assert answer.totals.macs == 2 * (5920 + 2 * 5 * 16 * 32)


class Changing(nn.Module):
    """A model that writes to a buffer, replaces another and draws random numbers, in every mode."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("last", torch.zeros(8))

    def forward(self, x):
        self.count += 1
        self.last = x[0] + torch.rand(8)
        return self.drop(self.norm(x))


def test_the_model_is_unchanged():
    model = Changing().train()
    model.drop.eval()
    model.norm.weight.grad = torch.ones(8)
    calls = []
    model.norm.register_forward_hook(lambda *args: calls.append(1))
    model.norm.register_forward_pre_hook(lambda module, args: module.train() and None)
    before, grad = copy.deepcopy(model.state_dict()), model.norm.weight.grad
    buffers = dict(model.named_buffers())
    state = torch.get_rng_state()
    ws.summary(model, torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)
    assert (model.training, model.norm.training, model.drop.training) == (True, True, False)
    assert model.norm.weight.grad is grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())
    assert (calls, len(model.norm._forward_hooks)) == ([1], 1)
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


@pytest.mark.filterwarnings("error")
def test_a_failing_forward_pass_is_reported_and_the_static_counts_remain():
    model = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(9, 8)))
    answer = ws.summary(model, torch.zeros(1, 8))
    (note,) = answer.warnings
    assert (note.code, note.names) == ("FORWARD_FAILED", ("1.0",))
    assert note.text.startswith("the forward pass failed in 1.0 (Linear): RuntimeError: mat1 and mat2")
    assert (answer.totals.unique, answer.totals.macs, answer.totals.unrolled) == (152, None, None)
    assert "FORWARD_FAILED" in str(answer)
    assert model.training
    assert not nn.modules.module._global_forward_hooks


def test_an_interrupted_forward_pass_leaves_the_model_unchanged():
    class Slow(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    model = Slow().train()
    with pytest.raises(KeyboardInterrupt):
        ws.summary(model, torch.zeros(1))
    assert model.training
    assert not nn.modules.module._global_forward_hooks


@dataclass
class Batch:
    image: torch.Tensor
    scale: float


class TakesBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, batch, *, twice=False):
        x = batch["image"] if isinstance(batch, dict) else batch.image
        return {"out": self.layer(x) * (2 if twice else 1)}


@pytest.mark.parametrize("batch", [Batch(torch.zeros(3, 8), 2.0), {"image": torch.zeros(3, 8)}])
def test_inputs_in_dicts_and_dataclasses(batch):
    answer = ws.summary(TakesBatch(), batch, example_kwargs={"twice": True})
    assert (answer.totals.macs, answer.input) == (96, "3 x 8")
    assert answer.rows[0].output_shape == (3, 4)


def test_lazy_parameters_stay_lazy():
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyConv1d(2, 1))
    static, run = ws.summary(model), ws.summary(model, torch.zeros(1, 8))
    assert (static.totals.unique, static.totals.lazy) == (0, 4)
    assert [note.code for note in static.warnings] == ["LAZY"]
    assert (run.totals.unique, run.totals.lazy) == (36 + 4, 0)
    assert nn.parameter.is_lazy(model[0].weight)


def test_the_meta_device_gives_the_same_summary_as_the_cpu():
    with torch.device("meta"):
        abstract = ws.models.resnet18()
    shape = (3, 64, 64)
    assert ws.summary(abstract, input_shape=shape).to_dict() == (
        ws.summary(ws.models.resnet18(), input_shape=shape).to_dict()
    )


def test_compiled_and_copied_models():
    model = Branches()
    plain = ws.summary(model, torch.zeros(1, 8)).to_dict()
    assert ws.summary(torch.compile(model), torch.zeros(1, 8)).to_dict() == plain
    assert ws.summary(copy.deepcopy(model), torch.zeros(1, 8)).to_dict() == plain
    inner = nn.Sequential(torch.compile(model))
    assert ws.summary(inner, torch.zeros(1, 8)).totals.macs == plain["totals"]["macs"]


def test_the_unshared_total():
    layer = nn.Conv2d(3, 96, 11, stride=4)
    totals = ws.summary(layer, input_shape=(3, 227, 227)).totals
    assert (totals.unique, totals.unshared) == (34_944, 105_705_600)
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1, bias=False))
    model[1].weight = model[0].weight
    totals = ws.summary(model, input_shape=(1, 4, 4)).totals
    assert (totals.unique, totals.untied, totals.unrolled, totals.unshared) == (10, 19, 19, 160)
    tiled = ws.nn.Conv2d(2, 3, 3, sharing=ws.Tiled(2), input_size=8)
    assert ws.summary(tiled, input_shape=(2, 8, 8)).totals.unshared == 36 * 3 * (18 + 1)
    low = ws.nn.Conv2d(2, 3, 3, sharing=ws.LowRank(2), input_size=8)
    assert ws.summary(low, input_shape=(2, 8, 8)).totals.unshared == 36 * 3 * (18 + 1)


class Caught(nn.Module):
    """A model that falls back to another layer if the first one raises."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Sequential(nn.Linear(9, 9)), nn.Linear(8, 8)

    def forward(self, x):
        try:
            return self.first(x)
        except RuntimeError:
            return self.second(x) @ torch.zeros(8, 4)


@pytest.mark.filterwarnings("error")
def test_a_model_that_catches_an_error():
    answer = ws.summary(Caught(), torch.zeros(1, 8))
    assert {row.name: row.macs for row in answer.rows} == {"": 32, "first.0": 0, "second": 64}


def test_inference_mode_and_backward_inside_forward():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            with torch.enable_grad():
                self.layer(x).sum().backward()
            with torch.inference_mode():
                return self.layer(x)

    model = Inside()
    answer = ws.summary(model, torch.zeros(1, 8))
    assert not [note for note in answer.warnings if note.code == "NOT_COUNTED"]
    assert answer.totals.macs >= 128
    assert model.layer.weight.grad is None
    with torch.inference_mode():
        assert ws.summary(nn.Conv1d(2, 3, 3), torch.zeros(1, 2, 8)).totals.macs == 6 * 18


def test_inputs_are_not_written_to():
    x = -torch.ones(3)
    ws.summary(nn.ReLU(inplace=True), x)
    assert bool((x == -1).all())


def test_scripted_modules():
    answer = ws.summary(torch.jit.script(nn.Sequential(nn.Linear(8, 8))), torch.zeros(1, 8))
    assert (answer.totals.unique, answer.totals.macs) == (72, 64)
    assert "Linear" in {row.type for row in answer.rows}


def test_control_flow_is_reported():
    class Branch(nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))

    answer = ws.summary(Branch(), torch.zeros(3))
    assert [note.code for note in answer.warnings] == ["NOT_COUNTED"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("change", "extra"),
    [
        (lambda layer: layer, 0),
        (nn.utils.parametrizations.weight_norm, 2),
        (nn.utils.weight_norm, 2),
        (nn.utils.parametrizations.spectral_norm, 0),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), 0),
    ],
)
def test_the_unshared_total_with_norms_and_pruning(change, extra):
    model = nn.Sequential(change(nn.Conv2d(1, 2, 3)))
    assert ws.summary(model, input_shape=(1, 8, 8)).totals.unshared == 36 * 2 * 10 + extra


def test_a_subclass_with_a_keras_name():
    class Conv2D(nn.Conv2d):
        pass

    assert ws.summary(Conv2D(1, 2, 3), input_shape=(1, 8, 8)).totals.unshared == 720


def test_unrolled_follows_the_callers_of_modules_that_are_not_called():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    numbers = sum(p.numel() for p in layer.parameters())
    assert ws.summary(nn.Sequential(layer, layer, layer), torch.zeros(1, 2, 4)).totals.unrolled == 3 * numbers


def test_other_threads_run_their_models_undisturbed():
    model, other, stop, errors = Branches(), nn.Sequential(nn.Linear(4, 4)), threading.Event(), []

    def run():
        while not stop.is_set():
            try:
                other(torch.zeros(1, 4))
            except Exception as error:
                errors.append(error)

    expected = ws.summary(model, torch.zeros(1, 8)).to_dict()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        found = [ws.summary(model, torch.zeros(1, 8)).to_dict() for _ in range(30)]
    finally:
        stop.set()
        thread.join(30)
    assert not errors
    assert all(each == expected for each in found)


def test_a_model_that_summarizes_a_part_of_itself():
    class Curious(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Linear(8, 4)

        def forward(self, x):
            assert ws.summary(self.part, x).totals.macs == 32
            return self.part(x)

    assert ws.summary(Curious(), torch.zeros(1, 8)).totals.dead == 0
