"""`weightshare diagnose`."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..views.escape import escape_controls
from ._model import Json, Model, Weights, build_model
from ._output import print_escaped

if TYPE_CHECKING:
    from torch.utils.data import TensorDataset

INTERRUPTED = 130


def command(
    model: Model,
    data: Annotated[
        str,
        typer.Option(help="Data: digits, faces, npz:FILE, folder:DIR or package.module:function."),
    ],
    weights: Weights = None,
    task: Annotated[
        str,
        typer.Option(
            help="Task: classification, regression, pixel-classification, pixel-regression, reconstruction, "
            "or auto to derive it from the targets."
        ),
    ] = "auto",
    loss: Annotated[
        str | None,
        typer.Option(
            help="Loss, as package.module:function of outputs and targets; by default the cross-entropy for "
            "classes, and otherwise the mean squared error."
        ),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Comma-separated names of the convolutions to try; by default all.")
    ] = None,
    ties: Annotated[
        str | None,
        typer.Option(help="Comma-separated names of the tied parameters to try; by default all."),
    ] = None,
    rank: Annotated[int, typer.Option(help="Rank of the relaxed layers.")] = 2,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs of each training run; by default 4, or as many as take 140 steps if that is more."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Batch size.")] = 100,
    learning_rate: Annotated[float, typer.Option(help="Initial learning rate (Adam).")] = 2e-3,
    alternatives: Annotated[
        bool, typer.Option(help="Try other sharings in the layers whose verdict is to relax them.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    device: Annotated[str, typer.Option(help="Device on which the model runs, e.g. cuda.")] = "cpu",
    workers: Annotated[
        int | None, typer.Option(help="Worker processes, each training one candidate; by default none.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Folder for finished trials, from which the same command continues.")
    ] = None,
    as_json: Json = False,
    html: Annotated[str | None, typer.Option(help="Also write an HTML page to this file.")] = None,
) -> None:
    """Measure how much another degree of sharing gains in each convolution and tie of a trained model.

    Convolutions with one kernel are relaxed, layers with several kernels are restricted to one, and tied
    parameters are untied.

    Inputs are passed to the model as they are. If the data have a test set, candidates are fitted on the
    training set and judged on the test set. Otherwise, the model must not have been trained on any
    of the data.
    """
    from functools import partial

    from torch.optim import Adam

    from .._args import check_amount, check_integer
    from ..diagnose import sharing_test
    from ..study import ProcessExecutor
    from ..study.tasks import find_function
    from .progress import DiagnoseTerminal

    rate = check_amount("diagnose", "learning_rate", learning_rate)
    executor = (
        nullcontext()
        if workers is None
        else ProcessExecutor(check_integer("diagnose", "workers", workers, least=1))
    )
    try:
        with redirect_stdout(sys.stderr), DiagnoseTerminal() as terminal, executor as pool:
            module = build_model(model, weights, device).eval()
            examples, unseen, default = load_data(data, task)
            test = sharing_test(
                module,
                examples,
                default if loss is None else find_function(loss, "loss"),
                unseen=unseen,
                layers=None if layers is None else layers.split(","),
                ties=None if ties is None else ties.split(","),
                rank=rank,
                epochs=epochs,
                batch_size=batch_size,
                optimizer=partial(Adam, lr=rate),
                seed=seed,
                alternatives=alternatives,
                out=out,
                progress=terminal.update,
                executor=pool,
            )
    except KeyboardInterrupt:
        again = "Give --out to be able to continue an interrupted test."
        if out is not None:
            saved = f"Finished trials are saved in {escape_controls(out)}"
            again = f"{saved}; run the same command again to continue."
        print(f"\nInterrupted.\n{again}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    print_escaped(test.to_json() if as_json else str(test))
    if html is not None:
        test.to_html(html)


def load_data(source: str, task: str) -> tuple[TensorDataset, TensorDataset | None, Any]:
    """Return the training set, the test set if there is one, and the loss of the task.

    Args:
        source: Value of `--data`.
        task: Value of `--task`.
    """
    import numpy as np
    import torch
    from torch.utils.data import TensorDataset

    from ..study.data.checks import check_inputs, check_targets
    from ..study.data.sources import load_raw
    from ..study.data.targets import encode_targets

    raw = load_raw(source)
    check_inputs(raw)
    targets = encode_targets(raw, task)
    check_targets(raw.name, targets)

    def make(inputs: np.ndarray, given: np.ndarray) -> TensorDataset:
        kind = np.int64 if targets.task.has_classes else np.float32
        return TensorDataset(torch.tensor(inputs.astype(np.float32)), torch.tensor(given.astype(kind)))

    has_test = raw.x_test is not None and targets.test is not None
    unseen = make(raw.x_test, targets.test) if has_test else None  # pyright: ignore[reportArgumentType]
    return make(raw.x, targets.train), unseen, targets.task.compute_loss
