"""`weightshare study`."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SpecError
from ..views.escape import escape_controls, quote
from ._model import find_current_folder

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..study import StudySpec

INTERRUPTED = 130
MAX_WORKERS = 4096


def command(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(help="Data: digits, faces, npz:FILE, folder:DIR or package.module:function."),
    ] = None,
    sharing: Annotated[
        str, typer.Option(help="Comma-separated sharings to compare.")
    ] = "full,tiled:2,regional:4,lowrank:4,local",
    seeds: Annotated[int, typer.Option(help="Runs per network.")] = 3,
    out: Annotated[str | None, typer.Option(help="Folder for results and report.")] = None,
    task: Annotated[
        str,
        typer.Option(
            help="Task: classification, regression, pixel-classification, pixel-regression, reconstruction, "
            "or auto to derive it from the targets."
        ),
    ] = "auto",
    metric: Annotated[
        str | None,
        typer.Option(
            help="Metric: accuracy, balanced_accuracy, mean_iou, rmse, mae, r2 or package.module:function."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Function that builds the network, as package.module:function. It is called with sharing= "
            "and width= if it takes them."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Trained network to train further with each sharing, for the same number of steps: a name "
            "such as vgg16, package.module:function, timm:NAME or torchvision:NAME.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Checkpoint to load into the network of --from: a safetensors file, a state dict, an index "
            "or a folder."
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help='Comma-separated patterns of convolutions that share less, e.g. "features.*".'),
    ] = None,
    resize: Annotated[
        str | None, typer.Option(help="Scale the images of a folder to this size, e.g. 32 or 32x48.")
    ] = None,
    train_images: Annotated[int | None, typer.Option(help="Use only this many training examples.")] = None,
    train_sizes: Annotated[
        str, typer.Option(help="Also train with these numbers of training examples, e.g. 100,300,1000.")
    ] = "",
    widths: Annotated[str, typer.Option(help="Also train with these widths, e.g. 8,32.")] = "",
    augment: Annotated[
        str, typer.Option(help="Also train with random shifts of the inputs, e.g. shift:2.")
    ] = "",
    schedules: Annotated[
        str, typer.Option(help="Also train with full sharing for the first epochs, e.g. relax:10.")
    ] = "",
    width: Annotated[int, typer.Option(help="Channels of each convolution.")] = 16,
    epochs_max: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of epochs; by default 100. With --from, number of epochs; by default 20."
        ),
    ] = None,
    patience: Annotated[
        int, typer.Option(help="Epochs without improvement before the learning rate drops.")
    ] = 6,
    batch_size: Annotated[int, typer.Option(help="Batch size.")] = 64,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Initial learning rate (Adam); by default 0.003, with --from 0.001."),
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of each trial.")] = 1,
    accelerator: Annotated[
        str, typer.Option(help="Lightning Fabric accelerator: cpu, cuda, mps, auto.")
    ] = "auto",
    devices: Annotated[str, typer.Option(help="Fabric devices: a number or a list.")] = "1",
    num_nodes: Annotated[int, typer.Option(help="Fabric number of machines per trial.")] = 1,
    strategy: Annotated[str, typer.Option(help="Fabric strategy: auto, ddp, fsdp, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="Fabric precision: 32-true, bf16-mixed, ...")] = "32-true",
    engine: Annotated[
        str, typer.Option(help="Where trials run: local (this machine) or ray (a Ray cluster).")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Worker processes, each running one trial at a time; by default none.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster; by default, one is started on this machine."),
    ] = None,
    cpus_per_trial: Annotated[
        float | None, typer.Option(help="CPUs per trial on the Ray cluster; by default 1.")
    ] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="GPUs per trial on the Ray cluster; by default 0.")
    ] = None,
    state_seconds: Annotated[
        float, typer.Option(help="Seconds after which the state of a long trial is stored again.")
    ] = 60,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
    report: Annotated[
        str | None,
        typer.Option(
            help="Draw the report of the study in this folder again from its records. --out FILE writes it "
            "elsewhere; --out - prints it."
        ),
    ] = None,
) -> None:
    """Compare sharings by training a small network with each, or by training a trained network further.

    Running the same command again continues an interrupted study.
    """
    if report is not None:
        check_only(context, "report", "out")
        redraw_report(report, out)
        return
    if data is None:
        raise typer.BadParameter("give a data set, or --report with the folder of a study", param_hint="DATA")
    from ..study import StudySpec, plan

    find_current_folder()
    spec = StudySpec(
        data=data,
        sharings=sharing,
        seeds=seeds,
        out=out,
        task=task,
        metric=metric,
        model=model,
        start=start,
        weights=weights,
        layers=layers,
        resize=resize,
        train_images=train_images,
        train_sizes=train_sizes,
        widths=widths,
        augment=augment,
        schedules=schedules,
        width=width,
        epochs_max=epochs_max,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        threads=threads,
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        precision=precision,
    )
    resources = {"cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial}
    check_engine(engine, workers, address, resources)
    if dry_run:
        with redirect_stdout(sys.stderr):  # of user-supplied functions
            text = str(plan(spec))
        print(text)
        return
    spec = spec if out is not None else replace(spec, out=get_default_folder(spec))
    try:
        with make_executor(engine, workers, address, resources) as executor:
            run_study(spec, executor=executor, state_seconds=state_seconds)
    except KeyboardInterrupt:
        folder = escape_controls(str(spec.out))
        print(
            f"\nInterrupted.\nFinished trials are saved in {folder}; run the same command again to continue.",
            file=sys.stderr,
        )
        raise typer.Exit(INTERRUPTED) from None


def check_only(context: typer.Context, *names: str) -> None:
    """Raise an error if an argument or option is given that is not one of these."""
    for param in context.command.params:
        source = context.get_parameter_source(str(param.name))
        if source is not None and source.name == "COMMANDLINE" and param.name not in names:
            context.fail(f"{param.opts[0]!r} cannot be given together with '--{names[0]}'.")


def check_engine(
    engine: str, workers: int | None, address: str | None, resources: dict[str, float | None]
) -> None:
    """Raise an error if the options of the executor are not valid."""
    from .._args import check_integer

    if engine not in ("local", "ray"):
        raise SpecError("study", "engine must be local or ray", quote(engine))
    if workers is not None and check_integer("study", "workers", workers, least=1) > MAX_WORKERS:
        raise SpecError("study", f"workers must be at most {MAX_WORKERS:,}", f"{workers:,}")
    if engine == "ray" and workers is not None and address is not None:
        hint = "omit --workers, or omit --address to start a cluster"
        raise SpecError("study", "workers are only for a new cluster", f"address {quote(address)}", hint)
    for name, value in {"address": address, **resources}.items():
        if engine == "local" and value is not None:
            raise SpecError("study", f"{name} needs a cluster", f"engine {engine!r}", "add --engine ray")
    for name, number in resources.items():
        if number is not None and not 0 <= number < inf:
            raise SpecError("study", f"{name} must be a finite number of at least 0", str(number))


def make_executor(
    engine: str, workers: int | None, address: str | None, resources: dict[str, float | None]
) -> Executor | nullcontext[None]:
    """Return the executor of the options, or a context of None to run trials in this process."""
    from ..study import ProcessExecutor, RayExecutor

    if engine == "ray":
        given = {name: number for name, number in resources.items() if number is not None}
        return RayExecutor(address, workers=workers, **given)
    return nullcontext() if workers is None else ProcessExecutor(workers)


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


def run_study(spec: StudySpec, **options: Any) -> None:
    """Run a study, show its progress on standard error, and print its table.

    Args:
        spec: Specification of the study.
        options: Further arguments of `weightshare.study.run`.
    """
    from lightning_fabric.utilities.rank_zero import rank_zero_only
    from rich.console import Console

    from ..study import run
    from ..study.records import REPORT
    from .progress import Terminal

    with Terminal() as terminal, redirect_stdout(sys.stderr):  # of user-supplied functions
        result = run(spec, terminal.update, on_plan=terminal.start, **options)
    # with several devices, every process runs this line
    if not rank_zero_only.rank:  # pyright: ignore[reportFunctionMemberAccess]
        if sys.stdout is not None and sys.stdout.isatty():
            Console().print(result)
        else:
            print(result)
        if result.out is not None:
            print(f"Report: {escape_controls(str(result.out / REPORT))}")
