"""Relax networks as the sharing test suggests: python benchmarks/sharing_test_mnist.py --data FOLDER

For each seed, a small convolutional network is trained on 10,000 training images of MNIST, and the sharing
test runs on 6,000 other training images. From the same weights, candidates are then trained further, on the
same images in the same order for the same number of steps: the network as it is, the network relaxed as
suggested, and both controls of the sharing test in the same layers. They are trained on the first 10,000
images, and again on all 16,000. They are compared on the 10,000 test images, which are used for nothing else.
The suggestion is `LowRank(2)`, because no alternatives are tried.
If nothing is suggested, the layer with the largest gain is relaxed anyway, and reported separately.
"""

import argparse
import copy
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import weightshare as ws
from weightshare.diagnose.candidates import build_candidate
from weightshare.study.statistics.intervals import compute_interval

RESULTS = Path(__file__).parent / "results"
#: What follows the convolutions.
HEADS = {
    "pooling": "global average pooling and a linear layer",
    "flatten": "a linear layer on all positions",
}
CONTROLS = {"continue": "continuing", "blind": "position-blind control", "wide": "more channels"}
IMAGES = {"training": "the training images", "all": "the training images and those of the sharing test"}
BATCH_SIZE = 100


@dataclass(frozen=True)
class Recipe:
    """Numbers of images and steps.

    Args:
        training: Number of images on which the network is trained.
        unseen: Number of images for the sharing test.
        steps: Number of steps in which the network is trained.
        further: Number of steps in which each candidate is trained.
        rate: Learning rate of the network.
        further_rate: Learning rate of the candidates; that of the sharing test.
        epochs: Epochs of the sharing test; None for its default.
    """

    training: int = 10000
    unseen: int = 6000
    steps: int = 1000
    further: int = 300
    rate: float = 5e-3
    further_rate: float = 2e-3
    epochs: int | None = None


QUICK = Recipe(training=1000, unseen=400, steps=10, further=10, epochs=1)
Images = tuple[Tensor, Tensor]


def load_images(folder: Path) -> tuple[Images, Images]:
    """Return the images [N, 1, 28, 28] and labels of both sets, with mean 0 and variance 1."""
    arrays = np.load(folder / "mnist.npz")
    x, x_test = (torch.from_numpy(arrays[f"x_{name}"]).float()[:, None] / 255 for name in ("train", "test"))
    y, y_test = (torch.from_numpy(arrays[f"y_{name}"]).long() for name in ("train", "test"))
    return ((x - x.mean()) / x.std(), y), ((x_test - x.mean()) / x.std(), y_test)


def build_network(head: str, size: int) -> nn.Sequential:
    """Return a network of three convolutions for images [N, 1, size, size]."""
    side = size // 4
    last = (
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
        if head == "pooling"
        else [nn.Flatten(), nn.Linear(16 * side**2, 10)]
    )
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *last,
    )


def fit(model: nn.Module, images: Images, steps: int, rate: float, seed: int) -> nn.Module:
    """Train with Adam. The learning rate decays linearly to 5%."""
    x, y = images
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, steps)
    model.train()
    for batch in islice(_draw_batches(len(x), generator), steps):
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        decay.step()
    return model.eval()


def _draw_batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(count, generator=generator).split(BATCH_SIZE)


