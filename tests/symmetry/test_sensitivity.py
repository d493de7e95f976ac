"""The sensitivity map agrees with a NumPy computation for every shift, and with models computed by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from weightshare.errors import ArgumentError, ShapeError, SymmetryError
from weightshare.symmetry.sensitivity import SensitivityMap, sensitivity_map


def shift_image(image: np.ndarray, dy: int, dx: int, mode: str) -> np.ndarray:
    """Shift an image [C, H, W] pixel by pixel."""
    if mode == "circular":
        return np.roll(image, (dy, dx), (1, 2))
    result = np.zeros_like(image)
    height, width = image.shape[1:]
    for y in range(height):
        for x in range(width):
            if 0 <= y - dy < height and 0 <= x - dx < width:
                result[:, y, x] = image[:, y - dy, x - dx]
    return result


def distance(a: np.ndarray, b: np.ndarray, name: str) -> float:
    if name == "cosine":
        return 1 - a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)
    return np.linalg.norm(a - b) / np.sqrt((a @ a + b @ b) / 2)


@pytest.mark.parametrize("mode", ["circular", "zeros"])
@pytest.mark.parametrize("name", ["cosine", "relative"])
def test_every_shift(mode, name):
    images = torch.randn(5, 2, 4, 6, dtype=torch.float64)
    matrix = np.random.default_rng(0).normal(size=(48, 3))
    model = lambda x: x.flatten(1) @ torch.tensor(matrix)  # noqa: E731
    result = sensitivity_map(model, images, 2, mode=mode, distance=name, batch_size=2)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            pairs = [(i.numpy().ravel(), shift_image(i.numpy(), dy, dx, mode).ravel()) for i in images]
            expected = np.mean([distance(a @ matrix, b @ matrix, name) for a, b in pairs])
            assert result.values[2 + dy, 2 + dx] == pytest.approx(expected, abs=1e-12)


def test_invariant_models_have_a_map_of_zeros():
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")
    model = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1)).double().eval()
    result = sensitivity_map(model, torch.randn(3, 2, 6, 6, dtype=torch.float64), 3, distance="relative")
    assert result.values.max() < 1e-12
    assert sensitivity_map(lambda x: 0 * x, torch.ones(1, 1, 4, 4), 1).values.max() == 0


def test_a_zero_output_has_cosine_distance_one_to_any_other():
    """The output is nonzero only for the unshifted image, so every other shift has distance 1."""
    image = torch.zeros(1, 1, 4, 4)
    image[..., 0, 0] = 1
    result = sensitivity_map(lambda x: x[:, :, :1, :1], image, 1)
    assert result.values.tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    assert result.radial().tolist() == [0, 1]


def test_radial_and_text():
    along = np.arange(-6, 7)
    result = SensitivityMap(np.hypot(along[:, None], along), "zeros", "relative", 10)
    assert result.radial() == pytest.approx(np.arange(7), abs=0.25)
    lines = str(result).splitlines()
    assert lines[0] == "relative distance, zeros shifts, 10 images"
    assert lines[1].split() == ["dy", "\\", "dx", "-6", "-4", "-2", "0", "2", "4", "6"]
    assert lines[5].split() == ["0", "6.0000", "4.0000", "2.0000", "0.0000", "2.0000", "4.0000", "6.0000"]
    assert lines[-2].split() == ["radius", "0", "2", "4", "6"]
    assert len({len(line) for line in lines[1:-2]}) == 1


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            {"images": torch.zeros(2, 1, 8)},
            ShapeError,
            r"images must have shape \[N, C, H, W\], got \(2, 1, 8\)",
        ),
        (
            {"max_shift": 4},
            ArgumentError,
            "max_shift must be less than 4, the shortest side of the images, got 4",
        ),
        ({"max_shift": 0}, ArgumentError, "max_shift must be at least 1, got 0"),
        (
            {"images": torch.zeros(5, 1, 1, 1)},
            ShapeError,
            r"images must have at least 2 pixels along each axis, .* got \(5, 1, 1, 1\)",
        ),
        (
            {"model": torch.nn.Conv2d(1, 1, 1, device="meta")},
            ArgumentError,
            "sensitivity_map: the model must have values, got 'weight' on the meta device",
        ),
        ({"mode": "reflect"}, ArgumentError, "mode must be one of circular, zeros, got 'reflect'"),
        ({"distance": "l1"}, ArgumentError, "distance must be one of cosine, relative, got 'l1'"),
        (
            {"model": lambda x: x.sum()},
            ShapeError,
            r"return a non-empty tensor \[5, ...\], .* got shape \(\)",
        ),
        ({"model": lambda x: x[:, :0]}, ShapeError, r"non-empty tensor .*, got shape \(5, 0, 4, 4\)"),
        ({"mode": []}, ArgumentError, r"mode must be one of circular, zeros, got \[\]"),
        ({"model": lambda x: x * 1j}, ArgumentError, "outputs must be real numbers, got torch.complex64"),
        ({"model": lambda x: x > 0}, ArgumentError, "outputs must be real numbers, got torch.bool"),
        (
            {"model": lambda x: x.double() + 1e200},
            ArgumentError,
            r"at most 1e\+150 in absolute value, so that they can be squared, got 1e\+200",
        ),
        (
            {"model": lambda x: x + torch.rand(())},
            SymmetryError,
            "the model must be deterministic, got outputs that differ by .*; disable dropout",
        ),
        ({"model": lambda x: x / 0}, ArgumentError, "outputs must be finite, got nan"),
        ({"model": lambda x: [x]}, ArgumentError, "the model must return a tensor, got list"),
    ],
)
def test_errors(change, error, text):
    arguments = {"model": lambda x: x, "images": torch.zeros(5, 1, 4, 4), "max_shift": 1} | change
    with pytest.raises(error, match=text):
        sensitivity_map(**arguments)
