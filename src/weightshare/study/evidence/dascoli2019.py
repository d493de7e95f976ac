"""d'Ascoli et al. 2019: a convolution whose weights are unshared during training."""

from collections.abc import Sequence
from typing import Any

from ..rows import Row
from ..spec import StudySpec, get_step
from .base import Experiment, Finding, Record, compare_order, measure_percent
from .study_rows import collect, measure_rows

EPOCHS = (3, 12)
OPTIONS: dict[str, Any] = {
    "width": 16,
    "train_images": 600,
    "batch_size": 32,
    "epochs_max": 40,
    "patience": 4,
}
RELAXED = tuple(f"relaxed after {epochs} epochs" for epochs in EPOCHS)


def run_seed(data: str, seed: int) -> Record:
    """Return the accuracy of each network."""
    schedules = tuple(f"relax:{epochs}" for epochs in EPOCHS)
    spec = StudySpec(data=data, sharings="full,local", schedules=schedules, accelerator="cpu", **OPTIONS)
    return measure_rows(spec, seed, _name)


def _name(row: Row) -> str:
    return f"relaxed after {get_step(row.setting)} epochs" if row.question else row.name


def judge(records: Sequence[Record]) -> list[Finding]:
    """Compare the relaxed networks with the convolution and with the local network."""
    findings = [
        measure_percent(f"{name}: test accuracy (%)", collect(records, name))
        for name in ("full", "local", *RELAXED)
    ]
    for other, published in (
        ("local", "relaxed > unshared from the start"),
        ("full", "relaxed > convolution, at intermediate times"),
    ):
        findings += [
            compare_order(
                f"{name} - {other} (points)",
                published,
                collect(records, name),
                collect(records, other),
                digits=2,
            )
            for name in RELAXED
        ]
    return findings


EXPERIMENT = Experiment(
    name="dascoli2019",
    title="Unsharing weights during training (d'Ascoli et al. 2019)",
    question="A network starts as a convolution and stops sharing weights during training. Is it more "
    "accurate than a convolution, and than a network that never shared weights?",
    source="d'Ascoli, Sagun, Biroli, Bruna 2019, Finding the needle in the haystack with convolutions, "
    "NeurIPS, abstract. The paper relaxes to dense layers; here, to locally connected ones. "
    "Only signs are compared.",
    seeds=6,
    settings={"network": "that of the study", "relaxed after epochs": EPOCHS, **OPTIONS},
    run_seed=run_seed,
    judge=judge,
)
