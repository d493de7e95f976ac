"""Report which backends are available."""

from dataclasses import dataclass

from .native import Status, get_status


@dataclass(frozen=True)
class Backends:
    """Availability of each backend, with the reason if it is not available. `str` gives one line per backend.

    Args:
        native: C code for layers on the CPU. It is compiled when the package is installed. The
            environment variable `WEIGHTSHARE_NATIVE` can turn it `off` or force one of its instruction sets.
        portable: Torch operators, for every layer and device. It is always available.
    """

    native: Status
    portable: Status

    def __str__(self) -> str:
        rows = (("native", self.native), ("portable", self.portable))
        return "\n".join(f"{name:<10}{_describe(status)}" for name, status in rows)


def _describe(status: Status) -> str:
    if status.reason is not None:
        return f"not available: {status.reason}"
    if status.instruction_set is None:
        return "available: torch operators, on every device"
    return f"available: {status.instruction_set} (this processor can run {', '.join(status.runnable)})"


def report() -> Backends:
    """Return which backends are available. The first call loads and tests the native backend.

    If there is a library that cannot be used, one `RuntimeWarning` is issued per process.
    """
    return Backends(native=get_status(), portable=Status(None, None))
