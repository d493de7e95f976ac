"""Feature maps of the page equal those of torch and SciPy, and its images are those that the tool writes."""

import base64
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import convolve2d, correlate2d

import weightshare as ws
from tests.helpers.node import run_node
from tools.blocks import ROOT
from weightshare.sharing.parse import parse_sharing

IMAGES = ROOT / "src/weightshare/explorer/data/images.json"
SIZES = [(3, 3), (5, 9), (12, 7), (20, 20)]
MOST_BYTES = 60_000


def make_layer(sharing, size, seed):
    """Return a layer with one channel and whole numbers as weights, and an image."""
    generator = torch.Generator().manual_seed(seed)
    layer = ws.nn.Conv2d(1, 1, 3, bias=False, sharing=sharing, input_size=size, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randint(-9, 10, layer.weight.shape, generator=generator))
    return layer, torch.randint(256, size, generator=generator).double()


def make_case(layer, image, **options):
    """Return what the page needs to compute the feature map of a layer."""
    height, width = image.shape
    return {
        "image": image.flatten().tolist(),
        "width": width,
        "height": height,
        "kernels": layer.kernels().detach().reshape(-1, 9).tolist(),
        "labels": layer.sharing.labels(layer.output_size),
        **options,
    }


def read_map(result):
    return torch.tensor(result["values"], dtype=torch.float64).view(result["height"], result["width"])


def test_a_shared_kernel_equals_conv2d_of_torch():
    made = [make_layer(ws.Full(), size, seed) for seed, size in enumerate(SIZES)]
    results = run_node("run_maps.mjs", [make_case(layer, image, labels=None) for layer, image in made])
    for (layer, image), result in zip(made, results, strict=True):
        kernel = layer.kernels().detach().view(1, 1, 3, 3)
        assert torch.equal(read_map(result), F.conv2d(image[None, None], kernel)[0, 0])


@pytest.mark.parametrize("name", ["full", "regional:2", "local"])
def test_unshared_kernels_equal_the_layer_and_an_unfolded_product(name):
    made = [make_layer(parse_sharing(name), size, seed) for seed, size in enumerate(SIZES[1:])]
    cases = [make_case(layer, image) for layer, image in made]
    for (layer, image), case, result in zip(made, cases, run_node("run_maps.mjs", cases), strict=True):
        assert torch.equal(read_map(result), layer(image[None, None])[0, 0])
        windows = F.unfold(image[None, None], 3)[0]  # [9, positions]
        kernels = torch.tensor(case["kernels"], dtype=torch.float64)[case["labels"]]  # [positions, 9]
        assert torch.equal(read_map(result).flatten(), (windows.T * kernels).sum(1))


def test_a_flipped_kernel_equals_convolve2d_of_scipy_and_an_unflipped_one_correlate2d():
    made = [make_layer(ws.Full(), size, seed) for seed, size in enumerate(SIZES)]
    cases = [make_case(layer, image, isFlipped=flip) for layer, image in made for flip in (True, False)]
    results = iter(run_node("run_maps.mjs", cases))
    for layer, image in made:
        kernel = layer.kernels().detach().view(3, 3).numpy()
        for operation in (convolve2d, correlate2d):
            assert (read_map(next(results)).numpy() == operation(image.numpy(), kernel, mode="valid")).all()


def test_gray_is_that_of_pillow_and_reducing_averages():
    image_module = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(256, size=(24, 36, 4), dtype=np.uint8)
    cases = [
        {"rgba": pixels.flatten().tolist(), "width": 36, "height": 24, "most": most} for most in (36, 12)
    ]
    whole, reduced = (read_map(result).numpy() for result in run_node("run_maps.mjs", cases))
    gray = np.asarray(image_module.fromarray(pixels[..., :3]).convert("L"), dtype=np.float64)
    assert np.abs(whole - gray).max() <= 1
    assert reduced.shape == (8, 12)
    assert np.abs(reduced - gray.reshape(8, 3, 12, 3).mean((1, 3))).max() <= 1


def test_images_are_credited_and_small():
    data = json.loads(IMAGES.read_text("utf-8"))
    assert IMAGES.stat().st_size <= MOST_BYTES
    for image in data["images"]:
        assert len(base64.b64decode(image["pixels"])) == image["width"] * image["height"]
        assert image["license"] in ("CC0 1.0", "CC BY 2.0")
        assert image["author"]
        assert image["source"].startswith("https://")


def test_images_are_those_that_the_tool_writes():
    pytest.importorskip("skimage")
    from tools.explorer_images import make_images

    made, recorded = make_images(), json.loads(IMAGES.read_text("utf-8"))
    assert made["pages"] == recorded["pages"]
    for one, other in zip(made["images"], recorded["images"], strict=True):
        first, second = (
            np.frombuffer(base64.b64decode(image.pop("pixels")), np.uint8) for image in (one, other)
        )
        assert one == other
        assert np.abs(first.astype(int) - second).max() <= 2  # decoders of JPEG differ by rounding
