"""`weightshare backends`."""


def command() -> None:
    """Show which ways of computing layers are available, and why others are not."""
    from ..backends import report

    print(report())
