"""Products with oneDNN have float32 accuracy, and the precision setting of the process is restored."""

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
    """Pretend that oneDNN is exact on this machine, and restore the setting after each test."""
    before = setting.fp32_precision
    setting.fp32_precision = "none"
    monkeypatch.setattr(products, "is_onednn_exact", lambda: True)
    yield
    setting.fp32_precision = before


def test_the_setting_changes_only_inside():
    with FastProducts(X):
        assert setting.fp32_precision == "bf16"
    assert setting.fp32_precision == "none"


def test_the_setting_is_restored_after_an_error():
    with pytest.raises(KeyError), FastProducts(X), FastProducts(X):
        raise KeyError
    assert setting.fp32_precision == "none"
    with FastProducts(X):
        assert setting.fp32_precision == "bf16"
    assert setting.fp32_precision == "none"


def test_nested_contexts():
    with FastProducts(X):
        with FastProducts(X):
            pass
        assert setting.fp32_precision == "bf16"
    assert setting.fp32_precision == "none"


def test_the_last_of_several_threads_restores_the_setting():
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
def test_a_setting_chosen_by_the_user_does_not_change(chosen):
    setting.fp32_precision = chosen
    with FastProducts(X):
        assert setting.fp32_precision == chosen
    assert setting.fp32_precision == chosen


def test_a_setting_chosen_inside_is_kept():
    with FastProducts(X):
        setting.fp32_precision = "tf32"
    assert setting.fp32_precision == "tf32"


def test_a_setting_for_all_torch_backends_can_be_changed_later():
    torch.backends.fp32_precision = "tf32"
    try:
        with FastProducts(X):
            assert setting.fp32_precision == "tf32"
        torch.backends.fp32_precision = "ieee"
        assert setting.fp32_precision == "ieee"
    finally:
        torch.backends.fp32_precision = "none"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_starts_with_the_original_setting():
    with FastProducts(X), products._lock:
        child = os.fork()
        if child == 0:
            is_reset = (
                setting.fp32_precision == "none" and products._inside == 0 and products._lock.acquire(False)
            )
            os._exit(0 if is_reset else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "like", [torch.zeros(1).double(), torch.zeros(1).half(), torch.zeros(1, device="meta")]
)
def test_other_dtypes_and_devices_change_nothing(like):
    with FastProducts(like):
        assert setting.fp32_precision == "none"


def test_nothing_changes_on_a_machine_that_would_round(monkeypatch):
    monkeypatch.setattr(products, "is_onednn_exact", lambda: False)
    with FastProducts(X):
        assert setting.fp32_precision == "none"


def test_measuring_exactness_restores_the_setting(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(products, "_exact", None)
    with FastProducts(X):
        assert setting.fp32_precision == ("bf16" if products.is_onednn_exact() else "none")
    assert setting.fp32_precision == "none"


def test_rounding_to_bfloat16_is_detected(monkeypatch):
    def rounded(left, right):
        return (left.bfloat16().double() @ right.bfloat16().double()).float()

    assert products._is_exact(torch.randn(4, 32, 64), torch.randn(4, 64, 16))
    monkeypatch.setattr(torch, "bmm", rounded)
    assert not products._is_exact(torch.randn(4, 32, 64), torch.randn(4, 64, 16))


@pytest.mark.parametrize(("batch", "channels", "out"), [(1, 64, 64), (32, 16, 48), (3, 100, 7)])
def test_a_layer_has_float32_accuracy(monkeypatch, batch, channels, out):
    """Output and gradients differ from float64 by at most 4 eps times the sum of absolute values."""
    monkeypatch.undo()  # use the setting that this machine really supports
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, out, 3, sharing=Local(), input_size=6)
    x = torch.randn(batch, channels, 6, 6)
    direction = torch.randn(batch, out, 4, 4)

    def compute_exactly(transform):
        exact = nn.Conv2d(channels, out, 3, sharing=Local(), input_size=6, dtype=torch.float64)
        exact.load_state_dict({name: transform(value) for name, value in layer.state_dict().items()})
        return compute_gradients(exact, transform(x).double(), transform(direction).double())

    for got, expected, sums in zip(
        compute_gradients(layer, x, direction),
        compute_exactly(lambda v: v),
        compute_exactly(torch.abs),
        strict=True,
    ):
        assert ((got - expected).abs() <= 4 * torch.finfo(torch.float32).eps * sums).all()


def compute_gradients(layer, x, direction):
    x = x.requires_grad_() if x.is_leaf else x.detach().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, [x, layer.weight], direction)]
