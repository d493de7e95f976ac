"""The rows of a study: their names, sizes and MACs, and errors for sharings and networks that do not fit."""

import numpy as np
import pytest

from weightshare import Full, Local, LowRank, Mapped, Tiled
from weightshare.errors import SharingError, StudyError
from weightshare.study import StudySpec, rows
from weightshare.study.data import load_examples
from weightshare.study.rows import count_parameters, plan_rows
from weightshare.study.trials.building import Factory


@pytest.fixture(scope="module")
def digits():
    return load_examples(StudySpec())


def test_rows_of_the_default_study(digits):
    planned = plan_rows(Factory(StudySpec(), digits))
    assert [row.name for row in planned] == [
        "full",
        "tiled:2",
        "full (width 32, size-matched to tiled:2)",
        "regional:4",
        "full (width 64, size-matched to regional:4)",
        "lowrank:4",
        "full (width 36, size-matched to lowrank:4)",
        "local",
    ]


def test_parameters_are_those_of_the_networks(digits):
    spec = StudySpec(width=4)
    for row in plan_rows(Factory(spec, digits)):
        network = row.build_network(Factory(spec, digits))
        assert row.parameters == sum(p.numel() for p in network.parameters())
        assert network(digits.test[0][:2]).shape == (2, 10)


def test_counts_of_full_sharing_by_hand(digits):
    (row,) = plan_rows(Factory(StudySpec(sharings="full"), digits))
    assert row.parameters == 9 * 16 * (1 + 16 + 16) + 6 * 16 + 17 * 10
    assert row.macs == 64 * 9 * 16 * (1 + 16 + 16) + 16 * 10


def test_no_other_width_matches_better(digits):
    expected = count_parameters(Factory(StudySpec(), digits), LowRank(3), 16)
    (wide,) = (row for row in plan_rows(Factory(StudySpec(sharings="lowrank:3"), digits)) if row.matches)
    others = [count_parameters(Factory(StudySpec(), digits), Full(), width) for width in range(1, 60)]
    assert abs(wide.parameters - expected) == min(abs(parameters - expected) for parameters in others)


def test_sharings_of_one_size_have_one_size_matched_row(digits):
    names = [row.name for row in plan_rows(Factory(StudySpec(sharings="tiled:2,regional:2"), digits))]
    assert names == ["tiled:2", "full (width 32, size-matched to tiled:2 and regional:2)", "regional:2"]


def test_a_sharing_of_the_size_of_full_needs_no_size_matched_row(digits):
    assert [row.name for row in plan_rows(Factory(StudySpec(sharings="full,lowrank:0"), digits))] == [
        "full",
        "lowrank:0",
    ]


def test_a_map_that_fits_the_images(digits):
    halves = Mapped(np.repeat([0, 1], 32).reshape(8, 8))
    planned = plan_rows(Factory(StudySpec(sharings=["full", halves]), digits))
    assert planned[1].parameters == count_parameters(Factory(StudySpec(), digits), Tiled((1, 2)), 16)


@pytest.mark.parametrize(
    ("sharings", "text"),
    [
        (
            "regional:9",
            "study: sharing=Regional(9) needs an output of at least 9 x 9, got (8, 8) from images of "
            "8 x 8 pixels; "
            "use a smaller grid or Local().",
        ),
        (
            "tiled:9x1",
            "study: sharing=Tiled((9, 1)) needs an output of at least 9 x 1 (its period), got (8, 8) "
            "from images of "
            "8 x 8 pixels; use a smaller period or Local().",
        ),
        (
            "along:2",
            "study: sharing=SharedAlong(2) needs distinct axes between -2 and 1 for 2 spatial axes, "
            "got (2,); count spatial axes from 0.",
        ),
        (
            [Mapped([[0, 1]])],
            "study: sharing=Mapped(<1 x 2 labels, 2 banks, digest 21320dbe0c662c6d>) needs an "
            "output of 1 x 2 (the shape of its labels), got (8, 8) from images of 8 x 8 pixels; "
            "pass labels with the shape of the output.",
        ),
    ],
)
def test_sharings_that_do_not_fit(digits, sharings, text):
    with pytest.raises(SharingError) as caught:
        plan_rows(Factory(StudySpec(sharings=sharings), digits))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"width": 4096, "sharings": "full"},
            "study: sharing=Full(), width=4096: a network must have at most 134,217,728 parameters, got "
            "302,026,752 or more on images of 8 x 8 pixels; use smaller images, a smaller width or another "
            "sharing.",
        ),
        (
            {"sharings": [Full(), LowRank(10**10)]},
            "study: sharing=LowRank(10000000000), width=16: a network must have at most 134,217,728 "
            "parameters",
        ),
    ],
)
def test_networks_that_are_too_large_are_never_built(digits, monkeypatch, change, text):
    monkeypatch.setattr(Factory, "build", lambda *_: pytest.fail("built"))
    with pytest.raises(StudyError) as caught:
        plan_rows(Factory(StudySpec(**change), digits))
    assert text in str(caught.value)


def test_a_network_that_is_too_large(digits, monkeypatch):
    monkeypatch.setattr(rows, "MAX_PARAMETERS", 100_000)
    with pytest.raises(
        StudyError, match=r"at most 100,000 parameters, got 304,128 or more on images of 8 x 8 pixels"
    ):
        plan_rows(Factory(StudySpec(sharings="full,local"), digits))


def test_networks_have_the_same_parameter_names(digits):
    full, local = (
        {name for name, _ in Factory(StudySpec(), digits).build(sharing, 4).named_parameters()}
        for sharing in (Full(), Local())
    )
    assert full == local
