"""A trained network of two convolutions, and a study that trains it further."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.helpers.study import tiny_arrays

if TYPE_CHECKING:
    from weightshare.study import StudySpec

#: Name of the function that builds the network.
BUILD = f"{__name__}:build"


def build() -> nn.Module:
    """Return a network for images of 6 x 6 pixels and two classes, with two convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(32, 2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network that was trained for a few steps."""
    torch.manual_seed(3)
    network, arrays = build(), tiny_arrays()
    x = torch.from_numpy(arrays["x_train"]).float()[:, None]
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(5):
        optimizer.zero_grad()
        cross_entropy(network(x), torch.from_numpy(arrays["y_train"])).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture
def weights(trained, tmp_path) -> Path:
    """The file of the weights of the trained network."""
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.fixture
def further(tiny, trained, tmp_path) -> "StudySpec":
    """A study that trains a network further: two sharings and two seeds, three epochs of two steps."""
    from weightshare.study import StudySpec

    return StudySpec(
        tiny, "full,lowrank:1", seeds=2, start=trained, epochs_max=3, batch_size=6, accelerator="cpu",
        out=tmp_path / "out",
    )  # fmt: skip
