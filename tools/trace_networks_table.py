"""Write the table of traced networks to docs/symmetry.md: python -m tools.trace_networks_table RESULTS"""

import json
import sys
from pathlib import Path
from typing import Any

from .blocks import ROOT, replace_block
from .symmetry_tables import format_markdown

HEAD = (
    "network",
    "input",
    "exact shifts (px)",
    "shift (px): where and why it is lost",
    "error",
    "statements checked",
    "false",
    "forward passes",
    "time",
    "memory",
)


def list_networks(networks: dict[str, Any]) -> list[tuple[object, ...]]:
    """List what a trace reports of each network, how many statements were checked, and what it costs."""
    rows: list[tuple[object, ...]] = [HEAD]
    for name, found in networks.items():
        trace = found["traces"][-1]
        shift = max(trace["shift"])
        lost = (
            "kept"
            if trace["first_loss"] is None
            else f"{trace['cause']} at `{_shorten(trace['first_loss'])}`"
        )
        time = found["seconds"] / found["forward_seconds"]
        memory = (found["peak_megabytes"] - found["forward_megabytes"]) / found["output_megabytes"]
        rows.append(
            (
                name,
                " x ".join(map(str, found["shape"][1:])),
                format_exact(trace["exact_along"]),
                f"{shift}: {lost}",
                format_error(trace["error"]),
                found["checked"],
                len(found["false"]),
                found["passes"],
                f"{time:.0f}",
                f"{memory:.1f}",
            )
        )
    return rows


def format_exact(exact_along: list[int | None]) -> str:
    """Format the exact shifts along each axis that was shifted."""
    words = {0: "none", 1: "all"}
    found = [words.get(n, f"multiples of {n}") for n in exact_along if n is not None]
    return found[0] if len(set(found)) == 1 else " x ".join(found)


def format_error(error: float) -> str:
    """Format an error with two digits; errors within rounding are 0."""
    return "0" if error < 1e-12 else f"{error:.1e}"


def _shorten(name: str) -> str:
    """Return the name of an operation without the parts that all names in its network share."""
    return ".".join(name.split(".")[-4:])


def main(results: str, page: str = str(ROOT / "docs/symmetry.md")) -> None:
    """Update the page."""
    networks = json.loads(Path(results).read_text())["networks"]
    replace_block(page, format_markdown(list_networks(networks)), "traces")


if __name__ == "__main__":
    main(*sys.argv[1:])
