"""Sharings agree with their definitions, which the oracle evaluates position by position."""

import itertools
import os
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightshare import Full, Local, LowRank, Mapped, Regional, SharedAlong, Tiled, parse_sharing, reference
from weightshare.errors import ArgumentError, SharingError, SpecError
from weightshare.sharing import Separable
from weightshare.testing.strategies import sharings

sizes = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)


@st.composite
def sized(draw, count=1):
    size = draw(sizes)
    return size, *(draw(sharings(size)) for _ in range(count))


@given(sized())
def test_labels_and_banks_follow_the_definitions(case):
    size, sharing = case
    labels = sharing.labels(size)
    positions = list(itertools.product(*map(range, size)))
    keys = [reference.bank_key(sharing, p, size) for p in positions]
    assert len(labels) == prod(size)
    for (a, key_a), (b, key_b) in itertools.combinations(zip(labels, keys), 2):
        assert (a == b) == (key_a == key_b)
    if sharing.one_hot:
        assert sorted(set(labels)) == list(range(sharing.banks(size)))
        # banks are numbered in the order of their keys
        order = sorted(set(keys))
        assert labels == [order.index(key) for key in keys]
    if isinstance(sharing, Separable):
        for parts, n in zip(sharing.parts(size), size):
            assert sorted(i for part in parts for i in part) == list(range(n))


@given(sized())
def test_sharings_are_hashable_and_can_be_read_back_from_text(case):
    size, sharing = case
    assert hash(sharing) == hash(sharing)
    assert eval(repr(sharing)) == sharing if not isinstance(sharing, Mapped) else "Mapped(<" in repr(sharing)
    if not isinstance(sharing, Mapped):
        assert parse_sharing(str(sharing)).labels(size) == sharing.labels(size)
    rows = [line for line in sharing.draw(size).splitlines() if line and not line.startswith("(")]
    assert sum(len(row.split()) for row in rows) == prod(size)


def kernel_space(sharing, size):
    """Return a basis of the values that a weight can take over the positions, one column per bank."""
    return reference.assignment(sharing, size)


@given(sized(count=2))
def test_refines_is_inclusion_of_the_spaces_of_kernels(case):
    size, fine, coarse = case
    if not (fine.one_hot and coarse.one_hot):
        return
    both = torch.cat([kernel_space(fine, size), kernel_space(coarse, size)], dim=1)
    contained = torch.linalg.matrix_rank(both) == torch.linalg.matrix_rank(kernel_space(fine, size))
    assert fine.refines(coarse, size) == contained


@given(sized(count=3))
def test_refines_is_a_partial_order_between_full_and_local(case):
    size, a, b, c = case
    assert a.refines(a, size)
    assert a.refines(Full(), size)
    assert Local().refines(a, size)
    if a.refines(b, size) and b.refines(c, size):
        assert a.refines(c, size)


def test_low_rank_refines_what_it_can_express():
    size = (3, 4)
    for rank, coefficients in itertools.product(range(13), ("free", "factorized")):
        low_rank = LowRank(rank, coefficients)
        assert low_rank.refines(Local(), size) == (coefficients == "free" and rank >= 11)
        assert low_rank.refines(Regional(2), size) == (coefficients == "free" and rank >= 3)
        assert low_rank.refines(SharedAlong(1), size) == (rank >= 2)
        assert Local().refines(low_rank, size)
        assert Regional(2).refines(low_rank, size) == (rank == 0)
    assert LowRank(2, "free").refines(LowRank(2), size)
    assert not LowRank(2).refines(LowRank(2, "free"), size)
    assert LowRank(2).refines(LowRank(2, "free"), (5, 1))
    assert LowRank(5).refines(
        LowRank(9), size
    )  # factorized coefficients on 3 x 4 positions have at most rank 5


def test_limits_are_full_and_local():
    size = (4, 6)
    for sharing, limit in (
        (Tiled(1), Full()),
        (Tiled(size), Local()),
        (Regional(1), Full()),
        (Regional(size), Local()),
        (SharedAlong((0, 1)), Full()),
        (SharedAlong(()), Local()),
    ):
        assert sharing.labels(size) == limit.labels(size)
    assert Regional(4).refines(Regional(2), (8, 8))
    assert not Regional(3).refines(Regional(2), (8, 8))
    assert SharedAlong(-1).labels(size) == SharedAlong(1).labels(size)
    assert SharedAlong(1).labels((2, 3)) == [0, 0, 0, 1, 1, 1]


