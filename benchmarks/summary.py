"""What the measured times mean: roofline shares, ratios, geometric means, losses. Judges, never measures."""

from collections.abc import Iterable, Iterator
from statistics import geometric_mean

from roofline import floor_ms
from shapes import Shape

WHATS = ("forward", "training")
SHARED = "shared conv"
#: The share of the roofline that a scored shape should reach; shared convolutions that a part may cost.
LEAST_SHARE, MOST_OF_SHARED = 0.30, 2.0


def add_judgement(results: dict) -> None:
    """Shares and fastest alternatives into the rows of layers that share nothing; means into `summary`."""
    for row in (*results["local"], *results["grouped"]):
        shape = Shape(**row["shape"])
        for what in WHATS:
            sides = row[what]["sides"]
            ours = sides["ours"]["median_ms"]
            row[what]["share"] = min(1.0, floor_ms(shape, what, results["roofline"]) / ours)
            row[what] |= _fastest(sides, ours)
    results["summary"] = _means([row for row in results["local"] if row["shape"]["scored"]])


def _fastest(sides: dict[str, dict], ours: float) -> dict:
    others = {name: side["median_ms"] for name, side in sides.items() if name not in ("ours", SHARED)}
    if not others:
        return {"fastest": None, "ratio": None}
    name = min(others, key=others.__getitem__)
    return {"fastest": name, "ratio": others[name] / ours}


def _means(rows: list[dict]) -> dict:
    single = [row for row in rows if row["shape"]["batch"] == 1]
    many = [row for row in rows if row["shape"]["batch"] >= 16]
    return {
        what: {
            "shapes": len(rows),
            "share": _mean(row[what]["share"] for row in rows),
            "least_share": min((row[what]["share"] for row in rows), default=None),
            "ratio_batch_16_and_more": _mean(row[what]["ratio"] for row in many),
            "ratio_batch_1": _mean(row[what]["ratio"] for row in single),
        }
        for what in WHATS
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return geometric_mean(known) if known else None


def losses(results: dict) -> Iterator[str]:
    """Every place where something else is faster, or a figure is short of its goal, in a line each."""
    for row in (*results["local"], *results["grouped"]):
        for what in WHATS:
            ratio, share, name = row[what]["ratio"], row[what]["share"], f"{Shape(**row['shape'])}, {what}"
            if ratio is not None and ratio < 1:
                yield f"{name}: {row[what]['fastest']} takes {ratio:.2f} times our time"
            if row["shape"]["scored"] and share < LEAST_SHARE:
                yield f"{name}: {share:.2f} of the roofline"
    for row in results["transposed"]:
        yield from _slower(row, "einsum + F.fold")
    for row in results["partial"]:
        yield from _dear(row)


def _slower(row: dict, other: str) -> Iterator[str]:
    for what in WHATS:
        sides = row[what]["sides"]
        if {"ours", other} <= sides.keys() and sides[other]["median_ms"] < sides["ours"]["median_ms"]:
            ratio = sides[other]["median_ms"] / sides["ours"]["median_ms"]
            yield f"{Shape(**row['shape'])}, {what}: {other} takes {ratio:.2f} times our time"


def _dear(row: dict) -> Iterator[str]:
    for what in WHATS:
        sides = row[what]["sides"]
        shared = sides[SHARED]["median_ms"]
        for name, side in sides.items():
            rank = int(name.split(":")[1]) if name.startswith("lowrank") else 0
            ratio = side["median_ms"] / shared
            if name != SHARED and ratio > MOST_OF_SHARED * (1 + rank):
                yield f"{Shape(**row['shape'])}, {what}: {name} takes {ratio:.1f} times the shared one's time"
