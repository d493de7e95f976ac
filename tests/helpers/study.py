"""Tiny data on which a study takes seconds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weightshare.study import StudySpec


def tiny_arrays(size: int = 6, each: int = 8, classes: int = 2) -> dict[str, np.ndarray]:
    """Bright spots on a dark ground; the class is the side that the spot is on."""
    generator = np.random.default_rng(0)

    def images(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(classes), count)
        x = generator.integers(0, 60, (len(labels), size, size))
        x[np.arange(len(labels)), size // 2, labels * (size - 1) // max(classes - 1, 1)] = 250
        return x.astype(np.uint8), labels

    x, y = images(each)
    x_test, y_test = images(each // 2)
    return {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """Two classes of 8 training and 4 test images, 6 x 6 pixels."""
    np.savez(tmp_path / "tiny.npz", **tiny_arrays())
    return f"npz:{tmp_path / 'tiny.npz'}"


@pytest.fixture
def quick(tiny: str, tmp_path: Path) -> StudySpec:
    """A study of seconds: two sharings and the wider network, one seed, two epochs."""
    return StudySpec(
        tiny, "full,tiled:2", seeds=1, out=tmp_path / "out", width=3, epochs_max=2, accelerator="cpu"
    )


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """A folder of two classes, `cat` and `dog`, with 5 grey images of 6 x 6 pixels each."""
    folder = tmp_path / "images"
    for name, shade in (("cat", 40), ("dog", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            pixels = np.full((6, 6), shade + 5 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder
