"""Lines of code, lines of printed models and sizes as people write them are read."""

import pytest

from weightshare import explain
from weightshare.counting.sizes import read_size
from weightshare.errors import SpecError


@pytest.mark.parametrize(
    "text",
    [
        "self.conv = nn.Conv2d(3, 64, 7, stride=2)",
        "x = nn.Conv2d(3, 64, 7, stride=2)",
        "conv: nn.Module = nn.Conv2d(3, 64, 7, stride=2)",
        "nn.Conv2d(3, 64, 7, stride=2),",
        "nn.Conv2d(3, 64, 7, stride=2,),  # the stem",
        "nn.Conv2d(\n    3,  # RGB\n    64,\n    7, stride=2,\n)",
        "nn.Conv2d(3, 8 * 8, 2**3 - 1, stride=2);",
        "nn.Conv2d(3, 128 // 2, 7, stride=10 % 4)",
        "'conv1': nn.Conv2d(3, 64, 7, stride=2),",
        "('conv1', nn.Conv2d(3, 64, 7, stride=2)),",
        "layers.append(nn.Conv2d(3, 64, 7, stride=2))",
        "x = nn.Conv2d(3, 64, 7, stride=2)(x)",
        "self.stem = nn.Conv2d(3, 64, 7, stride=2).to(device).eval()",
        "return nn.Conv2d(3, 64, 7, stride=2)",
        "(conv1): Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2))",
        "    (conv1): Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2))",
        "Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2))",
    ],
)
def test_a_line_with_a_layer(text):
    assert str(explain(text).layer) == "Conv2d(3, 64, 7, stride=2)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(0): Linear(in_features=784, out_features=10, bias=True)", 7850),
        ("(0): Conv2d(4, 8, kernel_size=(3, 3), stride=(1, 1), padding=same, padding_mode=circular)", 296),
        ("(out_proj): NonDynamicallyQuantizableLinear(in_features=8, out_features=8, bias=True)", 72),
        ("(norm): LayerNorm((768,), eps=1e-05, elementwise_affine=True)", 1536),
        ("(fc): Linear(in_features=28 * 28, out_features=10, bias=False)", 7840),
    ],
)
def test_a_line_of_a_printed_model(text, expected):
    assert explain(text).parameters == expected


@pytest.mark.parametrize(
    "text",
    [
        "x = 1; y = 2",
        "import os\nnn.Linear(3, 4)",
        "nn.Linear(3, 4)\nnn.Linear(4, 5)",
        "def f(): pass",
        "(0): ReLU()\n(1): ReLU()",
        "(a): (b): ReLU()",
        "x += nn.Linear(3, 4)",
    ],
)
def test_other_code_is_refused(text):
    with pytest.raises(SpecError, match=r"must be one call in Python syntax|must be a call with arguments"):
        explain(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "3x227x227",
            "(3, 227, 227)",
            "[3,227,227]",
            "3×227×227",
            "3 x 227 x 227",
            "3X227X227",
            "3,227,227",
        ),
        *(" ( 3 , 227 , 227 , ) ", "3 × 227x227", "torch.Size([3, 227, 227])"),
    ],
)
def test_sizes(text):
    assert read_size(text) == (3, 227, 227)
    assert explain("Conv2d(3, 96, 11, stride=4)", text).output == (96, 55, 55)


@pytest.mark.parametrize(
    "text", ["", "()", "3x", "(3, 4", "3)", "[3, 4)", "3*4", "(None, 3)", "3 4", "3.5", "-3"]
)
def test_other_text_is_not_a_size(text):
    with pytest.raises(SpecError, match='input size: must be integers joined by "x"'):
        read_size(text)


def test_one_number_is_not_a_tuple():
    assert read_size("(784,)") == read_size("[784]") == 784
