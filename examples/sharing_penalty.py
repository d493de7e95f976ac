"""
From locally connected to shared
================================

A penalty pulls the kernels of a locally connected layer together. Its strength moves a network gradually to
a convolution. Prints the mean distance of the kernels from their mean, relative to the size of the mean, and
the accuracy on handwritten digits before and after the layer is replaced by the nearest convolution.
"""

import torch
from sklearn.datasets import load_digits

import weightshare as ws

STRENGTHS = (0, 0.3, 1, 3)
STEPS = 600


def train(images: torch.Tensor, digits: torch.Tensor, strength: float) -> torch.nn.Sequential:
    """Train a locally connected layer whose responses are averaged over all positions."""
    torch.manual_seed(0)
    layer = ws.nn.LocallyConnected2d(1, 32, 5, padding=2, input_size=8)
    head = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10)
    model = torch.nn.Sequential(layer, torch.nn.ReLU(), *head)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(STEPS):
        batch = torch.randint(len(images), (64,))
        loss = torch.nn.functional.cross_entropy(model(images[batch]), digits[batch])
        optimizer.zero_grad()
        (loss + strength * ws.sharing_penalty(model)).backward()
        optimizer.step()
    return model


@torch.no_grad()
def score(model: torch.nn.Module, images: torch.Tensor, digits: torch.Tensor) -> float:
    """Return the accuracy in percent."""
    return 100 * (model(images).argmax(1) == digits).float().mean().item()


def main() -> None:
    torch.set_num_threads(1)
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32)[:, None]
    digits = torch.tensor(data.target)
    for strength in STRENGTHS:
        model = train(images[:1200], digits[:1200], strength)
        layer = model[0]
        distance = ws.sharing_penalty(layer).item() / layer.kernels().mean(0).norm().item()
        accuracy = score(model, images[1200:], digits[1200:])
        model[0] = ws.restrict(layer, ws.Full()).module
        shared = score(model, images[1200:], digits[1200:])
        print(
            f"strength {strength:<5} distance {distance:.2f}: {accuracy:.1f}%, as a convolution {shared:.1f}%"
        )


if __name__ == "__main__":
    main()
