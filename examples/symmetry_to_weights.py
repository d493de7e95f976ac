"""
Shared weights from a symmetry
==============================

Two networks classify digits in images with circular borders. The first layer of one is dense; that of the
other shares its weights over all circular shifts. Both are trained on centered digits, and tested on centered
and on shifted ones. Prints accuracy (%) as mean ± half-width of the 95% confidence interval over seeds.
"""

import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.datasets import load_digits
from torch import nn

import weightshare as ws
from weightshare.pattern import generators

SEEDS, STEPS, MAPS = 3, 300, 8
torch.set_num_threads(1)

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
train, test = order[:1200], order[1200:]
shifted = torch.stack(
    [x.view(8, 8).roll((i % 8, i // 8 % 8), (0, 1)).flatten() for i, x in enumerate(images[test])]
)

shifts = generators.circular_shifts((8, 8))
pattern = ws.Pattern.from_symmetry(shifts, generators.with_channels(shifts, MAPS))


def evaluate(first: nn.Module) -> list[float]:
    """Train a network with this first layer; return its accuracy (%) on centered and on shifted digits."""
    pool = [nn.Unflatten(1, (MAPS, 64)), nn.AdaptiveMaxPool1d(1), nn.Flatten()]
    model = nn.Sequential(first, nn.ReLU(), *pool, nn.Linear(MAPS, 10))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(STEPS):
        batch = train[torch.randint(len(train), (128,))]
        optimizer.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    return [100 * (model(x).argmax(1) == labels[test]).float().mean().item() for x in (images[test], shifted)]


print("first layer    weights    centered (%)    shifted (%)")
for name in ("dense", "shared"):
    runs = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        first = ws.nn.SharedLinear(pattern) if name == "shared" else nn.Linear(64, 64 * MAPS)
        runs.append(evaluate(first))
    count, table = sum(p.numel() for p in first.parameters()), torch.tensor(runs)
    half = stats.t.ppf(0.975, SEEDS - 1) * table.std(0) / SEEDS**0.5
    cells = [f"{m:5.1f} ± {h:4.1f}" for m, h in zip(table.mean(0).tolist(), half.tolist())]
    print(f"{name:<13}  {count:>7,}    {cells[0]:<12}    {cells[1]}")
