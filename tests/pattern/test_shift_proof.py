"""Attribution of a broken shift to the border of a layer or to weights that differ by position."""

import pytest
from torch import nn

import weightshare as ws
from weightshare.errors import PatternError
from weightshare.symmetry import prove_shift

CIRCULAR = {"padding": 1, "padding_mode": "circular"}

SHIFTS = [
    (nn.Conv1d(1, 1, 3), 8, "none"),
    (nn.Conv1d(1, 1, 3, padding=1), 8, "border"),
    (nn.Conv1d(1, 1, 3, padding=1, padding_mode="reflect"), 8, "border"),
    (nn.Conv1d(1, 1, 5, padding=1), 8, "border"),  # the sizes allow no circular control
    (nn.Conv1d(1, 1, 3, padding=4), 3, "border"),  # circular padding cannot be that large
    (nn.Conv1d(1, 1, 3, padding="same"), 8, "border"),
    (nn.Conv1d(1, 1, 3, padding="valid"), 8, "none"),
    (ws.nn.LocallyConnected1d(1, 1, 3, padding=1, input_size=8), None, "structure"),
    (ws.nn.LocallyConnected1d(1, 1, 3, input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.Tiled(2), input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.Regional(2), input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, padding=1, bias_sharing=ws.Local(), input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, sharing=ws.LowRank(2), input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, sharing=ws.LowRank(0), input_size=8), None, "none"),  # the same as Full
]


@pytest.mark.parametrize(("layer", "size", "cause"), SHIFTS, ids=str)
def test_the_border_is_distinguished_from_the_weights(layer, size, cause):
    assert prove_shift(layer, 1, size).cause == cause


def test_the_proof_as_text():
    found = prove_shift(nn.Conv2d(1, 1, 3, padding=1), (3, 5), 32)
    assert found.control
    assert str(found).startswith(
        "broken only at the border (exact with circular padding); shift (3, 5): 675 of"
    )
    tiled = ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.Tiled(2), input_size=8)
    assert prove_shift(tiled, 2).cause == "border"
    assert "broken by weights that differ by position" in str(prove_shift(tiled, 1))
    low_rank = ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.LowRank(2), input_size=8)
    assert str(prove_shift(low_rank, 1)).endswith("corrections of LowRank(2) differ by position)")
    circle = prove_shift(nn.Conv1d(1, 1, 3, **CIRCULAR), 1, 8)
    assert (circle.cause, bool(circle.control)) == ("border", True)
    with pytest.raises(PatternError, match="must be a multiple of the stride"):
        prove_shift(nn.Conv1d(1, 1, 3, stride=2), 1, 9)
