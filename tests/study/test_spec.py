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


def test_digest_depends_on_everything_but_the_folder():
    spec = StudySpec()
    assert spec.digest("data") == StudySpec(out="elsewhere").digest("data")
    others = [StudySpec(seeds=4), StudySpec(sharings="full"), StudySpec(width=8), StudySpec("faces")]
    digests = {spec.digest("data"), spec.digest("other data"), *(other.digest("data") for other in others)}
    assert len(digests) == 6


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"seeds": 0}, ArgumentError, "study: seeds must be at least 1, got 0."),
        ({"width": 1.5}, ArgumentError, "study: width must be an integer, got 1.5"),
        ({"epochs_max": -1}, ArgumentError, "study: epochs_max must be at least 1, got -1"),
        ({"train_images": 1}, ArgumentError, "study: train_images must be at least 2, got 1"),
        ({"learning_rate": float("nan")}, SpecError, "study: learning_rate must be above 0"),
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
