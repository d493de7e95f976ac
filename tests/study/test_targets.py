"""Tasks: how they follow from the targets, how targets are prepared, and errors for those that do not fit."""

import numpy as np
import pytest
import torch

from weightshare.errors import DataError, SpecError
from weightshare.study import StudySpec, run
from weightshare.study.data import load_examples
from weightshare.study.tasks import IGNORED

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.random((40, 2, 5, 6))
SERIES = GENERATOR.random((40, 3, 9))
VOLUMES = GENERATOR.random((40, 1, 4, 5, 6))
CLASSES = np.arange(40) % 3
NAN = GENERATOR.random((40, 2))
NAN[[3, 5]] = np.nan


def load(x, y=None, task="auto", **options):
    return load_examples(StudySpec({"x": x, "y": y} if y is not None else {"x": x}, task=task, **options))


@pytest.mark.parametrize(
    ("x", "y", "task", "shape"),
    [
        (IMAGES, CLASSES, "classification", ()),
        (IMAGES, CLASSES[:, None], "classification", ()),
        (IMAGES, CLASSES > 0, "classification", ()),
        (SERIES, CLASSES.astype(np.uint8), "classification", ()),
        (VOLUMES, CLASSES, "classification", ()),
        (IMAGES, GENERATOR.random(40), "regression", (1,)),
        (SERIES, GENERATOR.random((40, 4)), "regression", (4,)),
        (IMAGES, GENERATOR.integers(0, 3, (40, 5, 6)), "pixel-classification", (5, 6)),
        (IMAGES, GENERATOR.integers(0, 3, (40, 1, 5, 6)), "pixel-classification", (5, 6)),
        (SERIES, GENERATOR.integers(0, 3, (40, 9)), "pixel-classification", (9,)),
        (VOLUMES, GENERATOR.integers(0, 3, (40, 4, 5, 6)), "pixel-classification", (4, 5, 6)),
        (IMAGES, GENERATOR.random((40, 5, 6)), "pixel-regression", (1, 5, 6)),
        (SERIES, GENERATOR.random((40, 2, 9)), "pixel-regression", (2, 9)),
        (VOLUMES, GENERATOR.random((40, 2, 4, 5, 6)), "pixel-regression", (2, 4, 5, 6)),
    ],
)
def test_the_task_follows_from_the_targets(x, y, task, shape):
    examples = load(x, y)
    assert examples.task_name == task
    assert examples.size == x.shape[2:]
    assert examples.train[1].shape[1:] == shape
    assert [len(t) for _, t in (examples.train, examples.validation, examples.test)] == [24, 6, 10]
    assert examples.digest == load(x, y, task).digest
    smaller = load(x, y, train_images=20)
    assert (len(smaller.train[1]), len(smaller.validation[1])) == (16, 4)
    assert examples.take(6, seed=1).train[1].shape == (6, *shape)


@pytest.mark.parametrize(
    ("x", "y", "task", "shape"),
    [
        (IMAGES, np.arange(40), "regression", (1,)),
        (SERIES, GENERATOR.random((40, 9)), "pixel-regression", (1, 9)),
        (IMAGES, GENERATOR.integers(0, 9, (40, 5, 6)), "pixel-regression", (1, 5, 6)),
        (IMAGES, np.eye(4)[CLASSES], "regression", (4,)),
    ],
)
def test_a_stated_task_reads_targets_in_another_way(x, y, task, shape):
    examples = load(x, y, task)
    assert examples.task_name == task
    assert examples.train[1].shape[1:] == shape
    assert examples.class_names == ()


def test_numbers_are_normalized_and_scored_in_their_units():
    y = np.stack([100 + 5 * GENERATOR.standard_normal(40), np.full(40, 7.0)], axis=1)
    examples = load(IMAGES, y)
    trained = examples.train[1]
    assert trained[:, 0].mean().abs() < 1e-5
    assert trained[:, 0].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert (trained[:, 1] == 0).all()
    assert np.allclose(np.sort(y[:, 0])[:2], examples.to_units(_all_targets(examples))[:, 0].sort()[0][:2])
    assert (examples.to_units(trained)[:, 1] == 7).all()


def test_numbers_at_positions_are_normalized_per_output():
    y = GENERATOR.random((40, 2, 5, 6)) * np.array([1, 1000])[:, None, None]
    examples = load(IMAGES, y)
    assert torch.allclose(examples.train[1].std(dim=(0, 2, 3)), torch.ones(2), atol=0.01)
    assert examples.to_units(examples.train[1])[:, 1].max() > 900


def _all_targets(examples):
    return torch.cat([examples.train[1], examples.validation[1], examples.test[1]])


@pytest.mark.parametrize("y", [None, CLASSES, NAN])
def test_reconstruction_ignores_the_targets(y):
    examples = load(IMAGES, y, "reconstruction")
    assert examples.train[1] is examples.train[0]
    assert examples.outputs == 2
    restored = examples.to_units(examples.test[1])
    assert all(np.isclose(IMAGES, image, atol=1e-6).all(axis=(1, 2, 3)).any() for image in restored.numpy())


def test_classes_at_positions_can_be_missing():
    masks = GENERATOR.integers(3, 6, (40, 5, 6))
    masks[:, 0] = IGNORED
    examples = load(IMAGES, masks)
    assert examples.class_names == ("3", "4", "5")
    assert (examples.train[1][:, 0] == IGNORED).all()
    assert set(examples.train[1].unique().tolist()) == {IGNORED, 0, 1, 2}


def test_classes_of_integers_of_any_type():
    for kind in (np.int8, np.uint16, np.uint64, ">i4"):
        assert torch.equal(
            _all_targets(load(IMAGES, CLASSES.astype(kind))), _all_targets(load(IMAGES, CLASSES))
        )