@torch.no_grad()
def measure(model: nn.Module, images: Images) -> dict[str, float]:
    """Return the loss, the error rate and the number of parameters."""
    x, y = images
    outputs = torch.cat([model(part) for part in x.split(500)])
    return {
        "loss": float(cross_entropy(outputs.double(), y)),
        "error": float((outputs.argmax(1) != y).double().mean()),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def build_candidates(
    model: nn.Module, test: ws.SharingTest, plan: dict[str, ws.Sharing]
) -> dict[str, nn.Module]:
    """Return the model, the model relaxed according to the plan, and the controls, by name."""
    example = test.example
    found = {
        "continue": copy.deepcopy(model),
        "relax": ws.relax(model, test) if plan == test.plan else ws.relax(model, plan, example),
        "blind": model,
        "wide": model,
    }
    for name in plan:
        layer = model.get_submodule(name)
        added = sum(p.numel() for p in found["relax"].get_submodule(name).parameters()) - layer.weight.numel()
        rank = max(1, round(added / layer.weight.numel()))  # controls have as many weights as `LowRank(rank)`
        for kind in ("blind", "wide"):
            found[kind] = build_candidate(found[kind], kind, name, ws.LowRank(rank), example)
    return found


def run_trial(data: tuple[Images, Images], head: str, seed: int, recipe: Recipe) -> dict:
    """Train a network, test it, train the candidates further, and return what they reach."""
    began = time.monotonic()
    (x, y), fresh = data
    torch.manual_seed(seed)
    order = torch.randperm(len(x))[: recipe.training + recipe.unseen]
    training, unseen = ((x[part], y[part]) for part in order.tensor_split([recipe.training]))
    model = fit(build_network(head, x.shape[-1]), training, recipe.steps, recipe.rate, seed)
    test = ws.sharing_test(
        model, TensorDataset(*unseen), cross_entropy, epochs=recipe.epochs, seed=seed, alternatives=False
    )
    best = max(test.layers, key=lambda name: test.layers[name].gain or 0)
    plan = test.plan or {best: test.layers[best].tried}
    reached: dict[str, dict] = {}
    for name, images in {"training": training, "all": (x[order], y[order])}.items():
        reached[name] = {"before": measure(model, fresh)}
        for kind, candidate in build_candidates(model, test, plan).items():
            fit(candidate, images, recipe.further, recipe.further_rate, 1000 + seed)
            reached[name][kind] = measure(candidate, fresh)
    return {
        "head": head,
        "seed": seed,
        "tested": {
            name: {"verdict": layer.verdict, "gain": layer.gain, "interval": layer.interval}
            for name, layer in test.layers.items()
        },
        "suggested": bool(test.plan),
        "relaxed": {name: str(sharing) for name, sharing in plan.items()},
        "reached": reached,
        "seconds": time.monotonic() - began,
    }


def _run(folder: Path, head: str, seed: int, recipe: Recipe) -> dict:
    return run_trial(load_images(folder), head, seed, recipe)


def compare(trials: Sequence[dict], images: str, control: str) -> dict[str, list[float]]:
    """Return the gain in percent of the loss, and the reduction of the error rate in points, by trial."""
    pairs = [(trial["reached"][images][control], trial["reached"][images]["relax"]) for trial in trials]
    return {
        "gain": [100 * (other["loss"] - relaxed["loss"]) / other["loss"] for other, relaxed in pairs],
        "error": [100 * (other["error"] - relaxed["error"]) for other, relaxed in pairs],
    }


def write_report(results: dict) -> str:
    """Return the results as Markdown."""
    recipe = Recipe(**results["recipe"])
    parts = [f"# Relaxing as the sharing test suggests, on MNIST\n\n{_describe(recipe)}\n"]
    for head, description in HEADS.items():
        trials = [trial for trial in results["trials"] if trial["head"] == head]
        parts.append(f"## Network with {description}\n")
        parts.append(_tabulate_tests(trials))
        for is_suggested in (True, False):
            chosen = [trial for trial in trials if trial["suggested"] == is_suggested]
            if chosen:
                what = (
                    "Relaxed as suggested" if is_suggested else "Nothing suggested, best layer relaxed anyway"
                )
                parts.append(f"{what}: {len(chosen)} of {len(trials)} seeds.\n")
                for images in chosen[0]["reached"]:
                    parts.append(f"Trained further on {IMAGES[images]}:\n")
                    parts += [_tabulate_reached(chosen, images), _tabulate_gains(chosen, images)]
    return "\n".join(parts)


def _describe(recipe: Recipe) -> str:
    return f"""\
For each seed, a network with three 3 x 3 convolutions is trained on {recipe.training:,} images
({recipe.steps:,} steps of {BATCH_SIZE} images). The sharing test runs on {recipe.unseen:,} other images of
the training set, without alternatives to `LowRank(2)`. Then each candidate is trained for {recipe.further:,}
more steps, from the same weights and on the same images in the same order. The controls have about as many
additional weights in the same layers. Losses and errors are those on the test images, which are used for
nothing else. Intervals are 95% intervals of the mean over seeds by Student's t, of differences paired
by seed.

Command: `python benchmarks/sharing_test_mnist.py --data FOLDER`."""


def _tabulate_tests(trials: Sequence[dict]) -> str:
    """Return the verdicts and gains of the sharing test, by seed."""
    heads = [f"layer {name}: verdict, gain (%)" for name in trials[0]["tested"]]
    rows = []
    for trial in trials:
        cells = [
            f"{one['verdict']}, {100 * one['gain']:.1f} ({100 * one['interval'][0]:.1f} to"
            f" {100 * one['interval'][1]:.1f})"
            for one in trial["tested"].values()
        ]
        relaxed = ", ".join(f"{name}: {sharing}" for name, sharing in trial["relaxed"].items())
        rows.append([str(trial["seed"]), *cells, relaxed if trial["suggested"] else f"({relaxed})"])
    return _tabulate(["seed", *heads, "relaxed"], rows)


def _tabulate_reached(trials: Sequence[dict], images: str) -> str:
    """Return the mean losses, error rates and numbers of parameters of all candidates."""
    names = {"before": "before further training", "relax": "relaxed", **CONTROLS}
    rows = []
    for name, label in names.items():
        ones = [trial["reached"][images][name] for trial in trials]
        loss, error, parameters = (fmean(one[key] for one in ones) for key in ("loss", "error", "parameters"))
        rows.append([label, f"{parameters:,.0f}", f"{loss:.4f}", f"{100 * error:.2f}"])
    return _tabulate(["network (mean over seeds)", "parameters", "test loss", "test error (%)"], rows)


def _tabulate_gains(trials: Sequence[dict], images: str) -> str:
    """Return the differences between relaxing and each control."""
    rows = []
    for control, label in CONTROLS.items():
        for key, unit in {"gain": "lower loss (% of it)", "error": "lower error (points)"}.items():
            values = compare(trials, images, control)[key]
            interval = compute_interval(values)
            text = "none" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"
            each = ", ".join(f"{value:+.2f}" for value in values)
            rows.append([f"{label}: {unit}", f"{fmean(values):+.2f}", text, each])
    return _tabulate(["relaxed, compared with", "mean", "95% interval", "by seed"], rows)


def _tabulate(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder with mnist.npz.")
    parser.add_argument("--seeds", type=int, default=5, help="Number of seeds.")
    parser.add_argument("--workers", type=int, default=2, help="Number of processes, with one thread each.")
    parser.add_argument("--quick", action="store_true", help="Use few images, to check that it runs.")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "sharing_test_mnist.json", help="Results; .md beside."
    )
    arguments = parser.parse_args()
    recipe = QUICK if arguments.quick else Recipe()
    tasks = [(arguments.data, head, seed, recipe) for seed in range(arguments.seeds) for head in HEADS]
    results = {"torch": torch.__version__, "recipe": asdict(recipe), "trials": []}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context, torch.set_num_threads, (1,)) as executor:
        for trial in executor.map(_run, *zip(*tasks)):
            results["trials"].append(trial)
            arguments.out.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{trial['head']}, seed {trial['seed']}: {trial['seconds']:.0f} s", flush=True)
    text = write_report(results)
    arguments.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
