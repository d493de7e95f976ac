"""Sources, splits, normalization and shifts of the images of a study."""

import numpy as np
import pytest
import torch

from tests.helpers.study import tiny_arrays
from weightshare.errors import DataError, SpecError
from weightshare.study.data import draw, load_images, normalization, shift_images
from weightshare.study.data import images as images_module


def test_digits_are_split_by_class_and_normalized():
    images = load_images("digits")
    parts = (images.train, images.validation, images.test)
    assert [len(labels) for _, labels in parts] == [1078, 270, 449]
    assert all(set(labels.tolist()) == set(range(10)) for _, labels in parts)
    assert images.train[0].shape[1:] == (1, 8, 8)
    assert images.train[0].mean().abs() < 1e-5
    assert (images.train[0].std() - 1).abs() < 1e-3
    assert images.digest == load_images("digits").digest
    assert images.shifts == (1, 2)


def test_faces_have_two_classes():
    images = load_images("faces")
    assert images.class_names == ("face", "other")
    assert images.size == (25, 25)
    assert images.shifts == (1, 2, 3, 4)
    assert len(images.test[1]) == 50
    assert images.test[1].float().mean() == 0.5


def test_raw_zero_is_the_background():
    images = load_images("digits")
    corner = images.train[0][:, 0, 0, 0]  # the corner of a digit is empty
    assert torch.allclose(corner.median(), images.background[0])


def test_train_images_are_drawn_in_proportion_to_the_classes(tiny):
    assert load_images("digits", 100).train[1].bincount().tolist() == [8] * 10
    with pytest.raises(DataError, match=r"train_images must be between 4 \(two per class\) and 16 .* got 17"):
        load_images(tiny, 17)


def test_draw_leaves_every_class_on_both_sides():
    labels = np.repeat([0, 1, 2], [50, 3, 2])
    chosen, rest = draw(labels, 5, seed=0)
    assert sorted([*chosen, *rest]) == list(range(55))
    assert set(labels[chosen]) == set(labels[rest]) == {0, 1, 2}


def test_a_shift_moves_the_image_and_fills_the_rest_with_the_background():
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    shifted = shift_images(images, -1, 2, torch.tensor([-5.0]))
    assert torch.equal(shifted[0, 0, :3, 2:], images[0, 0, 1:, :2])
    assert (shifted[0, 0, 3] == -5).all()
    assert (shifted[0, 0, :, :2] == -5).all()


def test_only_a_sample_of_a_large_test_set_is_shifted(monkeypatch):
    images = load_images("digits")
    assert images.shift_test is images.test
    monkeypatch.setattr(images_module, "MAX_SHIFT_IMAGES", 100)
    sample, labels = load_images("digits").shift_test
    assert len(sample) == len(labels) == 100
    assert labels.bincount().tolist() == [10] * 10


def test_images_that_are_too_small(tmp_path):
    np.savez(tmp_path / "a.npz", **tiny_arrays(size=3))
    with pytest.raises(DataError, match=r"images must be at least 4 x 4 pixels, got 3 x 3\."):
        load_images(f"npz:{tmp_path / 'a.npz'}")


def test_normalizing_in_chunks_makes_no_difference(tiny, monkeypatch):
    whole = load_images(tiny)
    monkeypatch.setattr(normalization, "CHUNK", 3)
    chunks = load_images(tiny)
    assert torch.allclose(whole.train[0], chunks.train[0], atol=1e-6)
    assert chunks.train[0].std(correction=0).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("digts", "must be one of digits, faces, npz:FILE, folder:DIR, got 'digts'; did you mean 'digits'?"),
        ("Faces", "did you mean 'faces'"),
        ("npz", "did you mean 'npz:FILE'"),
        ("mine.npz", "did you mean 'npz:mine.npz'"),
        ("imagenet21k", "got 'imagenet21k'."),
    ],
)
def test_an_unknown_source(name, text):
    with pytest.raises(SpecError) as caught:
        load_images(name)
    assert text in str(caught.value)
