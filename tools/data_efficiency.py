"""Train with and without sharing on fewer and fewer digits: python -m tools.data_efficiency

With few images, each epoch has few steps. The patience and the epoch limit grow accordingly, so that all
studies train for about as many steps. With the default patience, the network with full sharing stops before
it fits its 50 images.

Writes benchmarks/results/data_efficiency.json. It takes about five minutes on one core.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from weightshare import study
from weightshare.study.summary import find_epoch

from .blocks import ROOT

COMMAND = "python -m tools.data_efficiency"
RESULTS = ROOT / "benchmarks/results/data_efficiency.json"
SIZES: tuple[int | None, ...] = (50, 100, 200, 400, None)  # training images; None means all
ALL = 1348  # training images of digits
SPEC = study.StudySpec("digits", "full,local", seeds=5, accelerator="cpu")


def main(path: Path = RESULTS) -> None:
    """Run one study per number of training images, and write the results of each seed."""
    torch.set_num_threads(1)  # sums are added in the same order on every machine
    path.write_text(json.dumps(measure(SPEC, SIZES), indent=1) + "\n")


def measure(
    spec: study.StudySpec, sizes: Sequence[int | None], show: Callable[[object], None] = print
) -> dict[str, Any]:
    """Return the results of a study for each number of training images, by row and seed."""
    return {
        "command": COMMAND,
        "data": spec.data,
        "width": spec.width,
        "seeds": spec.seeds,
        "studies": [_measure_size(choose_spec(spec, size), show) for size in sizes],
    }


def choose_spec(spec: study.StudySpec, size: int | None) -> study.StudySpec:
    """Return the specification for this many training images, with about as many steps as for all of them."""
    factor = 1 if size is None else ALL / size
    return replace(
        spec,
        train_images=size,
        patience=round(factor * spec.patience),
        epochs_max=round(factor * spec.epochs_max),
    )


def _measure_size(spec: study.StudySpec, show: Callable[[object], None]) -> dict[str, Any]:
    result = study.run(spec)
    show(result)
    return {
        "training_images": result.data.train + result.data.validation,
        "validation_images": result.data.validation,
        "test_images": result.data.test,
        "patience": spec.patience,
        "target": result.target,
        "rows": [
            {
                "sharing": row.sharing,
                "parameters": row.parameters,
                "accuracy": [trial.accuracy for trial in trials],
                "train_accuracy": [trial.train_accuracy for trial in trials],
                "gap": [trial.train_accuracy - trial.accuracy for trial in trials],
                "accuracy_shifted": [trial.accuracy_shifted["1"] for trial in trials],
                "epochs_to_target": [find_epoch(trial.curve_accuracy, result.target) for trial in trials],
                "seconds": [round(trial.train_seconds, 2) for trial in trials],
                "seconds_per_epoch": [round(trial.train_seconds / trial.epochs, 4) for trial in trials],
            }
            for row in result.summary
            for trials in [result.by_row[row.sharing]]
        ],
    }


if __name__ == "__main__":
    main()
