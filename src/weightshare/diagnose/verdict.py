"""The verdict on each layer and tie, from the losses of the candidates on the judged examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
from scipy.stats import norm

from .._args import check_amount, check_integer
from ..errors import ArgumentError

Control = Literal["continue", "blind", "wide"]
Verdict = Literal["relax", "share", "keep", "no verdict"]
#: Losses [n] of one candidate on the judged examples of each fold.
Folds = Sequence[np.ndarray]
#: Candidates with another sharing or tying than the model; each layer or tie has one.
TRIED = ("relax", "restrict", "untie")


@dataclass(frozen=True)
class Rule:
    """Constants of the verdict.

    Args:
        threshold: Smallest gain or cost that matters, as a fraction of the loss. "relax" needs an interval of
            the gain above it, and "keep" an interval below it. For layers with several kernels, "share" needs
            an interval above minus the threshold, and "keep" an interval below that.
        level: Probability that the interval of at least one layer or tie misses its gain.
        least_examples: Number of judged examples below which there is no verdict.
        controls: Candidates, all of which relaxing must beat; "continue" comes first. For ties, "wide" is
            left out. Restricting is only compared with "continue".
        most_saved: Largest decrease of the loss by training further, as a multiple of the gain, at which the
            verdict can be "relax". If the decrease is larger, the model is not trained to the end, and
            position may only help it to learn faster.
    """

    threshold: float = 0.01
    level: float = 0.05
    least_examples: int = 100
    controls: tuple[Control, ...] = ("continue", "blind", "wide")
    most_saved: float = 1.5

    def __post_init__(self) -> None:
        check_amount("Rule", "threshold", self.threshold)
        if not 0 < check_amount("Rule", "level", self.level) < 1:
            raise ArgumentError("Rule", "level must be between 0 and 1", str(self.level))
        check_amount("Rule", "most_saved", self.most_saved)
        check_integer("Rule", "least_examples", self.least_examples, least=1)
        controls: object = self.controls
        is_valid = isinstance(controls, tuple) and all(control in list(NAMES) for control in self.controls)
        if not is_valid or self.controls[:1] != ("continue",):
            expected = "controls must be 'continue', followed by any of 'blind' and 'wide'"
            raise ArgumentError("Rule", expected, repr(self.controls))


@dataclass(frozen=True)
class Gain:
    """A gain over one control, as a fraction of the loss, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Decision:
    """The verdict on one layer or tie, and the numbers on which it is based.

    Args:
        verdict: "relax", "share", "keep" or "no verdict".
        reason: Reason as a clause.
        gain: Gain over the best control; None if it is undefined.
        p_value: One-sided p-value of no gain over the best control, corrected for the number of layers
            and ties.
        gains: Gain over each control.
    """

    verdict: Verdict
    reason: str
    gain: Gain | None
    p_value: float | None
    gains: dict[str, Gain]


def is_promising(losses: Mapping[str, Folds], layers: int, rule: Rule) -> bool:
    """Return whether a layer or tie could still be relaxed, given its losses for "continue" and the change.

    If not, relaxing does not beat continuing, and no other control can change the verdict. A layer that is
    restricted has no other control.
    """
    if "restrict" in losses:
        return False
    compared = compare_all(losses, layers, rule)
    return bool(compared) and compared["continue"][0].high > rule.threshold


def decide(losses: Mapping[str, Mapping[str, Folds]], rule: Rule) -> dict[str, Decision]:
    """Return the verdict on each layer and tie.

    Gains are mean differences of paired losses, divided by the mean loss of "continue" in each fold and
    averaged over the folds. Their intervals hold for all of them together (normal approximation, Bonferroni).

    Args:
        losses: Losses by layer or tie, candidate and fold. The candidates are "start" (the model before it is
            trained further), one of "relax", "restrict" and "untie", and the controls. Controls other than
            "continue" may be missing for layers that are not promising.
        rule: Constants.
    """
    every = {layer: compare_all(ones, len(losses), rule) for layer, ones in losses.items()}
    compared = {layer: ones for layer, ones in every.items() if ones}
    corrected = _correct({layer: max(p for _, p in ones.values()) for layer, ones in compared.items()})
    decisions: dict[str, Decision] = {}
    for layer, ones in losses.items():
        if layer not in compared:
            reason = "the losses after training must be finite, with a positive mean"
            decisions[layer] = Decision("no verdict", reason, None, None, {})
            continue
        gains = {control: gain for control, (gain, _) in compared[layer].items()}
        best = find_best(compared[layer])
        tried = _find_tried(ones)
        judge = _judge_sharing if tried == "restrict" else _judge
        verdict, reason = judge(best, gains, sum(map(len, ones[tried])), rule)
        if verdict == "relax" and (saved := measure_saved(ones) or 0.0) > rule.most_saved * best.value:
            verdict, reason = "no verdict", _ask_for_training(saved, best, rule)
        decisions[layer] = Decision(verdict, reason, best, corrected[layer], gains)
    return decisions


