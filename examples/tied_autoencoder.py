"""
Tied and untied autoencoders
============================

In a tied autoencoder the decoder reuses the weight of the encoder, so it has half the weights and the same
number of biases. Prints the test error on handwritten digits as mean ± half-width of the 95% confidence
interval over seeds.
"""

import torch
from scipy import stats
from sklearn.datasets import load_digits

import weightshare as ws

SEEDS = range(5)
STEPS = 1000


def evaluate(train: torch.Tensor, test: torch.Tensor, seed: int, tied: bool) -> float:
    """Train an autoencoder and return its mean squared error on the test images."""
    torch.manual_seed(seed)
    model = ws.models.dense_autoencoder(64, 16, tied=tied)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(STEPS):
        batch = train[torch.randint(len(train), (64,))]
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(batch), batch).backward()
        optimizer.step()
    with torch.no_grad():
        return torch.nn.functional.mse_loss(model(test), test).item()


def main() -> None:
    torch.set_num_threads(1)
    images = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    train, test = images[:1400], images[1400:]
    for tied in (True, False):
        errors = torch.tensor([evaluate(train, test, seed, tied) for seed in SEEDS])
        half = stats.t.ppf(0.975, len(errors) - 1) * errors.std() / len(errors) ** 0.5
        model = ws.models.dense_autoencoder(64, 16, tied=tied)
        parts = [part for row in ws.summary(model).rows for part in row.parts]
        weights = sum(part.own for part in parts if not part.is_bias)
        biases = sum(part.own for part in parts if part.is_bias)
        name = "tied" if tied else "untied"
        print(f"{name:7s}{weights:6,} weights + {biases} biases, error {errors.mean():.5f} ± {half:.5f}")


if __name__ == "__main__":
    main()
