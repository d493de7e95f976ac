"""Tables of the results, in Markdown."""

from collections.abc import Iterable

import numpy as np
from scipy import stats

from .rules import RULES, Rule, intervals, score

GATED = "interval above 1%, none if continuing gains more"
FROZEN = f"{GATED} than 1.5 times as much"
CONFIRMED = ("interval above 1%", f"{GATED} than twice as much", FROZEN, GATED)
TRIPLES = 500


def write_report(results: dict) -> str:
    """Return the report of all runs."""
    parts = ["# Search for a verdict of the sharing test\n", INTRODUCTION]
    for name, run in results["runs"].items():
        records = run["records"]
        parts.append(f"## {name}\n\n{run['about']}\n" if "about" in run else f"## {name}\n")
        parts.append(f"{len(records)} cases; device: {run['device']}.\n")
        parts.append(_rules(records, CONFIRMED if "verdicts" in records[0] else RULES))
        if (fresh := sum(map(_has_fresh, records))) < len(records):
            parts.append(f"{fresh} of these cases have fresh images.\n")
        if sum(record["planted"] for record in records) >= 3 and records[0]["statistics"]:
            parts.append(_ranking(records))
    if "maps" in results:
        parts.append(_maps(results["maps"]))
    parts += results.get("notes", [])
    return "\n".join(parts)


def _has_fresh(record: dict) -> bool:
    return record["gains"]["relax"][0]["continue"][2] is not None


def _rules(records: list[dict], names: Iterable[str]) -> str:
    lines = [
        '| rule for the verdict "relax" | teacher shares | planted, gain of 2% or more | other planted |'
        " interval covers (any layer) | (best layer) | undecided layers |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        rule = RULES[name]
        if not _has(records, rule):
            continue
        s = score(records, rule)
        counts = [f"{s[group + '_relax']} of {s[group]}" for group in ("shared", "planted", "other")]
        rates = [f"{s[key]:.1%}" for key in ("covered", "covered_best", "undecided")]
        label = f"**{name}**" if name == FROZEN else name
        lines.append(f"| {' | '.join([label, *counts, *rates])} |")
    return "\n".join(lines) + "\n"


def _maps(records: list[dict]) -> str:
    """Return the fraction of planted places that the top quarter of each map covers, by head."""
    names = [name for name in records[0] if name.startswith("map")]
    lines = [
        "## Maps\n",
        "Planted places of one convolution in the top quarter of the map: mean (minimum) over images and"
        " strengths.\n",
        f"| after the convolution | {' | '.join(names)} |",
        "|---" * (1 + len(names)) + "|",
    ]
    for head in dict.fromkeys(record["head"] for record in records):
        values = [[record[name] for record in records if record["head"] == head] for name in names]
        lines.append(f"| {head} | {' | '.join(f'{np.mean(v):.0%} ({min(v):.0%})' for v in values)} |")
    return "\n".join(lines) + "\n"


def _has(records: list[dict], rule: Rule) -> bool:
    gains = records[0]["gains"]
    return rule.kind in gains and all(control in gains[rule.kind][0] for control in rule.controls)


def _ranking(records: list[dict]) -> str:
    """Return Spearman correlations of each statistic with the gains over continuing on fresh images."""
    planted = [record for record in records if record["planted"]]
    gains = [intervals(record, Rule(("continue",)))[3] for record in planted]
    random = np.random.default_rng(0)
    triples = [random.choice(len(planted), 3, replace=False) for _ in range(TRIPLES)]
    lines = [
        "Spearman correlation with the gain over continuing, planted cases:\n",
        "| statistic | within a network, mean | nine layers of three networks, median | at least 0.7 |",
        "|---|---|---|---|",
    ]
    for name in planted[0]["statistics"]:
        values = [record["statistics"][name] for record in planted]
        within = np.mean([stats.spearmanr(a, b)[0] for a, b in zip(values, gains)])
        pooled = [
            stats.spearmanr(np.ravel([values[i] for i in t]), np.ravel([gains[i] for i in t]))[0]
            for t in triples
        ]
        share = np.mean(np.array(pooled) >= 0.7)
        lines.append(f"| {name} | {within:.2f} | {np.median(pooled):.2f} | {share:.0%} |")
    return "\n".join(lines) + "\n"


INTRODUCTION = """\
Each case is a network (the student) with three 3 x 3 convolutions of 8 channels and global average pooling,
trained on 5,000 images of 14 x 14 pixels with labels from a teacher. In "planted" cases, the kernels of one
layer of the teacher depend on the position. In all other cases, the teacher shares its kernels.

Each layer of the student is relaxed to `LowRank(2)`, and the network is fitted for four epochs on 3,500
unseen images. The controls are fitted in the same way: the network as it is ("continuing"), a position-blind
kernel with as many parameters, and the layer with 8 more channels. All are evaluated on 3,500 other images.
Then the two sets of images are exchanged and everything is repeated, except with "one fold". The gain is the
improvement over the best control, as a fraction of the loss. It is measured again on 20,000 fresh images.
The intervals hold for all layers of a network simultaneously (95%, Bonferroni).
"""
