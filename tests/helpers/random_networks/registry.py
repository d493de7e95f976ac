"""Registry of the operations of random networks."""

from collections.abc import Callable

from tests.helpers.random_networks.builder import DoesNotFitError, Operation

KEEPING: list[str] = []  # operations that keep some shifts, or may keep them
BREAKING: list[str] = []  # operations that break all
BRANCHES: list[str] = []  # operations that contain others
HEADS: list[str] = []
OPERATIONS: dict[str, Operation] = {}


def register(*lists: list[str]) -> Callable[[Operation], Operation]:
    """Add an operation to some lists, under the name of its function. A list may be given several times."""

    def decorate(operation: Operation) -> Operation:
        name = operation.__name__.strip("_")
        OPERATIONS[name] = operation
        for names in lists:
            names.append(name)
        return operation

    return decorate


def require(condition: bool) -> None:
    """Leave out a block unless the network satisfies its condition."""
    if not condition:
        raise DoesNotFitError
