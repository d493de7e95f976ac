"""Consistency under the three published protocols, for models whose figures can be computed by hand."""

import dataclasses

import pytest
import torch
from scipy import stats
from torch import nn

from weightshare.errors import ArgumentError, ShapeError, SymmetryError
from weightshare.symmetry._consistency import Consistency, consistency, wilson_interval
from weightshare.symmetry.protocols import crop_circular

PROTOCOLS = {"circular_roll": {}, "random_crops": {"crop": 9}, "small_rolls": {"max_shift": 5}}


def one_pixel(x):
    """Return logits for class 1 if the first pixel is bright, otherwise for class 0."""
    first = x[:, 0].flatten(1)[:, :1]
    return torch.cat([torch.full_like(first, 0.5), first], 1)


def bright_corner(count: int, side: int) -> torch.Tensor:
    images = torch.zeros(count, 1, side, side)
    images[:, :, 0, 0] = 1
    return images


def circular_network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 8, 3, padding=1, padding_mode="circular"), nn.ReLU()]
    layers += [nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).double().eval()


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_a_constant_model(protocol, value):
    images = torch.randn(6, 2, 11, 12)
    result = consistency(
        lambda x: torch.full((len(x), 3), value),
        images, torch.tensor([0, 0, 0, 1, 1, 2]), protocol=protocol, **PROTOCOLS[protocol],
    )  # fmt: skip
    assert (result.consistency, result.chance, result.logit_error, result.accuracy) == (1, 1, 0, 0.5)
    assert result.interval[0] < 1 == result.interval[1]
    assert result.images == 6
    assert result.pairs == 6 * {"circular_roll": 1, "random_crops": 5, "small_rolls": 10}[protocol]


def test_small_rolls_by_hand():
    """Every shift moves the bright corner away; an image that is bright everywhere does not change."""
    images = torch.cat([bright_corner(1, 3), torch.ones(1, 1, 3, 3)])
    result = consistency(one_pixel, images, torch.tensor([1, 0]), protocol="small_rolls", max_shift=2)
    assert result.consistency == 0.5
    assert result.accuracy == 0.5
    assert result.pairs == 8
    assert result.chance == (12 / 16) ** 2 + (4 / 16) ** 2
    # logits (1/2, 1) and (1/2, 0) on four pairs, (1/2, 1) twice on the other four
    assert result.logit_error == pytest.approx(((4 * 1) / (4 * (1.25 + 0.25) / 2 + 4 * 1.25)) ** 0.5)


def test_circular_rolls_by_chance():
    """Both views agree if both shifts are zero, or neither is: zero is one of nine shifts."""
    result = consistency(
        one_pixel,
        bright_corner(2000, 5),
        torch.ones(2000, dtype=torch.int64),
        protocol="circular_roll",
        max_shift=1,
        passes=4,
    )
    assert result.consistency == pytest.approx((1 / 9) ** 2 + (8 / 9) ** 2, abs=0.01)
    assert result.chance == pytest.approx(result.consistency, abs=0.01)
    assert result.accuracy == 1  # on the unshifted images


def test_random_crops_by_chance():
    """One of the four possible crops contains the corner."""
    result = consistency(
        one_pixel,
        bright_corner(2000, 5),
        torch.ones(2000, dtype=torch.int64),
        protocol="random_crops",
        crop=4,
        passes=4,
    )
    assert result.consistency == pytest.approx((1 / 4) ** 2 + (3 / 4) ** 2, abs=0.01)
    assert result.accuracy == pytest.approx(1 / 4, abs=0.01)  # on the crops


def test_all_crops_of_the_image_are_drawn():
    seen = []
    image = torch.arange(20.0).view(1, 1, 4, 5)

    def record(x):
        seen.extend(x[:, 0])
        return x.flatten(1)

    consistency(record, image.expand(30, 1, 4, 5), protocol="random_crops", crop=(2, 4), batch_size=7)
    possible = {
        tuple(image[0, 0, y : y + 2, x : x + 4].flatten().tolist()) for y in range(3) for x in range(2)
    }
    assert {tuple(crop.flatten().tolist()) for crop in seen} == possible


