"""Products by oneDNN: as exact as float32, and the user's precision setting is left as it was."""

import os
import threading

import pytest
import torch

from weightshare import Local, nn
from weightshare.backends import products
from weightshare.backends.products import FastProducts

X = torch.zeros(1)
setting = torch.backends.mkldnn.matmul


@pytest.fixture(autouse=True)
def _precision(monkeypatch):
    """As if this machine kept float32; the setting is put back after every test."""
    before = setting.fp32_precision
    setting.fp32_precision = "none"
    monkeypatch.setattr(products, "keeps_float32", lambda: True)
    yield
    setting.fp32_precision = before


def test_the_setting_holds_inside_alone():
    with FastProducts(X):
        assert setting.fp32_precision == "bf16"
    assert setting.fp32_precision == "none"


def test_after_an_error():
    with pytest.raises(KeyError), FastProducts(X), FastProducts(X):
        raise KeyError
    assert setting.fp32_precision == "none"
    with FastProducts(X):
        assert setting.fp32_precision == "bf16"
    assert setting.fp32_precision == "none"


def test_one_inside_another():
    with FastProducts(X):
        with FastProducts(X):
            pass
        assert setting.fp32_precision == "bf16"
    assert setting.fp32_precision == "none"


def test_threads():
    """The last to leave puts the setting back."""
    all_inside, first_left, seen = threading.Barrier(4), threading.Event(), []

    def work(number):
        with FastProducts(X):
            all_inside.wait(10)
            if number:
                first_left.wait(10)
            seen.append(setting.fp32_precision)
        if not number:
            first_left.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == ["bf16"] * 4
    assert setting.fp32_precision == "none"


@pytest.mark.parametrize("chosen", ["ieee", "tf32", "bf16"])
def test_what_the_user_chose_is_left_alone(chosen):
    setting.fp32_precision = chosen
    with FastProducts(X):
        assert setting.fp32_precision == chosen
    assert setting.fp32_precision == chosen


def test_a_choice_made_inside_stays():
    with FastProducts(X):
        setting.fp32_precision = "tf32"
    assert setting.fp32_precision == "tf32"


def test_a_choice_for_all_backends_can_be_changed_later():
    torch.backends.fp32_precision = "tf32"
    try:
        with FastProducts(X):
            assert setting.fp32_precision == "tf32"
        torch.backends.fp32_precision = "ieee"
        assert setting.fp32_precision == "ieee"
    finally:
        torch.backends.fp32_precision = "none"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_begins_outside():
    with FastProducts(X), products._lock:
        child = os.fork()
        if child == 0:
            alright = (
                setting.fp32_precision == "none" and products._inside == 0 and products._lock.acquire(False)
            )
            os._exit(0 if alright else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "like", [torch.zeros(1).double(), torch.zeros(1).half(), torch.zeros(1, device="meta")]
)
def test_other_dtypes_and_devices_change_nothing(like):
    with FastProducts(like):
        assert setting.fp32_precision == "none"


def test_a_machine_that_would_round_is_left_alone(monkeypatch):
    monkeypatch.setattr(products, "keeps_float32", lambda: False)
    with FastProducts(X):
        assert setting.fp32_precision == "none"


def test_the_trial_leaves_the_setting(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(products, "_exact", None)
    with FastProducts(X):
        assert setting.fp32_precision == ("bf16" if products.keeps_float32() else "none")
    assert setting.fp32_precision == "none"


def test_products_that_round_to_bfloat16_are_noticed(monkeypatch):
    def rounded(left, right):
        return (left.bfloat16().double() @ right.bfloat16().double()).float()

    assert products._is_exact(torch.randn(4, 32, 64), torch.randn(4, 64, 16))
    monkeypatch.setattr(torch, "bmm", rounded)
    assert not products._is_exact(torch.randn(4, 32, 64), torch.randn(4, 64, 16))


@pytest.mark.parametrize(("batch", "channels", "out"), [(1, 64, 64), (32, 16, 48), (3, 100, 7)])
def test_a_layer_is_as_exact_as_float32(monkeypatch, batch, channels, out):
    """Output and gradients, against float64, within some units of the sum of absolute values."""
    monkeypatch.undo()  # what this machine really does
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, out, 3, sharing=Local(), input_size=6)
    x = torch.randn(batch, channels, 6, 6)
    direction = torch.randn(batch, out, 4, 4)

    def results(form):
        exact = nn.Conv2d(channels, out, 3, sharing=Local(), input_size=6, dtype=torch.float64)
        exact.load_state_dict({name: form(value) for name, value in layer.state_dict().items()})
        return gradients(exact, form(x).double(), form(direction).double())

    for got, expected, sums in zip(
        gradients(layer, x, direction), results(lambda v: v), results(torch.abs), strict=True
    ):
        assert ((got - expected).abs() <= 4 * torch.finfo(torch.float32).eps * sums).all()


def gradients(layer, x, direction):
    x = x.requires_grad_() if x.is_leaf else x.detach().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, [x, layer.weight], direction)]
