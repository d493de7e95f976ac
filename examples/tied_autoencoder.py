"""Tied against untied: autoencoders of handwritten digits whose decoder has the encoder's weight, or its own.

Half of the weights, the same number of biases; the error of both with 95 % intervals over seeds.
"""

import torch
from scipy import stats
from sklearn.datasets import load_digits

import weightshare as ws

SEEDS = range(5)
STEPS = 1000


def error(images: torch.Tensor, held_out: torch.Tensor, seed: int, tied: bool) -> float:
    """Mean squared error of the held-out images after training."""
    torch.manual_seed(seed)
    model = ws.models.dense_autoencoder(64, 16, tied=tied)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(STEPS):
        batch = images[torch.randint(len(images), (64,))]
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(batch), batch).backward()
        optimizer.step()
    with torch.no_grad():
        return torch.nn.functional.mse_loss(model(held_out), held_out).item()


def main() -> None:
    torch.set_num_threads(1)
    images = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    train, held_out = images[:1400], images[1400:]
    errors = {
        tied: torch.tensor([error(train, held_out, seed, tied) for seed in SEEDS]) for tied in (True, False)
    }
    for tied, values in errors.items():
        model = ws.models.dense_autoencoder(64, 16, tied=tied)
        half = stats.t.ppf(0.975, len(values) - 1) * values.std() / len(values) ** 0.5
        parts = [part for row in ws.summary(model).rows for part in row.parts]
        weights = sum(part.own for part in parts if not part.is_bias)
        biases = sum(part.own for part in parts if part.is_bias)
        name = "tied" if tied else "untied"
        print(f"{name:7s}{weights:6,} weights + {biases} biases, error {values.mean():.5f} ± {half:.5f}")


if __name__ == "__main__":
    main()
