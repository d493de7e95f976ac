"""Sources, splits, normalization and shifts of the data of a study."""

import numpy as np
import pytest
import torch

from tests.helpers.study import tiny_arrays
from weightshare.errors import ArgumentError, DataError, SpecError
from weightshare.study import StudySpec
from weightshare.study.data import DataFacts, draw, load_examples, normalization, shift_inputs
from weightshare.study.data import examples as examples_module
from weightshare.study.data.fill import find_fill


@pytest.fixture(scope="module")
def digits():
    return load_examples(StudySpec())


def test_digits_are_split_by_class_and_normalized(digits):
    parts = (digits.train, digits.validation, digits.test)
    assert [len(labels) for _, labels in parts] == [1078, 270, 449]
    assert all(set(labels.tolist()) == set(range(10)) for _, labels in parts)
    assert digits.train[0].shape[1:] == (1, 8, 8)
    assert digits.train[0].mean().abs() < 1e-5
    assert (digits.train[0].std() - 1).abs() < 1e-3
    assert digits.digest == load_examples(StudySpec()).digest
    assert digits.shifts == (1, 2)


def test_faces_have_two_classes():
    faces = load_examples(StudySpec("faces"))
    assert faces.class_names == ("face", "other")
    assert faces.size == (25, 25)
    assert faces.shifts == (1, 2, 3, 4)
    assert len(faces.test[1]) == 50
    assert faces.test[1].float().mean() == 0.5
    assert faces.fill is None


def test_train_images_are_drawn_in_proportion_to_the_classes(tiny):
    assert load_examples(StudySpec(train_images=100)).train[1].bincount().tolist() == [8] * 10
    text = r"train_images must be between 4 \(two per class\) and 16 \(all training examples\), got 17"
    with pytest.raises(DataError, match=text):
        load_examples(StudySpec(tiny, train_images=17))


def test_draw_leaves_every_class_on_both_sides():
    labels = np.repeat([0, 1, 2], [50, 3, 2])
    chosen, rest = draw(labels, 5, seed=0)
    assert sorted([*chosen, *rest]) == list(range(55))
    assert set(labels[chosen]) == set(labels[rest]) == {0, 1, 2}


def test_draw_takes_a_number_of_other_targets():
    chosen, rest = draw(np.zeros((55, 2)), 5, seed=0)
    assert len(chosen) == 5
    assert sorted([*chosen, *rest]) == list(range(55))


def test_a_shift_moves_the_image_and_fills_the_rest_with_a_value():
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    shifted = shift_inputs(images, (-1, 2), torch.tensor([-5.0]))
    assert torch.equal(shifted[0, 0, :3, 2:], images[0, 0, 1:, :2])
    assert (shifted[0, 0, 3] == -5).all()
    assert (shifted[0, 0, :, :2] == -5).all()


@pytest.mark.parametrize("size", [(5,), (4, 5), (4, 5, 6)])
def test_a_shift_without_a_background_repeats_the_border(size):
    inputs = torch.randn(2, 3, *size)
    step = (2, *(0,) * (len(size) - 1))
    shifted = shift_inputs(inputs, step, None)
    assert torch.equal(shifted[:, :, 2:], inputs[:, :, :-2])
    assert torch.equal(shifted[:, :, :2], inputs[:, :, :1].expand_as(shifted[:, :, :2]))


@pytest.mark.parametrize("size", [(9,), (8, 9), (6, 7, 8)])
def test_the_background_is_the_value_of_most_of_the_border(size):
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, 200, (10, 2, *size)).astype(np.uint8)
    assert find_fill(inputs) is None
    border = np.ones(size, dtype=bool)
    border[(slice(1, -1),) * len(size)] = False
    inputs[:8, 0][:, border] = 255
    inputs[:4, 1][:, border] = 7
    assert find_fill(inputs) is None  # less than half of the border of the second channel
    inputs[:6, 1][:, border] = 7
    assert find_fill(inputs).tolist() == [255, 7]


@pytest.mark.parametrize("background", [0, 255])
def test_images_are_shifted_in_front_of_their_own_background(background):
    generator = np.random.default_rng(0)
    images = np.full((40, 1, 10, 10), background, dtype=np.uint8)
    images[:, :, 3:7, 3:7] = generator.integers(0, 255, (40, 1, 4, 4))
    examples = load_examples(StudySpec((images, np.arange(40) % 2)))
    shifted, _ = examples.shift(examples.test, (0, 3))
    assert torch.equal(shifted, examples.test[0].roll(3, dims=3))
    assert DataFacts.from_examples(examples).fill == "the value of the background"