def test_a_study_of_each_task_runs():
    for y in (GENERATOR.random(40), GENERATOR.integers(0, 2, (40, 9)), GENERATOR.random((40, 1, 9))):
        spec = StudySpec((SERIES, y), "full", seeds=1, width=2, epochs_max=1, accelerator="cpu")
        assert np.isfinite(run(spec).summary[0].score)


NEGATIVE = np.where(CLASSES == 0, -1, CLASSES)
MASKS = GENERATOR.integers(0, 3, (40, 5, 6))

BAD_TARGETS = [
    (
        CLASSES[:39],
        "auto",
        "training targets: there must be one target per input, got 40 inputs and 39 targets.",
    ),
    (np.array(3), "auto", "there must be one target per input, got 40 inputs and a single number"),
    (np.zeros((40, 0)), "auto", "training targets: must not be empty, got shape (40, 0)."),
    (NAN, "auto", "must be finite numbers, got NaN or infinity in 2 examples, first in example 3; remove or"),
    (np.full(40, np.inf), "regression", "got NaN or infinity in 40 examples, first in example 0; remove"),
    (NAN.astype(np.float32), "classification", "must be finite numbers"),
    (
        np.eye(3)[CLASSES],
        "auto",
        "classes must be given as integers, got one-hot vectors (40, 3); use y.argmax(1)",
    ),
    (
        np.eye(3)[CLASSES],
        "classification",
        "must be integers for classification, got float64; number the classes",
    ),
    (
        CLASSES / 2,
        "classification",
        "must be integers for classification, got float64; number the classes from 0",
    ),
    (MASKS / 2, "pixel-classification", "must be integers for pixel-classification, got float64"),
    (NEGATIVE, "auto", "training targets: classes must be at least 0, got -1; number the classes from 0."),
    (
        CLASSES - 100,
        "auto",
        "training targets: classes must be at least 0, got -100; number the classes from 0.",
    ),
    (MASKS - 1, "auto", "classes must be at least 0, got -1; number the classes from 0."),
    (np.zeros(40, int), "auto", "there must be at least 2 classes, got 1."),
    (np.full((40, 5, 6), IGNORED), "auto", "there must be at least 2 classes, got 0."),
    (
        np.arange(40) // 39,
        "auto",
        "every class must have at least 4 examples to split, got 1 in class '1'; add",
    ),
    (np.zeros((40, 2), int), "auto", "must have the shape [N] for classification, got (40, 2)."),
    (np.zeros((40, 5), int), "auto", "must have the shape [N] for classification, got (40, 5)."),
    (np.zeros((40, 6, 5), int), "auto", "must have the shape [N] for classification, got (40, 6, 5)."),
    (MASKS, "classification", "must have the shape [N] for classification, got (40, 5, 6)."),
    (CLASSES, "pixel-classification", "must have the shape [N, 5, 6] for pixel-classification, got (40,)."),
    (MASKS, "regression", "must have the shape [N, outputs] for regression, got (40, 5, 6)."),
    (CLASSES, "pixel-regression", "must have the shape [N, outputs, 5, 6] for pixel-regression, got (40,)."),
    (
        np.zeros((40, 1, 4, 6)),
        "auto",
        "must have the shape [N, outputs, 5, 6] for pixel-regression, got (40, 1, 4",
    ),
    (np.zeros((40, 1, 5, 6, 2)), "auto", "must have the shape [N, outputs, 5, 6] for pixel-regression, got"),
    (np.ones(40), "auto", "training targets: must not be constant, got the same value everywhere."),
    (np.linspace(0, 1e308, 40), "auto", "training targets: must be small enough to normalize, got values"),
    (np.zeros((40, 10_001)), "auto", "must have at most 10,000 outputs, got 10,001."),
]


@pytest.mark.parametrize(
    ("y", "task", "text"), BAD_TARGETS, ids=[f"{t}: {m[:50]}" for _, t, m in BAD_TARGETS]
)
def test_targets_that_do_not_fit(y, task, text):
    with pytest.raises(DataError) as caught:
        load(IMAGES, y, task)
    assert text in str(caught.value)


def test_test_targets_that_do_not_fit():
    numbers = GENERATOR.random((40, 2))
    for y, y_test, text in (
        (
            CLASSES,
            CLASSES + 1,
            "test targets: every class must occur in the training targets, got class 3, which",
        ),
        (CLASSES, NEGATIVE, "test targets: classes must be at least 0, got -1; number the classes from 0."),
        (CLASSES, CLASSES / 2, "test targets: must be integers for classification, got float64"),
        (
            numbers,
            numbers[:, :1],
            "test targets: must have as many outputs as the training targets (2), got 1.",
        ),
        (numbers, NAN, "test targets: must be finite numbers, got NaN or infinity in 2 examples"),
        (MASKS, CLASSES, "test targets: must have the shape [N, 5, 6] for pixel-classification, got (40,)."),
    ):
        with pytest.raises(DataError) as caught:
            load_examples(StudySpec((IMAGES, y, IMAGES, y_test)))
        assert text in str(caught.value)


def test_an_unknown_task():
    with pytest.raises(
        SpecError, match=r"task must be auto, classification, regression, .*did you mean 'regression'"
    ):
        StudySpec(task="regresion")


def test_too_few_examples():
    with pytest.raises(DataError, match="there must be at least 4 training examples to split, got 3"):
        load(IMAGES[:3], np.arange(3.0))
    with pytest.raises(
        DataError, match=r"train_images must be between 2 and 30 \(all training examples\), got 31"
    ):
        load(IMAGES, GENERATOR.random(40), train_images=31)
