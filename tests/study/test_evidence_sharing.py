"""Published comparisons about sample complexity, images and faces: their data, and tiny runs."""

import json

import pytest
import torch
from torch import nn

from weightshare.errors import DataError
from weightshare.study.evidence import (
    aligned_faces,
    dascoli2019,
    data_efficiency,
    elsayed2020,
    lahoti2024,
    li2021,
    ott2020,
    shuffled_pixels,
)
from weightshare.study.evidence.image_networks import NETWORKS, draw_subset, make_network
from weightshare.study.evidence.images import load_images
from weightshare.study.evidence.sample_counts import descend, find_size, measure_curve
from weightshare.study.evidence.training import shift_randomly


def make_generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Sample counts


def test_the_size_at_the_target_is_interpolated_in_its_logarithm():
    assert find_size([(16, 0.5), (64, 0.8), (256, 1.0)], 0.9) == pytest.approx(128)


def test_a_curve_that_starts_at_the_target_needs_its_first_size():
    assert find_size([(4, 0.95)], 0.9) == pytest.approx(4)


def test_a_curve_that_misses_the_target_needs_at_least_its_last_size():
    assert find_size([(4, 0.5), (8, 0.6)], 0.9) == 8


def test_a_curve_ends_at_the_target():
    assert measure_curve(lambda size: size / 10, [2, 4, 8, 16], 0.8) == [(2, 0.2), (4, 0.4), (8, 0.8)]


def test_descent_commutes_with_rotations_of_the_inputs():
    inputs, labels = torch.randn(50, 6, generator=make_generator(), dtype=torch.float64), torch.ones(50)
    labels[inputs[:, 0] < 0] = -1
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=make_generator(1), dtype=torch.float64)).Q

    def build():
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1), nn.Flatten(0)).double()

    plain, rotated = build(), build()
    with torch.no_grad():
        rotated[0].weight.copy_(plain[0].weight @ rotation)
    descend(plain, inputs, labels, steps=30, learning_rate=0.3)
    descend(rotated, inputs @ rotation, labels, steps=30, learning_rate=0.3)
    assert not torch.allclose(plain(inputs), build()(inputs), atol=0.1)
    torch.testing.assert_close(rotated(inputs @ rotation), plain(inputs))


# Generated data


def test_li_labels_are_the_sign_of_the_difference_of_the_norms():
    x, labels = li2021.draw_examples(50, 10, make_generator())
    assert x.shape == (50, 2, 5)
    assert torch.equal(labels > 0, x[:, 0].norm(dim=1) > x[:, 1].norm(dim=1))


def test_lahoti_signal_has_norm_one_and_the_sign_of_the_label(monkeypatch):
    monkeypatch.setattr(lahoti2024, "NOISE", 0.0)
    x, labels = lahoti2024.draw_examples(50, make_generator())
    patches = x.unflatten(1, (lahoti2024.PATCHES, lahoti2024.PATCH_SIZE))
    norms = patches.norm(dim=2)
    torch.testing.assert_close(norms.sort(dim=1).values[:, -1], torch.ones(50))
    assert (norms > 0).sum(1).eq(1).all()
    assert torch.equal(x.sum(1).sign(), labels)
    assert len(norms.argmax(1).unique()) == lahoti2024.PATCHES


def make_counts(exponents):
    return {
        name: [3 * d**exponent for d in li2021.DIMENSIONS]
        for name, exponent in zip(li2021.NETWORKS, exponents)
    }


@pytest.mark.parametrize(
    ("dense", "results"),
    [
        ((1.99, 2.01), ["agrees", "-", "agrees", "agrees"]),
        ((1.0, 1.02), ["agrees", "-", "does not agree", "agrees"]),
        ((0.0, 4.0), ["agrees", "-", "does not agree", "does not agree"]),
    ],
)
def test_li_exponents_agree_within_the_margin(dense, results):
    findings = li2021.judge([make_counts((0.01 * i, 1 + i, e)) for i, e in enumerate(dense)])
    assert [finding.result for finding in findings[:4]] == results
    assert findings[2].measured == pytest.approx(sum(dense) / 2)


def test_lahoti_counts_curves_that_miss_the_target():
    curve = [(n, 0.85) for n in lahoti2024.SIZES]
    record = dict.fromkeys(lahoti2024.NETWORKS, curve)
    findings = lahoti2024.judge([record, record])
    notes = {finding.quantity: finding.note for finding in findings}
    assert notes["dense: examples for 90%"].startswith("2 of 2 did not reach it and count as 16,384")
    assert notes["dense: examples for 80%"] == ""


# Images


@pytest.mark.parametrize("name", NETWORKS)
def test_image_networks_return_one_score_per_class(name):
    images = load_images("digits")
    assert make_network(name, images)(images.test[0][:3]).shape == (3, 10)


def test_a_subset_is_drawn_with_its_seed():
    images = load_images("digits")
    first, classes = draw_subset(images, 20, 0)
    assert first.shape == (20, 1, 8, 8)
    assert classes.shape == (20,)
    assert torch.equal(first, draw_subset(images, 20, 0)[0])
    assert not torch.equal(first, draw_subset(images, 20, 1)[0])


def test_too_few_training_images_are_reported():
    with pytest.raises(DataError) as caught:
        draw_subset(load_images("digits"), 2000, 0)
    assert str(caught.value) == (
        "digits: there must be at least 2,000 training images for this experiment, got 1,348."
    )


