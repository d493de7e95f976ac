"""Specifications: sharings as text or values, digests, and errors for invalid options."""

import pytest

from weightshare import Full, Local, LowRank, SharedAlong, Tiled
from weightshare.errors import ArgumentError, SpecError
from weightshare.study import StudySpec
from weightshare.study.spec import split_sharings


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("full,local", ["full", "local"]),
        ("along:0,2,full", ["along:0,2", "full"]),
        ("along:0, -1 , local", ["along:0,-1", "local"]),
        ("tiled:2x3,lowrank:4:free", ["tiled:2x3", "lowrank:4:free"]),
    ],
)
def test_commas_between_and_within_sharings(text, pieces):
    assert split_sharings(text) == pieces


def test_sharings_as_text_and_as_values_are_the_same_spec():
    text = StudySpec(sharings="full,tiled:2,along:1")
    assert text == StudySpec(sharings=[Full(), "tiled:2", SharedAlong(1)])
    assert StudySpec(sharings=Local()).sharings == (Local(),)
    assert StudySpec().sharings == (
        *StudySpec(sharings="full,tiled:2,regional:4").sharings,
        LowRank(4),
        Local(),
    )
    assert Tiled(2) in text.sharings


@pytest.mark.parametrize(
    "change",
    [
        {"out": "elsewhere"},
        {"data": "faces"},  # the digest of the data is compared instead
        {"seeds": 4},
        {"sharings": "full"},
        {"train_sizes": "100,300"},
        {"widths": [8]},
        {"augment": "shift:2"},
        {"schedules": ["relax:3"]},
    ],
    ids=str,
)
def test_options_that_can_change_when_a_study_is_continued(change):
    assert StudySpec(**change).digest("data") == StudySpec().digest("data")


@pytest.mark.parametrize(
    "change",
    [
        {"width": 8},
        {"task": "regression"},
        {"metric": "balanced_accuracy"},
        {"model": "mine:build"},
        {"layers": "features.*"},
        {"threads": 2},
        {"learning_rate": 0.1},
        {"accelerator": "cpu"},
        {"num_nodes": 2},
    ],
    ids=str,
)
def test_options_that_must_stay_the_same(change):
    assert StudySpec(**change).digest("data") != StudySpec().digest("data")
    assert StudySpec().digest("other data") != StudySpec().digest("data")


def test_numbers_and_steps_as_text_and_as_values_are_the_same():
    text = StudySpec(train_sizes="300, 100", widths="8", augment="shift:2,shift:1", schedules="relax:3")
    assert text == StudySpec(
        train_sizes=[100, 300], widths=(8,), augment=["shift:2", "shift:1"], schedules=["relax:3"]
    )
    assert text.train_sizes == (100, 300)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"seeds": 0}, ArgumentError, "study: seeds must be at least 1, got 0."),
        ({"width": 1.5}, ArgumentError, "study: width must be an integer, got 1.5"),
        ({"epochs_max": -1}, ArgumentError, "study: epochs_max must be at least 1, got -1"),
        ({"train_images": 1}, ArgumentError, "study: train_images must be at least 2, got 1"),
        (
            {"learning_rate": float("nan")},
            SpecError,
            "study: learning_rate must be a number above 0 and at most 1, got nan",
        ),
        (
            {"learning_rate": True},
            SpecError,
            "learning_rate must be a number above 0 and at most 1, got True",
        ),
        ({"seeds": 10**9}, SpecError, "study: seeds must be at most 1,000,000, got 1,000,000,000."),
        ({"batch_size": 10**23}, SpecError, "study: batch_size must be at most 2,147,483,647, got 1"),
        ({"width": 10**10}, SpecError, "study: width must be at most 4,096, got 10,000,000,000"),
        ({"widths": "8,5000"}, SpecError, "study: widths must be at most 4,096, got 5,000"),
        ({"widths": "8,wide"}, SpecError, "study: widths must be integers such as 100,300, got '8,wide'"),
        ({"train_sizes": 100}, SpecError, "study: train_sizes must be integers such as 100,300, got 100"),
        ({"train_sizes": "100,1"}, ArgumentError, "study: train_sizes must be at least 2, got 1"),
        ({"augment": "shift"}, SpecError, "study: augment must be entries such as shift:2, got 'shift'"),
        ({"schedules": ["relax:0"]}, SpecError, "schedules must be entries such as relax:2, got ['relax:0']"),
        ({"task": "regresion"}, SpecError, "got 'regresion'; did you mean 'regression'"),
        ({"out": "a\0b"}, SpecError, "study: out must be a path, got 'a\\x00b'"),
        (
            {"sharings": "full,full"},
            SpecError,
            "sharings must name at least one sharing, and each only once, got 'full' twice",
        ),
        ({"sharings": []}, SpecError, "each only once, got none"),
        ({"sharings": "half"}, SpecError, "sharing: must be one of full, local"),
        ({"sharings": "lowrank:-1"}, SpecError, "sharing 'lowrank:-1': rank must be at least 0, got -1"),
    ],
)
def test_bad_specs(arguments, kind, text):
    with pytest.raises(kind) as caught:
        StudySpec(**arguments)
    assert text in str(caught.value)
