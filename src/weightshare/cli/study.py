"""`weightshare study`."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..views.escape import escape_controls

if TYPE_CHECKING:
    from ..study import StudySpec

INTERRUPTED = 130


def command(
    data: Annotated[
        str | None, typer.Argument(help="Data set: digits, faces, npz:FILE or folder:DIR.")
    ] = None,
    sharing: Annotated[
        str, typer.Option(help="Comma-separated sharings to compare.")
    ] = "full,tiled:2,regional:4,lowrank:4,local",
    seeds: Annotated[int, typer.Option(help="Runs per network.")] = 3,
    out: Annotated[str | None, typer.Option(help="Folder for results and report.")] = None,
    train_images: Annotated[int | None, typer.Option(help="Use only this many training images.")] = None,
    width: Annotated[int, typer.Option(help="Channels of each convolution.")] = 16,
    epochs_max: Annotated[int, typer.Option(help="Maximum number of epochs.")] = 100,
    patience: Annotated[
        int, typer.Option(help="Epochs without improvement before the learning rate drops.")
    ] = 6,
    batch_size: Annotated[int, typer.Option(help="Batch size.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Initial learning rate (Adam).")] = 3e-3,
    accelerator: Annotated[
        str, typer.Option(help="Lightning Fabric accelerator: cpu, cuda, mps, auto.")
    ] = "auto",
    devices: Annotated[str, typer.Option(help="Fabric devices: a number or a list.")] = "1",
    strategy: Annotated[str, typer.Option(help="Fabric strategy: auto, ddp, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="Fabric precision: 32-true, bf16-mixed, ...")] = "32-true",
    report: Annotated[
        str | None,
        typer.Option(
            help="Folder of a study whose report to draw again from its records, to --out if given (a file; "
            "- for standard output)."
        ),
    ] = None,
) -> None:
    """Compare sharings by training a small network with each.

    Running the same command again continues an interrupted study.
    """
    if report is not None:
        redraw_report(report, out)
        return
    if data is None:
        raise typer.BadParameter("give a data set, or --report with the folder of a study", param_hint="DATA")
    from ..study import StudySpec

    spec = StudySpec(
        data=data,
        sharings=sharing,
        seeds=seeds,
        out=out,
        train_images=train_images,
        width=width,
        epochs_max=epochs_max,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        precision=precision,
    )
    raise typer.Exit(run_study(spec if out is not None else replace(spec, out=get_default_folder(spec))))


def redraw_report(folder: str, out: str | None) -> None:
    """Draw the report of a study again, to a file or to standard output."""
    from ..study import read, redraw
    from ..study.report.page import render_page

    if out == "-":
        print(render_page(read(folder)))
    else:
        print(f"Report: {escape_controls(str(redraw(folder, out)))}")


def get_default_folder(spec: StudySpec) -> Path:
    """Return a folder name that depends only on the spec, so that repeating a command resumes its study.

    >>> from weightshare.study import StudySpec
    >>> get_default_folder(StudySpec("npz:some/mnist.npz")).name[:12]
    'study-mnist-'
    """
    kind, _, place = spec.data.partition(":")
    name = re.sub(r"[^A-Za-z0-9_]+", "-", Path(place).stem if place else kind).strip("-")
    text = json.dumps(spec.to_dict(), sort_keys=True).encode()
    return Path(f"study-{name[:40]}-{hashlib.blake2b(text, digest_size=4).hexdigest()}")


def run_study(spec: StudySpec) -> int:
    """Run a study, show its progress on standard error, print its table and return the exit code."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only
    from rich.console import Console

    from ..study import run
    from ..study.records import REPORT
    from .progress import Terminal

    try:
        with Terminal() as terminal:
            result = run(spec, terminal.update)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        if spec.out is not None:
            folder = escape_controls(str(spec.out))
            print(
                f"Finished trials are saved in {folder}; run the same command again to continue.",
                file=sys.stderr,
            )
        return INTERRUPTED
    # with several devices, every process runs this line
    if not rank_zero_only.rank:  # pyright: ignore[reportFunctionMemberAccess]
        if sys.stdout.isatty():
            Console().print(result)
        else:
            print(result)
        if result.out is not None:
            print(f"Report: {escape_controls(str(result.out / REPORT))}")
    return 0
