"""Evaluates measured times: roofline shares, ratios, geometric means, and where other code is faster."""

from collections.abc import Iterable, Iterator
from statistics import geometric_mean

from roofline import compute_floor_ms
from shapes import Shape

WHATS = ("forward", "training")
#: Names of the sides with the layers of this package, with the same layers after `reuse_gradient_memory`, and
#: with the shared convolution of torch.
OURS, REUSING, SHARED = "weightshare", "weightshare, memory reused", "shared conv"
#: What is compared with the roofline and with alternatives: what is timed, and the side.
COMPARED = {
    "forward": ("forward", OURS),
    "training": ("training", OURS),
    "training, memory reused": ("training", REUSING),
}
#: Targets: minimum roofline share of a scored shape, and maximum time of a partially shared layer relative
#: to a shared convolution.
LEAST_SHARE, MOST_OF_SHARED = 0.30, 2.0


def add_ratios(results: dict) -> None:
    """Add roofline shares and the fastest alternatives to the rows of unshared layers, and their means."""
    for row in (*results["local"], *results["grouped"]):
        shape = Shape(**row["shape"])
        row["compared"] = {}
        for name, (what, side) in COMPARED.items():
            sides = row[what]["sides"]
            milliseconds = sides[side]["median_ms"]
            share = min(1.0, compute_floor_ms(shape, what, results["roofline"]) / milliseconds)
            compared = {"median_ms": milliseconds, "share": share, **_find_fastest(sides, milliseconds)}
            row["compared"][name] = compared
    results["summary"] = _compute_means([row for row in results["local"] if row["shape"]["scored"]])


def _find_fastest(sides: dict[str, dict], milliseconds: float) -> dict:
    """Return the fastest alternative, and its time as a multiple of the given time."""
    others = {name: side["median_ms"] for name, side in sides.items() if name not in (OURS, REUSING, SHARED)}
    if not others:
        return {"fastest": None, "ratio": None}
    name = min(others, key=others.__getitem__)
    return {"fastest": name, "ratio": others[name] / milliseconds}


def _compute_means(rows: list[dict]) -> dict:
    single = [row for row in rows if row["shape"]["batch"] == 1]
    many = [row for row in rows if row["shape"]["batch"] >= 16]
    return {
        name: {
            "shapes": len(rows),
            "share": _compute_mean(row["compared"][name]["share"] for row in rows),
            "least_share": min((row["compared"][name]["share"] for row in rows), default=None),
            "ratio_batch_16_and_more": _compute_mean(row["compared"][name]["ratio"] for row in many),
            "ratio_batch_1": _compute_mean(row["compared"][name]["ratio"] for row in single),
        }
        for name in COMPARED
    }


def _compute_mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return geometric_mean(known) if known else None


def find_losses(results: dict) -> Iterator[str]:
    """Yield one line for each measurement in which another side is faster or a target is missed."""
    for row in (*results["local"], *results["grouped"]):
        for what, compared in row["compared"].items():
            ratio, share, name = compared["ratio"], compared["share"], f"{Shape(**row['shape'])}, {what}"
            if ratio is not None and ratio < 1:
                yield f"{name}: {compared['fastest']} takes {ratio:.2f} times as long as weightshare"
            if row["shape"]["scored"] and share < LEAST_SHARE:
                yield f"{name}: roofline share {share:.2f}"
    for row in results["transposed"]:
        yield from _find_faster(row, "einsum + F.fold")
    for row in results["partial"]:
        yield from _find_slow(row)


def _find_faster(row: dict, other: str) -> Iterator[str]:
    for what in WHATS:
        sides = row[what]["sides"]
        if {OURS, other} <= sides.keys() and sides[other]["median_ms"] < sides[OURS]["median_ms"]:
            ratio = sides[other]["median_ms"] / sides[OURS]["median_ms"]
            yield f"{Shape(**row['shape'])}, {what}: {other} takes {ratio:.2f} times as long as weightshare"


def _find_slow(row: dict) -> Iterator[str]:
    for what in WHATS:
        sides = row[what]["sides"]
        shared = sides[SHARED]["median_ms"]
        for name, side in sides.items():
            rank = int(name.split(":")[1]) if name.startswith("lowrank") else 0
            ratio = side["median_ms"] / shared
            if name != SHARED and ratio > MOST_OF_SHARED * (1 + rank):
                shape = Shape(**row["shape"])
                yield f"{shape}, {what}: {name} takes {ratio:.1f} times as long as the shared convolution"
