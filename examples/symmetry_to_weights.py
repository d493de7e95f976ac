"""From a symmetry to the weights to share: digits that may stand anywhere on a circle.

A dense network and one whose first layer shares its weights by the orbits of circular shifts are trained on
digits where they stand, and tested on rolled ones too. Mean and half of the 95 % interval over seeds.
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
rolled = torch.stack(
    [x.view(8, 8).roll((i % 8, i // 8 % 8), (0, 1)).flatten() for i, x in enumerate(images[test])]
)

shifts = generators.circular_shifts((8, 8))
maps = generators.with_channels(shifts, MAPS)  # each of the maps moves as the image does
pattern = ws.Pattern.from_symmetry(shifts, maps)


def accuracies(first: nn.Module) -> list[float]:
    """In percent: of the test digits where they stand, and rolled."""
    places = nn.Unflatten(1, (MAPS, 64))
    model = nn.Sequential(
        first, nn.ReLU(), places, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(MAPS, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(STEPS):
        batch = train[torch.randint(len(train), (128,))]
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [100 * (model(x).argmax(1) == labels[test]).float().mean().item() for x in (images[test], rolled)]


print("first layer    weights    where they stand    rolled")
for name in ("dense", "shared"):
    runs = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        first = ws.nn.SharedLinear(pattern) if name == "shared" else nn.Linear(64, 64 * MAPS)
        runs.append(accuracies(first))
    count, table = sum(p.numel() for p in first.parameters()), torch.tensor(runs)
    half = stats.t.ppf(0.975, SEEDS - 1) * table.std(0) / SEEDS**0.5
    cells = [f"{m:5.1f} ± {h:4.1f}" for m, h in zip(table.mean(0).tolist(), half.tolist())]
    print(f"{name:<13}  {count:>7,}    {cells[0]:<16}    {cells[1]}")
