"""Write measured results to docs/pros_and_cons.md: python -m tools.pros_cons_table

Reads what `python -m tools.data_efficiency` and `python -m tools.explorer_aligned` wrote.
"""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from weightshare.study.statistics.intervals import Difference, compare_means, compute_interval
from weightshare.views.numbers import format_percent, format_percent_interval

from .blocks import ROOT, replace_block

PAGE = ROOT / "docs/pros_and_cons.md"
DIGITS = ROOT / "benchmarks/results/data_efficiency.json"
ALIGNED = ROOT / "src/weightshare/explorer/data/aligned.json"


def main(page: Path = PAGE) -> None:
    """Update the three tables of the page."""
    digits = json.loads(DIGITS.read_text())
    replace_block(page, format_claims(digits), "claims")
    replace_block(page, format_data_efficiency(digits), "data-efficiency")
    write_aligned(json.loads(ALIGNED.read_text()), page)


def write_aligned(results: dict[str, Any], page: Path = PAGE) -> None:
    """Update the table of aligned and shifted pages."""
    replace_block(page, format_aligned(results), "aligned")


def format_claims(results: dict[str, Any]) -> str:
    """Return a table with one row per claim about sharing, its measurement on all digits, and a verdict.

    A claim is confirmed or refuted if the 95% confidence interval of the difference excludes zero.
    """
    one = results["studies"][-1]
    full, local = one["rows"]
    epochs = f"epochs to {format_percent(one['target'])}% validation accuracy"
    # claim, measure, key, whether the claim is that full sharing has the higher value, scale, decimals
    claims = [
        ("faster convergence", epochs, "epochs_to_target", False, 1, 1),
        ("faster training", "seconds per training run", "seconds", False, 1, 1),
        ("cheaper epochs", "milliseconds per epoch", "seconds_per_epoch", False, 1000, 0),
        ("less overfitting", "training minus test accuracy (points)", "gap", False, 100, 1),
        ("better generalization", "test accuracy (%)", "accuracy", True, 100, 1),
        ("robust to shifts", "accuracy, shifted by 1 px (%)", "accuracy_shifted", True, 100, 1),
    ]
    ratio = local["parameters"] / full["parameters"]
    lines = [
        "| claim about sharing | measure | `full` | `local` | difference (95% CI) | verdict |",
        "|---|---|---|---|---|---|",
        f"| fewer parameters | parameters of the network | {full['parameters']:,} | "
        f"{local['parameters']:,} | a factor of {ratio:.0f} | confirmed |",
    ]
    for claim, measure, key, higher, scale, decimals in claims:
        if None in full[key] + local[key]:
            continue  # not every seed reached the target
        difference = compare_means(full[key], local[key])
        first, second = (f"{scale * fmean(row[key]):.{decimals}f}" for row in (full, local))
        interval = _format_difference(difference, scale, decimals)
        verdict = judge(difference, higher)
        lines.append(f"| {claim} | {measure} | {first} | {second} | {interval} | {verdict} |")
    lines.append(
        f"\nNetwork of the study on {results['data']}, width {results['width']}; "
        f"{one['training_images']:,} training images (of which {one['validation_images']} for validation), "
        f"{one['test_images']} test images, "
        f"{results['seeds']} seeds. Difference: `full` minus `local`. Times depend on the machine and its "
        f"load; only their ratio is meaningful. Command: `{results['command']}`."
    )
    return "\n".join(lines)


def format_data_efficiency(results: dict[str, Any]) -> str:
    """Return a table of test accuracy by number of training images."""
    lines = [
        "| training images | `full`: training accuracy (%) | `full`: test accuracy (%) "
        "| `local`: training accuracy (%) | `local`: test accuracy (%) "
        "| difference of test accuracies (95% CI, points) | sharing is better |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results["studies"]:
        full, local = one["rows"]
        cells = [
            f"{format_percent(fmean(row['train_accuracy']))} | "
            f"{format_percent_interval(fmean(row['accuracy']), compute_interval(row['accuracy']))}"
            for row in (full, local)
        ]
        difference = compare_means(full["accuracy"], local["accuracy"])
        interval, verdict = _format_difference(difference, 100, 1), judge(difference, True)
        lines.append(f"| {one['training_images']:,} | {' | '.join(cells)} | {interval} | {verdict} |")
    lines.append(
        f"\nMean and half-width of the 95% confidence interval over {results['seeds']} seeds. "
        "Difference: `full` minus `local`. A fifth of the training images is the validation set. The "
        "patience and the epoch limit grow as the number of images falls, so that all runs may take about "
        f"as many steps. Command: `{results['command']}`."
    )
    return "\n".join(lines)


def format_aligned(results: dict[str, Any]) -> str:
    """Return a table of accuracy on aligned and on shifted pages by sharing."""
    lines = ["| sharing | parameters | aligned: accuracy (%) | shifted: accuracy (%) |", "|---|---|---|---|"]
    for row in results["rows"]:
        name = f"`{row['sharing']}`"
        if row["matches"]:
            matched = " and ".join(f"`{sharing}`" for sharing in row["matches"])
            name = f"`full`, width {row['width']}, size-matched to {matched}"
        cells = [
            format_percent_interval(row[kind]["accuracy"], row[kind]["ci"]) for kind in ("aligned", "shifted")
        ]
        lines.append(f"| {name} | {row['parameters']:,} | {cells[0]} | {cells[1]} |")
    differences = [
        f"{kind} {_format_difference(Difference(**results['local_minus_full'][kind]), 100, 1)}"
        for kind in ("aligned", "shifted")
    ]
    height, width = results["image_size"]
    stopped = sum(row[kind]["hit_cap"] for row in results["rows"] for kind in ("aligned", "shifted"))
    runs = 2 * len(results["rows"]) * results["seeds"]
    lines.append(
        f"\nMean and half-width of the 95% confidence interval over {results['seeds']} seeds. "
        f"`local` minus `full` in points (95% CI): {', '.join(differences)}. "
        f"{results['training_images']:,} training pages (of which "
        f"{results['validation_images']} for validation) and {results['test_images']:,} test pages of "
        f"{height} x {width} pixels, {results['places']} places, {results['classes']} classes, "
        f"width {results['width']}; {stopped} of {runs} runs stopped at the epoch limit. "
        f"Command: `{results['command']}`."
    )
    return "\n".join(lines)


def judge(difference: Difference, higher: bool) -> str:
    """Return the verdict on the claim that the first mean is the higher (or lower) one.

    >>> judge(Difference(2.0, [1.0, 3.0]), higher=True), judge(Difference(2.0, [1.0, 3.0]), higher=False)
    ('confirmed', 'refuted here')
    >>> judge(Difference(2.0, [-1.0, 5.0]), higher=True)
    'no clear difference'
    """
    if not difference.is_clear:
        return "no clear difference"
    return "confirmed" if (difference.mean > 0) == higher else "refuted here"


def _format_difference(difference: Difference, scale: float, decimals: int) -> str:
    """Return a difference with its interval and explicit signs.

    >>> _format_difference(Difference(0.02, [0.01, 0.03]), 100, 1)
    '+2.0 (+1.0 to +3.0)'
    """
    values = [difference.mean, *(difference.ci or [])]
    mean, *ends = (f"{round(scale * value, decimals) + 0.0:+.{decimals}f}" for value in values)  # no -0.0
    return f"{mean} ({ends[0]} to {ends[1]})" if ends else f"{mean} (no interval)"


if __name__ == "__main__":
    main()
