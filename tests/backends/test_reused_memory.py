"""Memory of gradients that is used again, and only when nobody holds it."""

import gc
import os
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._subclasses.functional_tensor import FunctionalTensorMode

from weightshare import Local, nn
from weightshare.backends import reuse

LIKE = torch.zeros(1)
SMAPS = Path("/proc/self/smaps")
SHAPE = (64, 64)

pytestmark = pytest.mark.skipif(not reuse._CAN_KEEP, reason="the system cannot take idle memory back")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Kept from 16 KB on, beginning with nothing."""
    monkeypatch.setattr(reuse, "SMALLEST", 2**14)
    reuse._idle.clear()
    yield
    reuse._idle.clear()


def make(shape=SHAPE, like=LIKE):
    return reuse.empty(shape, like)


def test_what_is_gone_is_used_again():
    first = make()
    address = first.data_ptr()
    del first
    assert make().data_ptr() == address


def test_what_is_held_is_not():
    held = [make().fill_(number) for number in range(3)]
    assert len({tensor.data_ptr() for tensor in held}) == 3
    assert all(bool((tensor == number).all()) for number, tensor in enumerate(held))


@pytest.mark.parametrize(
    "hold",
    [
        lambda tensor: tensor[3],
        lambda tensor: tensor.t(),
        lambda tensor: tensor.detach(),
        lambda tensor: tensor.view(torch.int32),
        lambda tensor: tensor.numpy(),
        lambda tensor: tensor.untyped_storage(),
        lambda tensor: torch.nn.Parameter(tensor),
    ],
    ids=["row", "transposed", "detached", "other dtype", "numpy", "storage", "parameter"],
)
def test_a_view_keeps_it(hold):
    first = make()
    address, view = first.data_ptr(), hold(first)
    del first
    gc.collect()
    assert make().data_ptr() != address
    del view
    gc.collect()
    both = [make(), make()]
    assert address in {tensor.data_ptr() for tensor in both}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtypes_and_shapes(dtype):
    made = make((5, 3, 64, 64), torch.zeros(1, dtype=dtype))
    assert (made.shape, made.dtype, made.is_contiguous()) == ((5, 3, 64, 64), dtype, True)
    made.fill_(2)
    assert made.sum() == 2 * made.numel() or dtype.itemsize == 2


def test_another_size_lets_idle_memory_go():
    make()
    assert reuse._idle
    held = make((128, 128))
    assert not reuse._idle
    assert held.shape == (128, 128)


def test_two_sizes_in_turn_are_both_kept_while_as_much_is_in_use():
    held = [make(), make((128, 128))]
    addresses = [[make(shape).data_ptr() for shape in (SHAPE, (128, 128))] for _ in range(3)]
    assert addresses[0] == addresses[1] == addresses[2]
    assert len(held) == 2


def test_without_memory_torch_answers(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(reuse.mmap, "mmap", refuse)
    assert make().shape == SHAPE


def test_small_sizes_and_other_devices_use_torchs_own():
    small, meta = make((8, 8)), make(SHAPE, torch.zeros(1, device="meta"))
    del small
    assert meta.device.type == "meta"
    assert not reuse._idle


def test_a_system_without_it_uses_torchs_own(monkeypatch):
    monkeypatch.setattr(reuse, "_CAN_KEEP", False)
    make()
    assert not reuse._idle


def test_threads():
    """Many at once, of many sizes: nobody gets what another holds."""
    errors, held = [], make((4096, 4096))  # much in use, so that what is idle is kept

    def work(number):
        try:
            for turn in range(200):
                mine = make((64 + 4 * turn + number, 64)).fill_(number)
                if not bool((mine == number).all()):
                    errors.append(number)
                del mine
        except RuntimeError as error:
            errors.append(error)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(switch)
    assert not errors
    assert held.numel()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_its_own():
    """Neither what is held nor what is idle is shared with the child."""
    held, idle = make().fill_(1), make()
    del idle
    child = os.fork()
    if child == 0:
        held.fill_(7)
        make().fill_(7)
        os._exit(0)
    mine = make().fill_(2)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert bool((held == 1).all())
    assert bool((mine == 2).all())


def step(layer, scale):
    """With as many images as take the way of large layers."""
    layer(torch.full((8, 4, 10, 10), scale)).sum().backward()
    return layer.weight.grad


def test_a_layers_gradient():
    layer = nn.Conv2d(4, 8, 3, sharing=Local(), input_size=10)
    address = step(layer, 1.0).data_ptr()
    layer.zero_grad()
    assert reuse._idle
    assert step(layer, 2.0).data_ptr() == address
    held = layer.weight.grad
    before = held.clone()
    layer.zero_grad()
    other = step(layer, 3.0)
    assert other.data_ptr() != address
    assert torch.equal(held, before)
    torch.testing.assert_close(other, 1.5 * before)


def test_gradients_add_up():
    layer = nn.Conv2d(4, 8, 3, sharing=Local(), input_size=10)
    once = step(layer, 1.0).clone()
    torch.testing.assert_close(step(layer, 2.0), 3 * once)


def test_training_is_the_same_as_with_torchs_own(monkeypatch):
    def weights():
        torch.manual_seed(0)
        layer = nn.Conv2d(4, 8, 3, sharing=Local(), input_size=10)
        optimizer = torch.optim.Adam(layer.parameters())
        for _ in range(5):
            optimizer.zero_grad()
            layer(torch.randn(8, 4, 10, 10)).square().mean().backward()
            optimizer.step()
        return layer.weight.detach()

    kept = weights()
    monkeypatch.setattr(reuse, "_CAN_KEEP", False)
    assert torch.equal(weights(), kept)


def marked(tensor):
    """Whether the mapping that has the middle of a tensor asks for large pages."""
    address, inside = tensor.data_ptr() + tensor.nbytes // 2, False
    for line in SMAPS.read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            first, last = (int(text, 16) for text in words[0].split("-"))
            inside = first <= address < last
        elif inside and words[0] == "VmFlags:":
            return "hg" in words
    raise AssertionError(hex(address))


@pytest.mark.skipif(
    reuse._C is None or not SMAPS.exists() or "VmFlags" not in SMAPS.read_text(),
    reason="the system does not tell",
)
def test_large_weights_and_gradients_ask_for_large_pages():
    large = nn.Conv2d(4, 8, 3, sharing=Local(), input_size=66).weight  # 64 x 64 positions, 4.5 MB
    assert marked(large)
    assert marked(make((1024, 1024)))
    reuse._idle.clear()
    assert not marked(torch.empty(2**25))


@pytest.mark.filterwarnings("error")
def test_layers_are_built_where_tensors_stand_for_numbers():
    for mode in (FakeTensorMode(), FunctionalTensorMode()):
        with mode:
            layer = nn.Conv2d(4, 8, 3, sharing=Local(), input_size=66)
            assert layer.weight.shape == (4096, 3, 3, 4, 8)


def test_a_system_that_cannot_mark_memory_as_free(monkeypatch, capfd):
    """As where a process has locked its memory."""
    monkeypatch.setattr(reuse.mmap, "MADV_FREE", 12345)
    make()
    gc.collect()
    assert not reuse._idle
    assert capfd.readouterr().err == ""