def test_all_images_are_shuffled_in_the_same_way():
    images = load_images("digits")
    marked = torch.arange(64.0).reshape(1, 1, 8, 8).expand(3, 1, 8, 8)
    images = type(images)("marked", (marked, torch.zeros(3)), (marked, torch.zeros(3)), 1)
    shuffled = shuffled_pixels.shuffle(images, 0)
    order = shuffled.train[0][0].flatten()
    assert not torch.equal(order, torch.arange(64.0))
    assert torch.equal(order.sort().values, torch.arange(64.0))
    for pair in (shuffled.train, shuffled.test):
        assert (pair[0].flatten(1) == order).all()


@pytest.mark.parametrize(("shuffled", "result"), [((90.1, 90.2), "agrees"), ((80.0, 95.0), "does not agree")])
def test_a_difference_is_none_only_if_its_interval_is_narrow(shuffled, result):
    records = [
        {name: {"plain": 90.0 + i / 10, "shuffled": value - i / 20} for name in NETWORKS}
        for i, value in enumerate(shuffled)
    ]
    findings = {finding.quantity: finding for finding in shuffled_pixels.judge(records)}
    assert findings["dense: plain - shuffled (points)"].result == result


def test_shifts_cut_nothing_off():
    plain = load_images("digits")
    images = ott2020.add_margin(plain)
    assert images.test[0].shape[-2:] == (12, 12)
    most = ott2020.get_shift(max(*ott2020.AMOUNTS, ott2020.TEST_AMOUNT), (12, 12))
    assert most == (2, 2)
    moved = shift_randomly(images.test[0], most, make_generator())
    assert not torch.equal(moved, images.test[0])
    torch.testing.assert_close(moved.sum((1, 2, 3)), plain.test[0].sum((1, 2, 3)))


def test_distance_of_kernels():
    kernels = torch.randn(40, 40, 9, generator=make_generator())
    assert ott2020.measure_distance(kernels, 1) == pytest.approx(1, abs=0.03)
    assert ott2020.measure_distance(kernels[:1, :1].expand(5, 5, 9), 2) == 0
    checkers = (torch.arange(5)[:, None] + torch.arange(5)) % 2 * 2.0 - 1
    assert ott2020.measure_distance(checkers[..., None], 1) == 2
    assert ott2020.measure_distance(checkers[..., None], 2) == 0


# Faces


def test_shifted_faces_are_other_parts_of_the_same_faces():
    pytest.importorskip("skimage")
    aligned, shifted = (aligned_faces.crop_faces(place, 3) for place in aligned_faces.PLACES)
    whole = torch.from_numpy(aligned_faces.load_faces().x[:100]).float()
    assert torch.equal(aligned, whole[..., 4:21, 4:21])
    windows = whole.unfold(2, 17, 1).unfold(3, 17, 1).flatten(1, 3)
    found = (windows == shifted).all(-1).all(-1)
    assert found.any(1).all()
    assert len(found.int().argmax(1).unique()) > 20


def test_what_the_faces_lose():
    faces = torch.ones(4, 1, 17, 17)
    half = aligned_faces.hide_half(faces, make_generator())
    assert half.shape == faces.shape
    assert half[..., :8].eq(1).all()
    assert half[..., 8:].eq(0).all()
    noise = aligned_faces.add_noise(faces, make_generator()) - faces
    assert noise.std() == pytest.approx(aligned_faces.NOISE, rel=0.1)


# Runs

QUICK = {"epochs": 1, "batch_size": 64, "learning_rate": 1e-3}
TRIAL = {"width": 2, "train_images": 60, "batch_size": 16, "epochs_max": 2, "patience": 1}


@pytest.mark.parametrize(
    ("module", "settings", "findings"),
    [
        (li2021, {"DIMENSIONS": (4, 6), "LAST_POWER": 7, "TRAINING": {"steps": 2, "learning_rate": 0.3}}, 7),
        (lahoti2024, {"SIZES": (4, 8), "TRAINING": {"steps": 2, "learning_rate": 0.3}}, 10),
        (data_efficiency, {"SIZES": (40, 60), "STEPS": 2}, 16),
        (shuffled_pixels, {"TRAIN_IMAGES": 40, "EPOCHS": 1}, 14),
        (ott2020, {"TRAIN_IMAGES": 40, "TRAINING": QUICK}, 23),
        (elsayed2020, {"OPTIONS": TRIAL}, 7),
        (dascoli2019, {"OPTIONS": TRIAL, "EPOCHS": (1,), "RELAXED": ("relaxed after 1 epochs",)}, 5),
    ],
    ids=lambda value: getattr(value, "__name__", "").rpartition(".")[2] or None,
)
def test_tiny_runs(monkeypatch, module, settings, findings):
    for name, value in settings.items():
        monkeypatch.setattr(module, name, value)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        record = json.loads(json.dumps(module.EXPERIMENT.run_seed("digits", 0), allow_nan=False))
        torch.manual_seed(0)
        assert record == json.loads(json.dumps(module.EXPERIMENT.run_seed("digits", 0)))
    found = module.EXPERIMENT.judge([record, record])
    assert len(found) == findings
    assert len({finding.quantity for finding in found}) == findings
    assert not any(finding.agrees for finding in found)  # without an interval, nothing is shown
    for chart in module.EXPERIMENT.plot([record, record]):
        assert all(len(series.x) == len(series.y) > 0 for series in chart.series)


def test_tiny_run_on_faces(monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr(aligned_faces, "TRAINING", QUICK)
    record = aligned_faces.EXPERIMENT.run_seed("", 0)
    assert len(aligned_faces.EXPERIMENT.judge([record, record])) == 24
    errors = [error for by_name in record.values() for error in by_name.values()]
    assert all(0.01 < error < 1 for error in errors)
