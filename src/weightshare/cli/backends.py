"""`weightshare backends`."""

from ._output import print_escaped


def command() -> None:
    """Show which ways of computing layers are available, and why others are not."""
    from ..backends import report

    print_escaped(str(report()))
