"""Counts agree with figures that circulate in courses, papers and forums, and texts explain these figures."""

import pytest

from weightshare import explain

ALEXNET = "Conv2d(3, 96, 11, stride=4)"


@pytest.mark.parametrize(
    ("spec", "size", "name", "expected"),
    [
        (ALEXNET, (3, 227, 227), "parameters", 34_944),
        (ALEXNET, 227, "neurons", 290_400),
        (ALEXNET, 227, "depth_slices", 96),
        (ALEXNET, 227, "weights_per_neuron", 363),
        (ALEXNET, 227, "positions", 3_025),
        ("Conv2d(1, 1, 3)", None, "parameters", 10),
        ("Conv2d(1, 1, 3, bias=False)", None, "parameters", 9),
        ("Conv2d(1, 10, 5)", None, "parameters", 260),
        ("Conv2d(1, 60, 3)", None, "parameters", 600),
        ("Conv2d(32, 64, 5)", None, "parameters", 51_264),
        ("Conv2d(1, 8, 3, bias=False)", 32, "parameters", 72),
        ("Linear(1024, 64, bias=False)", None, "parameters", 65_536),
        ("Conv2d(1, 6, 5)", 32, "parameters", 156),
        ("Conv2d(1, 6, 5)", 32, "connections", 122_304 - 28 * 28 * 6),  # LeCun 1998 counts the biases too
    ],
)
def test_a_count_is_the_known_answer(spec, size, name, expected):
    answer = explain(spec, size)
    assert getattr(answer, name) == expected
    assert answer.counts[name] == expected


@pytest.mark.parametrize(
    ("spec", "size", "full", "local", "dense"),
    [
        (ALEXNET, 227, 34_944, 105_705_600, 44_892_355_200),
        ("Conv1d(1, 1, 3, bias=False)", 5, 3, 9, 15),
        ("Conv2d(1, 1, 3, bias=False)", 224, 9, 443_556, 224**2 * 222**2),
        ("Conv2d(1, 8, 3, bias=False)", 32, 72, 72 * 900, 1024 * 7200),
        ("Linear(1024, 64, bias=False)", None, 65_536, 65_536, 65_536),
    ],
)
def test_counts_by_sharing_are_the_known_answers(spec, size, full, local, dense):
    assert explain(spec, size).by_sharing == {"full": full, "local": local, "dense": dense}


def test_the_bias_of_each_filter_is_shown():
    answer = explain("Conv2d(1, 10, 5)")
    assert [(term["label"], term["n"]) for term in answer.counts["derivation"]] == [
        ("weights", 250),
        ("biases", 10),
    ]
    assert "250 weights + 10 biases" in str(answer)
    assert "Each filter has 25 weights + 1 bias: 10 x (25 + 1) = 260." in str(answer)


def test_alexnet_is_explained_in_the_words_of_learners():
    text = explain(ALEXNET, (3, 227, 227)).to_text(verbose=True)
    for words in (
        "290,400",
        "55 x 55 x 96: 96 depth slices of 55 x 55",
        "363 + 1",
        "11 x 11 kernel x 3 input channels x 96 output channels x 1 bank",
        "154,587 inputs x 290,400 outputs + 290,400 biases",
        "factor of 3,025",
        "Both have 96 kernels at each position",
        "55 x 55 = 3,025 positions",
        "Not with full sharing: the count is 34,944 for any image size, stride, padding and dilation.",
        "2^363",
        "2^154587",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= 100
    assert text.isascii()


def test_dense_is_not_a_linear_layer_of_another_output_size():
    text = " ".join(str(explain("Conv2d(1, 8, 3, bias=False)", 32)).split())
    assert "The dense layer has the same output volume" in text
    assert "A Linear layer with a different output size computes a different function" in text


def test_patterns_of_one_pixel_of_four():
    answer = explain("Conv2d(1, 1, 1)", (2, 2))
    assert answer.counts["patterns"] == {"local_bits": 1, "global_bits": 4}
    text = " ".join(answer.to_text(verbose=True).split())
    assert "(1 pixel) would have 2 patterns to distinguish, and a global feature (4 pixels) 2^4 = 16" in text


def test_a_window_larger_than_the_image_has_no_more_pixels_than_the_image():
    assert explain("Conv2d(2, 1, 9, padding=4)", 3).counts["patterns"] == {
        "local_bits": 18,
        "global_bits": 18,
    }


def test_without_an_input_size_only_the_shared_count_is_known():
    counts = explain("Conv2d(1, 10, 5)").counts
    assert counts["by_sharing"] == {"full": 260, "local": None, "dense": None}
    for name in (
        "input",
        "output",
        "neurons",
        "connections",
        "macs",
        "dead_taps",
        "by_input_size",
        "patterns",
    ):
        assert counts[name] is None
    assert "pass an input size" in counts["notes"][0]


def test_a_transposed_layer_counts_input_positions():
    answer = explain("ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1)", (4, 5, 5))
    assert answer.output == (8, 10, 10)
    assert answer.by_sharing["local"] == 9 * 4 * 8 * 25 + 8
    assert "weights per input neuron" in str(answer)


def test_the_table_of_image_sizes():
    rows = explain(ALEXNET, 227, sharing="regional:30").counts["by_input_size"]
    assert [row["input"] for row in rows] == [[3, 113, 113], [3, 227, 227], [3, 454, 454], [3, 908, 908]]
    assert {row["full"] for row in rows} == {34_944}
    assert [row["regional:30"] for row in rows] == [None, *[34_944 * 900] * 3]
    assert rows[1]["dense"] == 44_892_355_200


def test_an_explanation_is_an_immutable_value():
    one, two = explain(ALEXNET, 227), explain(ALEXNET, (3, 227, 227))
    assert one == two
    assert len({one, two}) == 1
    one.counts["by_sharing"]["full"] = 0
    assert one.by_sharing["full"] == 34_944
    with pytest.raises(AttributeError):
        one.input = (1, 1, 1)  # type: ignore[misc]


def test_the_often_quoted_saving_compares_different_outputs():
    """Both layers of the comparison, 72 and 65,536 weights, come with the explanation."""
    shared = " ".join(str(explain("Conv2d(1, 8, 3, bias=False)", (1, 32, 32))).split())
    assert "so its count is not comparable" in shared
    linear = " ".join(str(explain("Linear(1024, 64, bias=False)")).split())
    assert "1,024 input features x 64 output features" in linear
    linear = " ".join(str(explain("Linear(1024, 64, bias=False)", 1024)).split())
    assert "The often-quoted 910-fold saving compares layers with different outputs" in linear


def test_one_bit_inputs_of_several_channels_are_not_called_pixels():
    assert "a local feature (363 inputs) would have" in explain("Conv2d(3, 96, 11, stride=4)", 227).to_text(
        True
    )
    assert "a local feature (1 pixel) would have 2 patterns" in explain("Conv2d(1, 1, 1)", 2).to_text(True)


def test_the_default_text_ends_after_the_comparison_of_sharings():
    answer = explain(ALEXNET, (3, 227, 227))
    assert answer.to_text(verbose=True).startswith(str(answer))
    assert "binary patterns" not in str(answer)
    assert "binary patterns" in answer._repr_html_()
