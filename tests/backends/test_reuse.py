"""The memory of a large gradient is reused, and only after nothing refers to it any more."""

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

pytestmark = pytest.mark.skipif(not reuse._CAN_KEEP, reason="the system has no MADV_FREE")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Reuse memory from 16 KB, starting with none."""
    monkeypatch.setattr(reuse, "SMALLEST", 2**14)
    reuse._idle.clear()
    yield
    reuse._idle.clear()


def allocate(shape=SHAPE, like=LIKE):
    return reuse.allocate(shape, like)


def test_memory_of_a_deleted_tensor_is_reused():
    first = allocate()
    address = first.data_ptr()
    del first
    assert allocate().data_ptr() == address


def test_memory_of_a_live_tensor_is_not_reused():
    held = [allocate().fill_(number) for number in range(3)]
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
def test_a_view_keeps_the_memory(hold):
    first = allocate()
    address, view = first.data_ptr(), hold(first)
    del first
    gc.collect()
    assert allocate().data_ptr() != address
    del view
    gc.collect()
    both = [allocate(), allocate()]
    assert address in {tensor.data_ptr() for tensor in both}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtypes_and_shapes(dtype):
    made = allocate((5, 3, 64, 64), torch.zeros(1, dtype=dtype))
    assert (made.shape, made.dtype, made.is_contiguous()) == ((5, 3, 64, 64), dtype, True)
    made.fill_(2)
    assert made.sum() == 2 * made.numel() or dtype.itemsize == 2


def test_another_size_releases_idle_memory():
    allocate()
    assert reuse._idle
    held = allocate((128, 128))
    assert not reuse._idle
    assert held.shape == (128, 128)


def test_two_alternating_sizes_are_both_kept_while_as_much_memory_is_in_use():
    held = [allocate(), allocate((128, 128))]
    addresses = [[allocate(shape).data_ptr() for shape in (SHAPE, (128, 128))] for _ in range(3)]
    assert addresses[0] == addresses[1] == addresses[2]
    assert len(held) == 2


def test_if_mmap_fails_torch_allocates(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(reuse.mmap, "mmap", refuse)
    assert allocate().shape == SHAPE


def test_torch_allocates_small_sizes_and_other_devices():
    small, meta = allocate((8, 8)), allocate(SHAPE, torch.zeros(1, device="meta"))
    del small
    assert meta.device.type == "meta"
    assert not reuse._idle


def test_torch_allocates_on_a_system_without_madv_free(monkeypatch):
    monkeypatch.setattr(reuse, "_CAN_KEEP", False)
    allocate()
    assert not reuse._idle


def test_threads_never_share_memory():
    errors, held = [], allocate((4096, 4096))  # much memory in use, so that idle memory is kept

    def work(number):
        try:
            for turn in range(200):
                mine = allocate((64 + 4 * turn + number, 64)).fill_(number)
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
def test_a_forked_process_shares_neither_live_nor_idle_memory():
    held, idle = allocate().fill_(1), allocate()
    del idle
    child = os.fork()
    if child == 0:
        held.fill_(7)
        allocate().fill_(7)
        os._exit(0)
    mine = allocate().fill_(2)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert bool((held == 1).all())
    assert bool((mine == 2).all())


def step(layer, scale):
    """Return the weight gradient of a batch that is large enough for reused memory."""
    layer(torch.full((8, 4, 10, 10), scale)).sum().backward()
    return layer.weight.grad


def test_the_gradient_of_a_layer_is_in_reused_memory():
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


def test_gradients_accumulate():
    layer = nn.Conv2d(4, 8, 3, sharing=Local(), input_size=10)
    once = step(layer, 1.0).clone()
    torch.testing.assert_close(step(layer, 2.0), 3 * once)


def test_training_does_not_depend_on_reused_memory(monkeypatch):
    def train():
        torch.manual_seed(0)
        layer = nn.Conv2d(4, 8, 3, sharing=Local(), input_size=10)
        optimizer = torch.optim.Adam(layer.parameters())
        for _ in range(5):
            optimizer.zero_grad()
            layer(torch.randn(8, 4, 10, 10)).square().mean().backward()
            optimizer.step()
        return layer.weight.detach()

    expected = train()
    monkeypatch.setattr(reuse, "_CAN_KEEP", False)
    assert torch.equal(train(), expected)


def has_large_pages(tensor):
    """Return whether large pages are requested for the memory in the middle of a tensor."""
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
    reason="the system does not report page flags",
)
def test_large_weights_and_gradients_request_large_pages():
    large = nn.Conv2d(4, 8, 3, sharing=Local(), input_size=66).weight  # 64 x 64 positions, 4.5 MB
    assert has_large_pages(large)
    assert has_large_pages(allocate((1024, 1024)))
    reuse._idle.clear()
    assert not has_large_pages(torch.empty(2**25))


@pytest.mark.filterwarnings("error")
def test_layers_are_built_with_fake_tensors():
    for mode in (FakeTensorMode(), FunctionalTensorMode()):
        with mode:
            layer = nn.Conv2d(4, 8, 3, sharing=Local(), input_size=66)
            assert layer.weight.shape == (4096, 3, 3, 4, 8)


def test_memory_that_cannot_be_marked_as_free_is_not_kept(monkeypatch, capfd):
    """This happens if a process has locked its memory."""
    monkeypatch.setattr(reuse.mmap, "MADV_FREE", 12345)
    allocate()
    gc.collect()
    assert not reuse._idle
    assert capfd.readouterr().err == ""
