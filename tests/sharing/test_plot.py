"""Pictures of sharings show the bank of each position."""

import pytest

from weightshare import Full, Local, LowRank, Mapped, Regional, SharedAlong, Tiled
from weightshare.errors import ArgumentError, SharingError
from weightshare.views.colors import INK


def find_letters(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_color() != INK]


def find_captions(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_color() == INK]


@pytest.mark.parametrize(
    ("sharing", "size"),
    [
        (Full(), (3, 4)),
        (Tiled(2), (5,)),
        (Tiled((2, 1, 2)), (3, 4, 5)),
        (Regional(3), (6, 7)),
        (SharedAlong(0), (4, 9)),
        (Mapped([[0, 1], [2, 1]]), (2, 2)),
        (Local(), (4, 13)),
    ],
)
def test_the_letters_are_those_of_the_drawing(sharing, size):
    figure = sharing.plot(size)
    assert find_letters(figure) == sharing.draw(size).split()
    assert len(find_captions(figure)) == (size[0] if len(size) == 3 else 0)


def test_title_and_note_name_the_sharing_and_count_its_banks():
    axes = Regional((2, 3)).plot((4, 6)).axes[0]
    assert (axes.get_title(), axes.get_xlabel()) == ("Regional((2, 3))", "4 x 6 positions, 6 banks")
    assert Full().plot([7]).axes[0].get_xlabel() == "7 positions, 1 bank"


def test_with_more_banks_than_letters_only_their_number_is_shown():
    figure = Local().plot((10, 10))
    assert find_letters(figure) == []
    assert figure.axes[0].get_xlabel() == "10 x 10 positions, 100 banks"
    assert len(figure.axes[0].collections[0].get_facecolors()) == 100


def test_cells_that_are_too_small_have_no_letters():
    assert len(find_letters(Tiled(2).plot((20, 40)))) == 800
    figure = Tiled(2).plot((20, 60))
    assert find_letters(figure) == []
    assert figure.axes[0].images[0].get_array().shape == (20, 60, 4)


@pytest.mark.parametrize(("size", "positions"), [((4,), 4), ((2, 3), 6), ((2, 2, 3), 12)])
def test_a_low_rank_sharing_is_a_shared_kernel_plus_corrections(size, positions):
    figure = LowRank(2).plot(size)
    letters = find_letters(figure)
    assert [letters.count(letter) for letter in "abc"] == [positions] * 3
    captions = find_captions(figure)
    if len(size) < 3:
        assert captions == ["a", "+ A[p, 1] b", "+ A[p, 2] c"]
    else:
        assert captions[2:4] == ["+ A[p, 1] b (plane 0)", "+ A[p, 1] b (plane 1)"]
    assert figure.axes[0].get_xlabel().split()[-6:] == ["1", "shared", "bank", "+", "2", "corrections"]


def test_of_many_corrections_three_are_shown():
    figure = LowRank(9, coefficients="free").plot((4, 4))
    assert set(find_letters(figure)) == set("abcd")
    assert figure.axes[0].get_xlabel().endswith("9 corrections (3 shown)")


def test_low_rank_without_corrections_looks_like_full():
    assert find_letters(LowRank(0).plot((2, 2))) == ["a"] * 4
    assert LowRank(0).plot((2, 2)).axes[0].get_xlabel() == "2 x 2 positions, 1 bank"


@pytest.mark.parametrize("size", [(512,), (512, 512), (64, 64, 64), (1, 512), (1, 1, 1)])
def test_the_largest_and_the_smallest_sizes_can_be_drawn(size):
    assert Tiled(1).plot(size).axes[0].get_xlabel().endswith(", 1 bank")


@pytest.mark.parametrize("size", [(513,), (1, 10**12), (512, 512, 2)])
def test_larger_sizes_are_refused(size):
    expected = (
        r"^Local\.plot: out_size must have at most 512 positions per axis and 262,144 in total, got [\dx ]+; "
        r"plot a smaller output; the sharing divides it in the same way\.$"
    )
    with pytest.raises(ArgumentError, match=expected):
        Local().plot(size)


@pytest.mark.parametrize("size", [4, (), (2, 2, 2, 2), "44", None])
def test_out_size_must_be_a_tuple(size):
    expected = r"^Full\.plot: out_size must be a tuple with 1 to 3 entries \(one per spatial axis\), got "
    with pytest.raises(ArgumentError, match=expected):
        Full().plot(size)


@pytest.mark.parametrize(("size", "name"), [((0, 4), "0"), ((4, -1), "1"), ((4, 2.5), "1"), ((True,), "0")])
def test_out_size_must_have_positive_integers(size, name):
    with pytest.raises(ArgumentError, match=rf"^Full\.plot: out_size\[{name}\] must be "):
        Full().plot(size)


def test_a_size_that_does_not_fit_the_sharing_is_refused():
    with pytest.raises(
        SharingError, match=r"^Tiled\(5\) needs an output of at least 5 x 5 \(its period\), got \(4, 4\)"
    ):
        Tiled(5).plot((4, 4))
    with pytest.raises(SharingError, match=r"^SharedAlong\(2\) needs distinct axes"):
        SharedAlong(2).plot((4, 4))