def measure_saved(losses: Mapping[str, Folds]) -> float | None:
    """Return what training further saves, as a fraction of the loss after it; None if that is undefined."""
    same = {name: losses[name] for name in ("start", "continue")}
    if not _is_defined(same):
        return None
    with np.errstate(over="ignore"):
        saved = float(np.mean([one.mean() / other.mean() for one, other in zip(*same.values())])) - 1
    return saved if isfinite(saved) else None


def compare_all(losses: Mapping[str, Folds], layers: int, rule: Rule) -> dict[str, tuple[Gain, float]]:
    """Return the gain of what was tried over each control that was trained, and its one-sided p-value.

    It is empty if the losses or the gains are not finite.
    """
    if not _is_defined(losses):
        return {}
    compared = {c: _compare(losses, c, layers, rule) for c in rule.controls if c in losses}
    return compared if all(isfinite(gain.high - gain.low) for gain, _ in compared.values()) else {}


def find_best(compared: Mapping[str, tuple[Gain, float]]) -> Gain:
    """Return the gain over the best control."""
    gains = [gain for gain, _ in compared.values()]
    return Gain(*(min(getattr(gain, end) for gain in gains) for end in ("value", "low", "high")))


def _is_defined(losses: Mapping[str, Folds]) -> bool:
    finite = all(np.isfinite(values).all() for folds in losses.values() for values in folds)
    return finite and all(values.mean() > 0 for values in losses["continue"])


def _compare(losses: Mapping[str, Folds], control: str, layers: int, rule: Rule) -> tuple[Gain, float]:
    """Return the gain of the tried candidate over a control, and its one-sided p-value."""
    folds = zip(losses[control], losses[_find_tried(losses)], losses["continue"])
    with np.errstate(over="ignore", invalid="ignore"):  # losses can diverge
        differences = [(other - tried) / base.mean() for other, tried, base in folds]
        gain = float(np.mean([d.mean() for d in differences]))
        error = float(np.sqrt(sum(d.var(ddof=1) / len(d) for d in differences)) / len(differences))
    half = float(norm.isf(rule.level / 2 / layers)) * error
    return Gain(gain, gain - half, gain + half), float(norm.sf(gain / max(error, 1e-300)))


def _find_tried(losses: Mapping[str, Folds]) -> str:
    return next(candidate for candidate in TRIED if candidate in losses)


def _correct(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the p-values after Holm's correction."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for done, layer in enumerate(sorted(p_values, key=lambda layer: p_values[layer])):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[layer]))
        corrected[layer] = largest
    return corrected


def _judge(gain: Gain, gains: Mapping[str, Gain], count: int, rule: Rule) -> tuple[Verdict, str]:
    """Return the verdict on relaxing a layer or untying parameters, with its reason."""
    threshold = f"{100 * rule.threshold:.3g}% of the loss"
    if count < rule.least_examples:
        return "no verdict", _ask_for_least(count, rule)
    if gain.low > rule.threshold:
        return "relax", f"the gain over every control is above {threshold}"
    if gain.high <= rule.threshold:
        control = min(gains, key=lambda name: gains[name].high)
        return "keep", f"the gain over {NAMES[control]} is below {threshold}"
    return "no verdict", f"the gain is too close to {threshold}: {_ask_for_more(gain, rule.threshold, count)}"


def _judge_sharing(gain: Gain, gains: Mapping[str, Gain], count: int, rule: Rule) -> tuple[Verdict, str]:
    """Return the verdict on one kernel for a layer with several, with its reason."""
    threshold = f"{100 * rule.threshold:.3g}% of the loss"
    if count < rule.least_examples:
        return "no verdict", _ask_for_least(count, rule)
    if gain.low >= -rule.threshold:
        return "share", f"one kernel for all positions costs less than {threshold}"
    if gain.high < -rule.threshold:
        return "keep", f"one kernel for all positions costs more than {threshold}"
    needed = _ask_for_more(gain, -rule.threshold, count)
    return "no verdict", f"the cost of one kernel for all positions is too close to {threshold}: {needed}"


def _ask_for_training(saved: float, gain: Gain, rule: Rule) -> str:
    least = "the gain" if rule.most_saved == 1 else f"{rule.most_saved:g} times the gain"
    return (
        f"training further saves {100 * saved:.1f}% of the loss, more than {least} ({100 * gain.value:.1f}%)"
    )


def _ask_for_least(count: int, rule: Rule) -> str:
    return f"{count:,} examples were judged, but at least {rule.least_examples:,} are needed"


def _ask_for_more(gain: Gain, bound: float, count: int) -> str:
    """Return how many examples would decide on which side of a bound the gain is."""
    distance, half = abs(gain.value - bound), (gain.high - gain.low) / 2
    needed = count * (half / max(distance, half / 10)) ** 2
    about = f"about {_round(needed):,}" if distance > half / 10 else f"more than {_round(needed):,}"
    return f"{count:,} examples were judged, but {about} are needed"


#: Controls in words.
NAMES = {
    "continue": "training further",
    "blind": "as many shared weights",
    "wide": "more channels",
}


def _round(count: float) -> int:
    """Return a count rounded up to two digits."""
    scale = 10 ** max(0, len(str(int(count))) - 2)
    return int(-(-count // scale) * scale)
