"""`weightshare evidence`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..views.escape import escape_controls
from ._output import print_escaped

if TYPE_CHECKING:
    from ..study.evidence import Progress

INTERRUPTED = 130


def command(
    name: Annotated[str, typer.Argument(help="Name of the experiment, or all.")],
    out: Annotated[
        str | None, typer.Option(help="Folder for the results as JSON, Markdown and HTML.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Images to train on: digits or npz:FILE.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds.")] = None,
    workers: Annotated[int, typer.Option(help="Number of processes.")] = 1,
) -> None:
    """Rerun a published comparison, and show published next to measured figures.

    With --out, running the same command again continues an interrupted run.
    """
    from ..study.evidence import NAMES, find_experiment, run

    try:
        for one in NAMES if name == "all" else (name,):
            makes_data = name == "all" and find_experiment(one).data is not None
            evidence = run(
                one,
                data=None if makes_data else data,
                seeds=seeds,
                out=out,
                workers=workers,
                on_progress=_show,
            )
            print_escaped(f"{evidence}\n")
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        if out is not None:
            folder = escape_controls(out)
            print(
                f"Finished seeds are saved in {folder}; run the same command again to continue.",
                file=sys.stderr,
            )
        raise typer.Exit(INTERRUPTED) from None


def _show(progress: Progress) -> None:
    print(
        f"{progress.name}: {progress.done} of {progress.total} seeds, {progress.seconds:.0f} s",
        file=sys.stderr,
        flush=True,
    )
