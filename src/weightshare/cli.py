"""The command line: parse, call one function, print. Errors of the package end with exit code 2."""

import sys
from typing import Annotated

import typer

from .errors import WeightshareError

app = typer.Typer(
    help="How much should the weights of a layer be shared?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        from ._version import __version__

        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; an error of the package is one line on standard error and exit code 2."""
    try:
        app()
    except WeightshareError as error:
        print(f"weightshare: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
