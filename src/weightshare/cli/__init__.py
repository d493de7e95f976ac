"""The command line, with one file per command: parse the options, call one function, print its result.

An error of the package is printed as one line on standard error, with exit code 2.
"""

import sys
from typing import Annotated

import typer

from .._version import __version__
from ..errors import WeightshareError
from ..views.escape import escape_controls
from . import backends, diagnose, equivariance, evidence, explain, explore, study, summary, ties
from ._once import OnceCommand
from ._output import safe_output

app = typer.Typer(
    help="How much should the weights of a layer be shared?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (explain, explore, summary, ties, equivariance, diagnose, study, evidence, backends):
    app.command(command.__name__.rpartition(".")[2], cls=OnceCommand)(command.command)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    try:
        with safe_output():
            app()
    except (WeightshareError, OSError) as error:
        print(f"weightshare: {escape_controls(str(error))}", file=sys.stderr)
        sys.exit(2)
