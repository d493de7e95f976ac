"""Tied and untied autoencoders: what weight decay does to linear ones, and what tying costs others."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...ledger import summary
from ...models import dense_autoencoder
from ...tying import untie_weights
from .base import Experiment, Finding, Record, measure
from .images import load_images
from .training import train

SIZE = 8
CODES, STEPS, STEP, DECAY = 10, 10_000, 0.2, 0.01
HIDDEN, EPOCHS, BATCH, LEARNING_RATE = 16, 60, 32, 3e-3
#: The distance of encoder and decoder below which they count as transposes of each other.
CLOSE = 0.01


def run_seed(data: str, seed: int) -> Record:
    """Train linear autoencoders with and without decay, and tied and untied ones with ReLU."""
    images = load_images(data, SIZE)
    x, x_test = (inputs.mean(1).flatten(1) for inputs, _ in (images.train, images.test))
    centered = (x - x.mean(0)).double()
    covariance = centered.T @ centered / len(centered)
    return {
        "decay": train_linear(covariance, seed, DECAY),
        "no_decay": train_linear(covariance, seed, 0.0),
        **train_pair(x - x.mean(0), x_test - x.mean(0), seed),
    }


def train_linear(covariance: Tensor, seed: int, decay: float) -> dict[str, float]:
    """Train an untied linear autoencoder by gradient descent, and return ||W1 - W2^T|| / ||W1|| at both ends.

    The loss is half of the mean squared error of the reconstructions W2 W1 x, plus half of `decay` times the
    sum of the squares of all weights.

    Args:
        covariance: Covariance matrix of the inputs [D, D].
        seed: Seed of the initial weights.
        decay: Factor of the L2 regularization.
    """
    features = len(covariance)
    torch.manual_seed(seed)
    encoder = torch.randn(CODES, features, dtype=torch.float64) / features**0.5
    decoder = torch.randn(features, CODES, dtype=torch.float64) / features**0.5
    before = _distance(encoder, decoder)
    for _ in range(STEPS):
        error = (decoder @ encoder - torch.eye(features)) @ covariance
        step_encoder = decoder.T @ error + decay * encoder
        step_decoder = error @ encoder.T + decay * decoder
        encoder, decoder = encoder - STEP * step_encoder, decoder - STEP * step_decoder
    return {"before": before, "after": _distance(encoder, decoder)}


def _distance(encoder: Tensor, decoder: Tensor) -> float:
    return float((encoder - decoder.T).norm() / encoder.norm())


def train_pair(x: Tensor, x_test: Tensor, seed: int) -> Record:
    """Train a tied autoencoder with ReLU and an untied one, and return their test errors and epochs.

    Both start as the same function. The images must be centered, since otherwise some hidden units are zero
    for all of them, which depends on the seed and not on the tie. The target of the epochs is 1.05 times the
    larger one of the last test errors.
    """
    curves: dict[str, list[float]] = {}
    for name, model in build_pair(seed).items():
        curve: list[float] = []

        def evaluate(epoch: int, model: nn.Module = model, curve: list[float] = curve) -> bool:
            with torch.no_grad():
                curve.append(float(F.mse_loss(model(x_test), x_test)))
            return False

        train(
            model,
            x,
            x,
            seed=seed,
            loss=F.mse_loss,
            epochs=EPOCHS,
            batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            decays=False,
            stop=evaluate,
        )
        curves[name] = curve
    target = 1.05 * max(curve[-1] for curve in curves.values())
    return {
        name: {"error": curve[-1], "epochs": 1 + next(i for i, error in enumerate(curve) if error <= target)}
        for name, curve in curves.items()
    }


def build_pair(seed: int) -> dict[str, nn.Sequential]:
    """Return a tied autoencoder with ReLU, and the same function with a decoder that has its own weight."""
    torch.manual_seed(seed)
    tied = dense_autoencoder(SIZE * SIZE, HIDDEN)
    return {"tied": tied, "untied": untie_weights(copy.deepcopy(tied), "decoder.weight")}


def judge(records: Sequence[Record]) -> list[Finding]:
    """Return the distances of the linear autoencoders, and the cost of tying the others."""

    def collect(name: str, key: str) -> list[float]:
        return [record[name][key] for record in records]

    decay, no_decay = collect("decay", "after"), collect("no_decay", "after")
    with_decay = measure("linear, with weight decay: ||W1 - W2^T|| / ||W1||", decay, "0", digits=4)
    weights = {
        name: summary(model).totals.unique - HIDDEN - SIZE * SIZE for name, model in build_pair(0).items()
    }
    findings = [
        measure("linear, before training: ||W1 - W2^T|| / ||W1||", collect("decay", "before"), digits=4),
        replace(
            with_decay, agrees=max(decay) < CLOSE, note=f"It agrees if it is below {CLOSE} with every seed."
        ),
        measure("linear, without weight decay: ||W1 - W2^T|| / ||W1||", no_decay, digits=4),
        Finding("ReLU, untied: weights without biases", None, weights["untied"], digits=0),
        Finding("ReLU, tied: weights without biases", None, weights["tied"], note="Half as many.", digits=0),
    ]
    for key, words, digits in (
        ("error", "mean squared test error (x 1000)", 2),
        ("epochs", "epochs to the target", 1),
    ):
        values = {name: collect(name, key) for name in ("untied", "tied")}
        if key == "error":
            values = {name: [1000 * value for value in errors] for name, errors in values.items()}
        findings += [measure(f"ReLU, {name}: {words}", values[name], digits=digits) for name in values]
        differences = [a - b for a, b in zip(values["tied"], values["untied"])]
        findings.append(measure(f"ReLU, tied minus untied: {words}", differences, digits=digits))
    return findings


EXPERIMENT = Experiment(
    name="kunin2019",
    title="Tied and untied autoencoders",
    question=(
        "With weight decay, does the decoder of an untied linear autoencoder become the transpose of its "
        "encoder? What does tying the two cost an autoencoder with ReLU?"
    ),
    source=(
        "Kunin et al. 2019, Loss landscapes of regularized linear autoencoders: with L2 regularization, "
        "encoder and decoder are transposes of each other at every critical point"
    ),
    seeds=10,
    settings={
        "images": f"{SIZE} x {SIZE} pixels, values from 0 to 1, centered",
        "linear": f"{CODES} hidden units, no biases, weight decay {DECAY} or 0, {STEPS:,} steps of gradient "
        f"descent with learning rate {STEP}",
        "ReLU": f"{HIDDEN} hidden units, Adam, {EPOCHS} epochs, batches of {BATCH}, learning rate "
        f"{LEARNING_RATE}",
        "target": "1.05 times the larger one of both final test errors, for each seed",
    },
    run_seed=run_seed,
    judge=judge,
)