def test_crop_circular_agrees_with_torch_roll():
    images = torch.randn(3, 2, 4, 5)
    shifts = torch.tensor([[1, -2], [0, 0], [-3, 4]])
    expected = torch.stack([image.roll(tuple(s.tolist()), (1, 2)) for image, s in zip(images, shifts)])
    assert torch.equal(crop_circular(images, -shifts, (4, 5)), expected)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_views_are_contiguous(protocol):
    images = torch.randn(3, 2, 11, 12)
    consistency(lambda x: x.view(len(x), -1), images, protocol=protocol, **PROTOCOLS[protocol])


@pytest.mark.parametrize("protocol", ["circular_roll", "small_rolls"])
def test_a_circular_network_is_consistent(protocol):
    images = torch.randn(20, 2, 12, 12, dtype=torch.float64)
    result = consistency(circular_network(), images, protocol=protocol)
    assert result.consistency == 1
    assert result.logit_error < 1e-12


def test_signals():
    images = torch.randn(20, 2, 30, dtype=torch.float64)
    mean = lambda x: x.mean(2)  # noqa: E731
    assert consistency(mean, images, protocol="circular_roll").logit_error < 1e-12
    assert consistency(mean, images, protocol="random_crops", crop=20).logit_error > 1e-3
    assert consistency(mean, images, protocol="small_rolls").pairs == 20 * 7


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_the_seed_determines_the_shifts(protocol):
    images = torch.randn(40, 2, 11, 12, dtype=torch.float64)
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(2)).double().eval()
    state = torch.get_rng_state()

    def measure(seed, batch_size=250):
        result = consistency(
            lambda x: model(x)[:, :, 0],
            images,
            protocol=protocol,
            seed=seed,
            batch_size=batch_size,
            **PROTOCOLS[protocol],
        )
        return dataclasses.astuple(dataclasses.replace(result, logit_error=round(result.logit_error, 10)))

    assert measure(3) == measure(3) == measure(3, batch_size=7)
    assert protocol == "small_rolls" or measure(3) != measure(4)
    assert torch.equal(torch.get_rng_state(), state)


def test_large_seeds_are_accepted_and_only_the_used_views_are_classified():
    seen = []
    images = torch.randn(4, 1, 8, 8)
    model = lambda x: seen.append(len(x)) or x.flatten(1)  # noqa: E731
    consistency(model, images, protocol="circular_roll", seed=2**70)
    assert len(seen) == 2 + 2  # two more runs to check that the model is deterministic
    consistency(model, images, torch.arange(4), protocol="circular_roll")
    assert len(seen) == 4 + 2 + 3


