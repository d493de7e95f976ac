"""Verdicts from the records of cases, and how often each is right."""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Rule:
    """A verdict on a layer: "relax" if the interval of its gain lies above `threshold`, "keep" if below.

    The gain is the smallest over the controls, as a fraction of the loss. The intervals hold for all layers
    together with probability `1 - alpha` (Bonferroni).

    Args:
        kind: "relax" (random coefficients) or "informed" (from the gradients).
        point: If not None, "relax" needs a gain of `point` and an interval above `threshold`.
        cross: Fit and judge on both halves in turn, instead of once.
        gate: Give no verdict where continuing saves more than this multiple of the gain from relaxing.
    """

    controls: tuple[str, ...] = ("continue", "blind", "wide")
    threshold: float = 0.01
    point: float | None = None
    kind: str = "relax"
    cross: bool = True
    alpha: float = 0.05
    gate: float | None = None


def intervals(record: dict, rule: Rule) -> np.ndarray:
    """Return lower end, upper end, estimate and gain on fresh images [4, layers] over every control."""
    at = 0 if rule.cross else 3
    layers = record["gains"][rule.kind]
    rows = np.array([[layer[control][at : at + 3] for control in rule.controls] for layer in layers])
    gain, error, fresh = rows.astype(float).transpose(2, 0, 1)
    z = stats.norm.ppf(1 - rule.alpha / 2 / len(layers))
    return np.stack([(gain - z * error).min(1), (gain + z * error).min(1), gain.min(1), fresh.min(1)])


def decide(record: dict, rule: Rule) -> list[str]:
    """Return the verdict on each layer: "relax", "keep" or "none"."""
    low, high, gain, _ = intervals(record, rule)
    relax = (low > rule.threshold) & (gain >= (rule.point or 0))
    keep = high < (rule.point or rule.threshold)
    if rule.gate is not None and relax.any():
        relax &= rule.gate * gain >= record["start"]
    return np.where(relax, "relax", np.where(keep, "keep", "none")).tolist()


def score(records: list[dict], rule: Rule, size: float = 0.02) -> dict:
    """Return counts of the cases that are told to relax, and the coverage of the intervals.

    `planted` counts the planted cases in which relaxing some layer gains at least `size` over every control
    on fresh images. The coverage is that of the cases with fresh images.
    """
    counts = {f"{group}{end}": 0 for group in ("shared", "planted", "other") for end in ("", "_relax")}
    covered, best, none = [], [], []
    for record in records:
        low, high, gain, fresh = intervals(record, rule)
        if not np.isnan(fresh).any():
            inside = (low <= fresh) & (fresh <= high)
            covered += inside.tolist()
            best.append(inside[gain.argmax()])
        verdicts = decide(record, rule)
        none += [verdict == "none" for verdict in verdicts]
        group = "shared" if not record["planted"] else "planted" if fresh.max() >= size else "other"
        counts[group] += 1
        counts[group + "_relax"] += "relax" in verdicts
    return counts | {
        "covered": float(np.mean(covered)),
        "covered_best": float(np.mean(best)),
        "undecided": float(np.mean(none)),
    }


ALL = ("continue", "blind", "wide")
RULES = {
    "significant gain over continuing": Rule(("continue",), 0.0),
    "... and over the position-blind control": Rule(ALL[:2], 0.0),
    "... and over the widened layer": Rule(ALL, 0.0),
    "... and over a map of biases": Rule((*ALL, "map"), 0.0),
    "significant, and gain of 0.5%": Rule(ALL, 0.0, 0.005),
    "significant, and gain of 1%": Rule(ALL, 0.0, 0.01),
    "interval above 0.25%": Rule(ALL, 0.0025),
    "interval above 0.5%": Rule(ALL, 0.005),
    "interval above 0.75%": Rule(ALL, 0.0075),
    "interval above 1%": Rule(ALL, 0.01),
    "interval above 1.5%": Rule(ALL, 0.015),
    "interval above 1%, without the widened layer": Rule(ALL[:2], 0.01),
    "interval above 1%, over continuing alone": Rule(("continue",), 0.01),
    "interval above 1%, with the map of biases": Rule((*ALL, "map"), 0.01),
    "interval above 1%, one fold": Rule(ALL, 0.01, cross=False),
    "interval above 1%, 99% intervals": Rule(ALL, 0.01, alpha=0.01),
    "interval above 1%, none if continuing gains more": Rule(ALL, 0.01, gate=1.0),
    "interval above 1%, none if continuing gains more than 1.5 times as much": Rule(ALL, 0.01, gate=1.5),
    "interval above 1%, none if continuing gains more than twice as much": Rule(ALL, 0.01, gate=2.0),
    "interval above 1%, informed coefficients": Rule(ALL, 0.01, kind="informed"),
    "interval above 2%, informed coefficients": Rule(ALL, 0.02, kind="informed"),
}
