"""Tiny data on which a study takes seconds, and readers for the files of a study."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from weightshare.study import StudySpec

#: The size-matched row of the study `quick`.
MATCHED = "full (width 6, size-matched to tiled:2)"


def tiny_arrays(size: int = 6, each: int = 8, classes: int = 2) -> dict[str, np.ndarray]:
    """Return images of bright spots on a dark background. The class is the side of the spot."""
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
    """Return the name of a data set with two classes of 8 training and 4 test images of 6 x 6 pixels."""
    np.savez(tmp_path / "tiny.npz", **tiny_arrays())
    return f"npz:{tmp_path / 'tiny.npz'}"


@pytest.fixture
def quick(tiny: str, tmp_path: Path) -> "StudySpec":
    """A study that takes seconds: two sharings and a size-matched row, one seed, two epochs."""
    from weightshare.study import StudySpec

    return StudySpec(
        tiny, "full,tiled:2", seeds=1, out=tmp_path / "out", width=3, epochs_max=2, accelerator="cpu"
    )


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """A folder of two classes, `cat` and `dog`, with 5 grayscale images of 6 x 6 pixels each."""
    from PIL import Image

    folder = tmp_path / "images"
    for name, shade in (("cat", 40), ("dog", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            pixels = np.full((6, 6), shade + 5 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def parse_strict(text: str) -> dict[str, Any]:
    """Parse JSON, and fail for NaN and Infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not valid JSON"))


def read_records(spec: "StudySpec") -> list[dict[str, Any]]:
    """Return the records in the folder of a study."""
    return [parse_strict(line) for line in (Path(str(spec.out)) / "records.jsonl").read_text().splitlines()]


def without_time(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records without their training time, which varies."""
    return [{key: value for key, value in record.items() if key != "train_seconds"} for record in records]