def test_a_model_in_training_mode_is_restored():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.warns(UserWarning, match="Sequential is in training mode") as caught:
        consistency(model, torch.randn(8, 1, 4, 4), protocol="circular_roll")
    assert caught[0].filename == __file__
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("agreed", "count"), [(0, 7), (3, 7), (7, 7), (450, 500)])
def test_wilson_interval(agreed, count):
    expected = stats.binomtest(agreed, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(agreed / count, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_text():
    result = Consistency("random_crops", "Zhang, ICML 2019", 0.9, (0.85, 0.94), 0.1, 0.72, 0.123, 100, 500)
    assert str(result).splitlines() == [
        "protocol     random_crops (Zhang, ICML 2019)",
        "consistency  90.00% (95% CI 85.00% to 94.00%)",
        "by chance    10.00%",
        "accuracy     72.00%",
        "logit error  0.123",
        "pairs        500 from 100 images",
    ]


def noisy(x):
    return x.flatten(1) + torch.rand(len(x), 1)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            {"protocol": "zhang"},
            ArgumentError,
            r"protocol must be one of circular_roll, random_crops, small_rolls, got 'zhang'\.",
        ),
        (
            {"images": torch.zeros(3, 3)},
            ShapeError,
            r"images must be a non-empty tensor of shape \[N, C, H, W\] .*got \(3, 3\); pass one image as",
        ),
        ({"images": torch.zeros(0, 1, 4, 4)}, ShapeError, r"must be a non-empty .*, got \(0, 1, 4, 4\)"),
        ({"images": [1]}, ArgumentError, "images must be a torch.Tensor, got list"),
        ({"labels": torch.zeros(2)}, ShapeError, r"labels must have shape \[5\], one per image, got \(2,\)"),
        ({"labels": [0] * 5}, ArgumentError, "labels must be a torch.Tensor, got list"),
        ({"crop": 2}, ArgumentError, r"'circular_roll': accepts only max_shift and passes, got crop=2\."),
        ({"protocol": "random_crops"}, ArgumentError, "'random_crops': crop is required, got None; pass"),
        (
            {"protocol": "random_crops", "crop": 5},
            ArgumentError,
            r"crop must be smaller than the images \(4 x 4\), got 5 x 5",
        ),
        ({"protocol": "random_crops", "crop": 4}, ArgumentError, r"must be smaller .* \(4 x 4\), got 4 x 4"),
        ({"protocol": "small_rolls"}, ArgumentError, "max_shift must be less than 4, the .*, got 7"),
        ({"protocol": "small_rolls", "passes": 2}, ArgumentError, "accepts only max_shift, got passes=2"),
        ({"max_shift": 0}, ArgumentError, "max_shift must be at least 1, got 0"),
        ({"batch_size": 0}, ArgumentError, "batch_size must be at least 1, got 0"),
        ({"seed": 0.5}, ArgumentError, "seed must be an integer, got 0.5"),
        ({"model": lambda x: x}, ShapeError, r"return logits \[5, classes\] .*, got shape \(5, 1, 4, 4\)"),
        ({"model": lambda x: x.flatten(1)[:2]}, ShapeError, r"logits \[5, classes\] .*, got shape \(2, 16\)"),
        ({"model": lambda x: (x,)}, ArgumentError, "the model must return a tensor, got tuple"),
        ({"model": lambda x: x.flatten(1) / 0}, ArgumentError, "logits must be finite, got nan"),
        (
            {"model": noisy},
            SymmetryError,
            r"the model must be deterministic, got outputs that differ by .*; disable dropout",
        ),
        (
            {"model": lambda x: (x.flatten(1) + 1 + 0.5 * torch.rand(len(x), 16)).bfloat16()},
            SymmetryError,
            r"the model must be deterministic, got outputs that differ by 0.1",
        ),
        (
            {"images": torch.zeros(5, 1, 4, 1)},
            ShapeError,
            "images must have at least 2 pixels along each axis, so that they can be shifted, got 4 x 1",
        ),
        (
            {"images": torch.zeros(5, 1, 1, 1), "protocol": "random_crops", "crop": 1},
            ShapeError,
            "images must have more than one pixel, so that they can be cropped",
        ),
        ({"model": torch.nn.LazyLinear(2)}, ArgumentError, "consistency: the sizes of the model must be kn"),
        ({"protocol": []}, ArgumentError, r"random_crops, small_rolls, got \[\]\."),
        ({"labels": torch.zeros(5)}, ArgumentError, "labels must be integers, got torch.float32; convert"),
        ({"labels": torch.tensor([0, 1, 16, 0, 0])}, ArgumentError, "from 0 to 15, the classes .*, got 16"),
        ({"labels": torch.tensor([0, 1, -1, 0, 0])}, ArgumentError, "from 0 to 15, the classes .*, got -1"),
        (
            {"model": lambda x: x.flatten(1)[:, :1]},
            ShapeError,
            r"\[5, classes\] with at least 2 classes, got shape \(5, 1\); .* one logit z return \[0, z\]",
        ),
        ({"model": lambda x: x.flatten(1) * 1j}, ArgumentError, "logits must be real numbers"),
        (
            {"model": lambda x: x.flatten(1).double() - 1e200},
            ArgumentError,
            r"logits must be at most 1e\+150 in absolute value, so that they can be squared, got 1e\+200",
        ),
    ],
)  # fmt: skip
def test_errors(change, error, text):
    arguments = {
        "model": lambda x: x.flatten(1),
        "images": torch.zeros(5, 1, 4, 4),
        "protocol": "circular_roll",
    }
    arguments |= change
    with pytest.raises(error, match=text):
        consistency(arguments.pop("model"), arguments.pop("images"), **arguments)
