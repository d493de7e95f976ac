"""Aligned against shifted faces: where networks gain from kernels that depend on the position."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...sharing import Full, Local, LowRank, Sharing
from ..data.sources import load_faces
from ..trials.network import Network
from .base import Experiment, Finding, Record, compare_order, measure
from .training import train

FACES = 100
TRAIN_FACES = 75
#: Height and width of the part of a face, 25 x 25 pixels, that a network sees.
SIZE = 17
WIDTH = 8
NOISE = 0.2
TRAINING: dict[str, Any] = {"epochs": 60, "batch_size": 25, "learning_rate": 5e-3}
#: Draws of the noise over which the error is averaged.
TEST_DRAWS = 8
NETWORKS: dict[str, Sharing] = {"full": Full(), "lowrank:4": LowRank(4), "local": Local()}
PLACES = ("aligned", "shifted")


def crop_faces(place: str, seed: int) -> Tensor:
    """Return part of each face [100, 1, 17, 17]: the center if they are aligned, otherwise any part."""
    faces = torch.from_numpy(load_faces().x[:FACES]).float()
    most = faces.shape[-1] - SIZE
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(most + 1, (FACES, 2), generator=generator)
    if place == "aligned":
        corners = torch.full((FACES, 2), most // 2)
    parts = [face[:, a : a + SIZE, b : b + SIZE] for face, (a, b) in zip(faces, corners.tolist())]
    return torch.stack(parts)


def add_noise(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Add normal noise."""
    return faces + NOISE * torch.randn(faces.shape, generator=generator)


def hide_half(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Set the right half to zero, the mean of all faces."""
    return F.pad(faces[..., : SIZE // 2], (0, SIZE - SIZE // 2))


#: What is done to the faces that the networks see. They return the original ones.
TASKS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "denoising": add_noise,
    "completion": hide_half,
}


def run_seed(data: str, seed: int) -> Record:
    """Return the error of each network for each task, on aligned and on shifted faces."""
    order = torch.randperm(FACES, generator=torch.Generator().manual_seed(seed))
    record: Record = {}
    for place in PLACES:
        faces = crop_faces(place, seed)[order]
        faces = faces - faces[:TRAIN_FACES].mean()
        for task in TASKS:
            record[f"{task}, {place}"] = {
                name: _measure_error(name, task, faces[:TRAIN_FACES], faces[TRAIN_FACES:], seed)
                for name in NETWORKS
            }
    return record


def _measure_error(name: str, task: str, known: Tensor, new: Tensor, seed: int) -> float:
    """Train a network on known faces and return its root mean squared error on new ones.

    For the completion, it is the error in the hidden half.
    """
    torch.manual_seed(seed)
    network, change = Network(1, (SIZE, SIZE), 1, WIDTH, NETWORKS[name], is_dense=True), TASKS[task]
    train(network, known, known, seed=seed, loss=F.mse_loss, augment=change, **TRAINING)
    expected = new.repeat(TEST_DRAWS, 1, 1, 1)
    with torch.no_grad():
        outputs = network(change(expected, torch.Generator().manual_seed(10**6 + seed)))
    first = SIZE // 2 if task == "completion" else 0
    return float((outputs - expected)[..., first:].square().mean().sqrt())


def judge(records: Sequence[Record]) -> list[Finding]:
    """Compare the networks on aligned and on shifted faces."""
    findings: list[Finding] = []
    for task in TASKS:
        values = {
            (name, place): [r[f"{task}, {place}"][name] for r in records]
            for place in PLACES
            for name in NETWORKS
        }
        findings += [
            measure(f"{task}, {place}, {name}: error", v, digits=4) for (name, place), v in values.items()
        ]
        for name in ("lowrank:4", "local"):
            findings += _compare(task, name, values)
    return findings


def _compare(task: str, name: str, values: dict[tuple[str, str], list[float]]) -> list[Finding]:
    """Return the findings for a network and the convolution, from the errors by network and place."""
    full = {place: values["full", place] for place in PLACES}
    other = {place: values[name, place] for place in PLACES}
    gains = {place: [a - b for a, b in zip(full[place], other[place])] for place in PLACES}
    return [
        compare_order(
            f"{task}, aligned: error of full - error of {name}",
            f"expected: {name} is better",
            full["aligned"],
            other["aligned"],
            digits=4,
        ),
        compare_order(
            f"{task}, shifted: error of {name} - error of full",
            "expected: full is better",
            other["shifted"],
            full["shifted"],
            digits=4,
        ),
        compare_order(
            f"{task}: gain by {name}, aligned - shifted",
            f"expected: {name} gains more if aligned",
            gains["aligned"],
            gains["shifted"],
            digits=4,
        ),
    ]


EXPERIMENT = Experiment(
    name="aligned-faces",
    title="Aligned and shifted faces",
    question="Do kernels that depend on the position help if faces are aligned? Do they hurt if faces are "
    "shifted?",
    source="None. Locally connected layers are usually justified by aligned data.",
    seeds=8,
    settings={
        "tasks": f"remove noise with a standard deviation of {NOISE}; complete the right half",
        "networks": f"3 layers of {WIDTH} channels with batch norm and ReLU, linear output at each position",
        "training faces": TRAIN_FACES,
        "shift": "each face by its own random number of pixels, up to 4",
        **TRAINING,
        "error": "root mean squared error; pixels are between 0 and 1",
    },
    run_seed=run_seed,
    judge=judge,
    data="the 100 faces of scikit-image's lfw_subset, cropped to the center or a random part of 17 x 17",
)