def test_drawings():
    assert Tiled(2).draw((3, 5)) == "a b a b a\nc d c d c\na b a b a"
    assert Regional(2).draw((3, 4)) == "a a b b\na a b b\nc c d d"
    assert Local().draw((3,)) == "a b c"
    assert SharedAlong(0).draw((2, 2, 2)) == "a b\nc d\n\na b\nc d"
    assert LowRank(2).draw((2,)) == "a a\n(a everywhere, plus 2 corrections weighted by position)"
    assert Local().draw((60,)).endswith("(60 banks on 60 positions: letters repeat)")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Regional((5, 5)).check((4, 4)),
            SharingError,
            "Regional((5, 5)) needs an output of at least 5 x 5, got (4, 4); use a smaller grid or Local().",
        ),
        (
            lambda: Tiled(3).check((2, 9)),
            SharingError,
            "Tiled(3) needs an output of at least 3 x 3 (its period), got (2, 9); "
            "use a smaller period or Local().",
        ),
        (
            lambda: SharedAlong(2).check((4, 4)),
            SharingError,
            "SharedAlong(2) needs distinct axes between -2 and 1 for 2 spatial axes, got (2,); "
            "count spatial axes from 0.",
        ),
        (
            lambda: SharedAlong((0, -2)).check((4, 4)),
            SharingError,
            "SharedAlong((0, -2)) needs distinct axes between -2 and 1 for 2 spatial axes, got (0, "
            "-2); count spatial axes from 0.",
        ),
        (
            lambda: SharedAlong((0, 0)),
            ArgumentError,
            "SharedAlong: axes must be distinct, got (0, 0).",
        ),
        (
            lambda: Tiled(()),
            ArgumentError,
            "Tiled: period must have one entry per spatial axis, got ().",
        ),
        (
            lambda: Mapped([0, 10**30]),
            ArgumentError,
            "Mapped: labels must be 0 to K - 1, each used at least once, got no position with label "
            "1; renumber the labels.",
        ),
        (
            lambda: Mapped([[[[0]]]]),
            ArgumentError,
            "Mapped: labels must have at most 3 axes (one per spatial axis), got more.",
        ),
        (
            lambda: Tiled((2, 2)).check((4, 4, 4)),
            SharingError,
            "Tiled((2, 2)) needs an output with 2 spatial axes (one per entry of its period), got 3.",
        ),
        (
            lambda: Tiled(0),
            ArgumentError,
            "Tiled: period must be at least 1, got 0.",
        ),
        (
            lambda: LowRank(-1),
            ArgumentError,
            "LowRank: rank must be at least 0, got -1.",
        ),
        (
            lambda: LowRank(1, "full"),
            ArgumentError,
            "LowRank: coefficients must be 'factorized' or 'free', got 'full'.",
        ),
        (
            lambda: Mapped([[0, 2], [0, 2]]),
            ArgumentError,
            "Mapped: labels must be 0 to K - 1, each used at least once, got no position with label "
            "1; renumber the labels.",
        ),
        (
            lambda: Mapped([0, -1]),
            ArgumentError,
            "Mapped: labels must be 0 to K - 1, each used at least once, got label -1; renumber the labels.",
        ),
        (
            lambda: Mapped([[0, 1], [0]]),
            ArgumentError,
            "Mapped: labels must be rectangular, got rows of different lengths.",
        ),
        (
            lambda: Mapped(np.array([0.5])),
            ArgumentError,
            "Mapped: labels must be integers, got 0.5; cast the map to an integer type.",
        ),
        (
            lambda: Mapped(3),
            ArgumentError,
            "Mapped: labels must be a grid with one entry per position, got the single number 3; "
            "pass a list, an array or a tensor.",
        ),
        (
            lambda: parse_sharing("tiled:two"),
            SpecError,
            "sharing: must be one of full, local, tiled:2, tiled:2x3, regional:4, regional:4x4, "
            "along:1, along:0,2, lowrank:4, lowrank:4:free, mapped:FILE.npy, got 'tiled:two'.",
        ),
        (
            lambda: parse_sharing("lowrank:-1"),
            SpecError,
            "sharing 'lowrank:-1': rank must be at least 0, got -1.",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


def test_an_error_of_mapped_names_both_shapes():
    with pytest.raises(SharingError, match=r"needs an output of 2 x 2 .* got \(3, 3\); pass labels with"):
        Mapped([[0, 1], [1, 0]]).check((3, 3))


def test_arrays_tensors_and_numpy_integers_are_accepted():
    expected = Mapped([[0, 1], [1, 1]])
    for labels in (np.array([[0, 1], [1, 1]]), torch.tensor([[0, 1], [1, 1]])):
        assert Mapped(labels) == Mapped(list(labels)) == expected
    assert SharedAlong(np.int64(1)) == SharedAlong(1)
    assert Tiled(np.int64(2)) == Tiled(2)


def test_a_pipe_is_not_a_map(tmp_path):
    os.mkfifo(tmp_path / "map.npy")
    with pytest.raises(
        SpecError,
        match=r"must name a readable \.npy file, got something that is not "
        "a regular file",
    ):
        parse_sharing(f"mapped:{tmp_path / 'map.npy'}")


def test_mapped_from_a_file(tmp_path):
    path = tmp_path / "map.npy"
    np.save(path, np.array([[0, 1], [1, 1]], dtype=np.uint8))
    assert parse_sharing(f"mapped:{path}") == Mapped([[0, 1], [1, 1]])


@pytest.mark.parametrize("kind", ["missing", "pickle", "archive", "floats", "truncated", "text", "header"])
def test_mapped_from_a_bad_file(tmp_path, kind):
    path = tmp_path / "map.npy"
    if kind == "pickle":
        np.save(path, np.array([[0, object()]]), allow_pickle=True)
    elif kind == "archive":
        with open(path, "wb") as file:
            np.savez(file, a=np.zeros(3, int))
    elif kind == "floats":
        np.save(path, np.zeros(3))
    elif kind == "truncated":
        np.save(path, np.zeros((100, 100), int))
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "header":
        np.save(path, np.zeros((2, 2), int))
        path.write_bytes(path.read_bytes().replace(b"(2, 2)", b"(2, 2 "))
    elif kind == "text":
        path.write_text("0 1 1 0")
    with pytest.raises(SpecError, match=r"sharing 'mapped:.*map\.npy': must .*; write it with numpy\.save\."):
        parse_sharing(f"mapped:{path}")
