"""The optional dependency of the figures. Importing this module does not import it."""

from collections.abc import Generator
from contextlib import contextmanager

from ..errors import MissingExtraError


@contextmanager
def require_matplotlib(where: str) -> Generator[None]:
    """Import modules that need matplotlib; if it is missing, raise an error that names the extra to install.

    Args:
        where: Name of the function that needs it, such as "Tiled.plot".

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise MissingExtraError.for_package(where, "matplotlib", extra="study") from error