def test_only_a_sample_of_a_large_test_set_is_shifted(digits, monkeypatch):
    assert digits.shift_test is digits.test
    monkeypatch.setattr(examples_module, "MAX_SHIFT_EXAMPLES", 100)
    sample, labels = load_examples(StudySpec()).shift_test
    assert len(sample) == len(labels) == 100
    assert labels.bincount().tolist() == [10] * 10


def test_images_that_are_too_small(tmp_path):
    np.savez(tmp_path / "a.npz", **tiny_arrays(size=3))
    text = r"must have at least 4 positions along each spatial axis, got 3 x 3 with 1 channel; inputs have"
    with pytest.raises(DataError, match=text):
        load_examples(StudySpec(f"npz:{tmp_path / 'a.npz'}"))


def test_normalizing_in_chunks_makes_no_difference(tiny, monkeypatch):
    whole = load_examples(StudySpec(tiny))
    monkeypatch.setattr(normalization, "CHUNK", 3)
    chunks = load_examples(StudySpec(tiny))
    assert torch.allclose(whole.train[0], chunks.train[0], atol=1e-6)
    assert chunks.train[0].std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_facts_count_the_test_images_of_each_class_and_name_the_majority(digits):
    facts = DataFacts.from_examples(digits)
    assert sum(facts.test_counts) == facts.test == 449
    assert facts.majority == max(facts.test_counts) / 449
    assert (facts.task, facts.channels, facts.size, facts.outputs) == ("classification", 1, (8, 8), 10)

    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 255, (100, 1, 8, 8), dtype=np.uint8), np.arange(100) % 20 == 0
    skewed = DataFacts.from_examples(load_examples(StudySpec((images, labels, images, labels))))
    assert skewed.test_counts == (95, 5)
    assert skewed.majority == 0.95


def test_the_majority_of_classes_at_positions_ignores_unlabeled_ones():
    images = np.random.default_rng(0).random((20, 1, 4, 4))
    masks = np.zeros((20, 4, 4), dtype=int)
    masks[:, 0], masks[:, 1] = 1, -100  # 4 positions of class 1, 4 without a class, 8 of class 0
    facts = DataFacts.from_examples(load_examples(StudySpec((images, masks, images, masks))))
    assert facts.majority == 8 / 12
    assert facts.test_counts == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "digts",
            "must be one of digits, faces, npz:FILE, folder:DIR, package.module:function, got 'digts'; did",
        ),
        ("Faces", "did you mean 'faces'"),
        ("npz", "did you mean 'npz:FILE'"),
        ("", "got ''."),
        ("a\x1b", r"got 'a\x1b'."),
        ("npz:", "did you mean 'npz:FILE'"),
        ("mine.npz", "did you mean 'npz:mine.npz'"),
        ("tests", "did you mean 'folder:tests'?"),
        ("imagenet21k", "got 'imagenet21k'."),
        ("https://example.org/a.npz", "; download it, and use npz:FILE or folder:DIR."),
        ("a b:c", "got 'a b:c'."),
    ],
)
def test_an_unknown_source(name, text):
    with pytest.raises(SpecError) as caught:
        load_examples(StudySpec(name))
    assert text in str(caught.value)


def test_resize_is_parsed():
    assert StudySpec(resize="64x48").resize == (64, 48)
    assert StudySpec(resize="64").resize == StudySpec(resize=64).resize == (64, 64)
    assert StudySpec(resize=(8, 9)).resize == (8, 9)
    assert StudySpec().resize is None


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("64x", SpecError, """resize must be a size such as "64" or "64x48", got '64x'."""),
        ("x", SpecError, "got 'x'"),
        ("1e2", SpecError, "got '1e2'"),
        ("9" * 400, SpecError, "resize must be a size"),
        ("3x64", ArgumentError, "resize[0] must be at least 4, got 3"),
        (0, ArgumentError, "resize must be at least 4, got 0"),
        (True, ArgumentError, "resize must be an integer, got True"),
        (8.5, ArgumentError, "resize must be an integer, got 8.5"),
        ((8, 8, 8), ArgumentError, "resize must be an integer or a tuple of length 2"),
        ("513x8", SpecError, "resize must be at most 512 pixels, got 513 x 8"),
    ],
)
def test_a_resize_that_is_not_a_size(given, error, text):
    with pytest.raises(error) as caught:
        StudySpec(resize=given)
    assert text in str(caught.value)


def test_resize_is_for_folders():
    with pytest.raises(
        SpecError, match="resize is only for folders of images, got resize with 'digits'; omit"
    ):
        load_examples(StudySpec(resize=8))
