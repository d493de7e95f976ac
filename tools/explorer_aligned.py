"""Measure when not to share: python -m tools.explorer_aligned

The task is to read the left digit of a two-digit number. On aligned pages the number is always at the same
place, so a position belongs to the left or to the right digit. On shifted pages the number is at a random
place. All networks are those of `weightshare study` and differ only in their sharing. They end with global
average pooling, so only the kernels can tell positions apart. At the sides, the blank margin of an aligned
page is so wide that a window with padding contains almost nothing of a digit. The border therefore does not
reveal which digit is the left one.

Writes src/weightshare/explorer/data/aligned.json and the table in docs/pros_and_cons.md. It takes about six
minutes on one core. With a folder as its argument, it keeps the trials there, and continues if it is started
again.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from weightshare import study
from weightshare.study.statistics.intervals import compare_means

from . import pros_cons_table
from .blocks import ROOT

COMMAND = "python -m tools.explorer_aligned"
RESULTS = ROOT / "src/weightshare/explorer/data/aligned.json"
TASK = (
    "Read the left digit of a two-digit number that is at a fixed place on the page (aligned) "
    "or anywhere on it (shifted)."
)
DIGIT = 8  # pixels per side
MARGINS = (2, 5)  # blank pixels above and below, and to the left and right, of an aligned number
TRAINING_IMAGES, TEST_IMAGES = 1000, 1000
TEST_DIGITS = 450  # of 1,797; no training page uses them
SPEC = study.StudySpec(
    sharings="full,regional:1x2,lowrank:1,local",
    seeds=3,
    width=12,
    epochs_max=40,
    patience=4,
    learning_rate=0.005,
    accelerator="cpu",
)


def main(folder: str | None = None) -> None:
    """Run both studies, write the results and the table, and print the table."""
    torch.set_num_threads(1)  # sums are added in the same order on every machine
    with tempfile.TemporaryDirectory() as temporary:
        results = measure(SPEC, TRAINING_IMAGES, TEST_IMAGES, Path(folder or temporary))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    pros_cons_table.write_aligned(results)
    print(pros_cons_table.format_aligned(results))


def make_pages(
    images: np.ndarray, labels: np.ndarray, count: int, shifted: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pages with two random digits side by side [count, 12, 26], and the left labels [count].

    Args:
        images: Digits to choose from [N, 8, 8].
        labels: Their labels [N].
        count: Number of pages.
        shifted: Whether each number is moved by a random whole number of pixels that keeps it on the page;
            otherwise it is at the center.
        seed: Seed of the choice of digits and of the shifts. Both kinds of pages have the same digits.
    """
    generator = np.random.default_rng(seed)
    left, right = generator.integers(len(images), size=(2, count))
    (vertical, horizontal) = MARGINS
    numbers = np.concatenate([images[left], images[right]], axis=2)
    rows = generator.integers(2 * vertical + 1, size=count) if shifted else np.full(count, vertical)
    columns = generator.integers(2 * horizontal + 1, size=count) if shifted else np.full(count, horizontal)
    pages = np.zeros((count, DIGIT + 2 * vertical, 2 * (DIGIT + horizontal)), dtype=images.dtype)
    for page, number, row, column in zip(pages, numbers, rows, columns):
        page[row : row + DIGIT, column : column + 2 * DIGIT] = number
    return pages, labels[left]


def save_pages(path: Path, shifted: bool, training_images: int, test_images: int) -> None:
    """Write training and test pages as the study reads them. They have no digit in common."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, DIGIT, DIGIT).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:TEST_DIGITS], order[TEST_DIGITS:]
    x_train, y_train = make_pages(images[train], labels[train], training_images, shifted, seed=1)
    x_test, y_test = make_pages(images[test], labels[test], test_images, shifted, seed=2)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def measure(
    spec: study.StudySpec,
    training_images: int,
    test_images: int,
    folder: Path,
    show: Callable[[object], None] = print,
) -> dict[str, Any]:
    """Return the accuracy of each sharing on aligned and on shifted pages. Accuracies are fractions."""
    studies: dict[str, study.StudyResult] = {}
    for kind in ("aligned", "shifted"):
        studies[kind] = run_study(spec, kind, training_images, test_images, folder)
        show(studies[kind])
    (vertical, horizontal) = MARGINS
    accuracies = {
        kind: {name: [trial.accuracy for trial in trials] for name, trials in result.by_row.items()}
        for kind, result in studies.items()
    }
    return {
        "task": TASK,
        "command": COMMAND,
        "image_size": [DIGIT + 2 * vertical, 2 * (DIGIT + horizontal)],
        "places": (2 * vertical + 1) * (2 * horizontal + 1),
        "classes": len(studies["aligned"].data.class_names),
        "training_images": training_images,
        "validation_images": studies["aligned"].data.validation,
        "test_images": test_images,
        "seeds": spec.seeds,
        "width": spec.width,
        "rows": [
            {
                "sharing": row.sharing,
                "matches": list(row.matches),
                "width": row.width,
                "parameters": row.parameters,
                **{
                    kind: {
                        "accuracy": result[row.sharing].accuracy,
                        "ci": result[row.sharing].accuracy_ci,
                        "by_seed": accuracies[kind][row.sharing],
                        "training_accuracy": result[row.sharing].train_accuracy,
                        "hit_cap": result[row.sharing].hit_cap,
                    }
                    for kind, result in studies.items()
                },
            }
            for row in studies["aligned"].summary
        ],
        "local_minus_full": {
            kind: _compare(values["local"], values["full"]) for kind, values in accuracies.items()
        },
    }


def run_study(
    spec: study.StudySpec, kind: str, training_images: int, test_images: int, folder: Path
) -> study.StudyResult:
    """Run the study of one kind of pages, "aligned" or "shifted", or continue the one in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}.npz"
    save_pages(path, kind == "shifted", training_images, test_images)
    return study.run(replace(spec, data=f"npz:{path}", out=folder / kind))


def _compare(first: list[float], second: list[float]) -> dict[str, Any]:
    """Return the difference of two means with its 95% confidence interval (paired t-test over the seeds)."""
    difference = compare_means(first, second)
    return {"mean": difference.mean, "ci": difference.ci}


if __name__ == "__main__":
    main(*sys.argv[1:])
