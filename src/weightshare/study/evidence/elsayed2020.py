"""Elsayed et al. 2020: low-rank sharing against convolutions and locally connected layers."""

from collections.abc import Sequence
from typing import Any

from ..rows import Row
from ..spec import StudySpec
from .base import Experiment, Finding, Record, compare_order, measure_percent
from .study_rows import collect, measure_rows

RANK = 2
OPTIONS: dict[str, Any] = {
    "width": 16,
    "train_images": 600,
    "batch_size": 32,
    "epochs_max": 40,
    "patience": 4,
}
LOW_RANK, MATCHED = f"lowrank:{RANK}", "wide full"


def run_seed(data: str, seed: int) -> Record:
    """Return the accuracy of each network."""
    spec = StudySpec(data=data, sharings=f"full,{LOW_RANK},local", accelerator="cpu", **OPTIONS)
    return measure_rows(spec, seed, _name)


def _name(row: Row) -> str:
    return MATCHED if row.matches else row.name


def judge(records: Sequence[Record]) -> list[Finding]:
    """Compare the low-rank network with the others."""
    networks = ("full", MATCHED, LOW_RANK, "local")
    findings: list[Finding] = []
    for name in networks:
        parameters = int(records[0][name]["parameters"])
        note = f"The network has {parameters:,} parameters."
        findings.append(measure_percent(f"{name}: test accuracy (%)", collect(records, name), note=note))
    for name, published in (("full", "low rank > convolution"), ("local", "low rank > locally connected")):
        quantity = f"{LOW_RANK} - {name} (points)"
        low_rank, other = collect(records, LOW_RANK), collect(records, name)
        findings.append(compare_order(quantity, published, low_rank, other, digits=2))
    matched = "expected: low rank > convolution"
    note = (
        "Both have about the same number of parameters. The paper has this baseline, but its abstract makes "
        "no claim about it."
    )
    quantity = f"{LOW_RANK} - {MATCHED} (points)"
    low_rank, wide = collect(records, LOW_RANK), collect(records, MATCHED)
    return [*findings, compare_order(quantity, matched, low_rank, wide, note, digits=2)]


EXPERIMENT = Experiment(
    name="elsayed2020",
    title="Low-rank sharing (Elsayed et al. 2020)",
    question="Is a network with low-rank sharing more accurate than a convolution and than a local network?",
    source="Elsayed, Ramachandran, Shlens, Kornblith 2020, Revisiting spatial invariance with low-rank local "
    "connectivity, ICML, abstract. Only signs are compared.",
    seeds=8,
    settings={"network": "that of the study, with one sharing in all layers", **OPTIONS},
    run_seed=run_seed,
    judge=judge,
)
