"""Measure the effect of blur pooling on consistency: python benchmarks/blur_pooling.py digits|npz:FILE

For each seed, a small network is trained twice, from the same initial weights and on the same random crops in
the same order: once with 2 x 2 max pooling, and once with max pooling at stride 1 followed by `BlurPool2d`
(Zhang 2019). Both are measured on the test images with all three protocols of
`weightshare.symmetry.consistency`.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from measure import describe_machine
from weightshare.nn import BlurPool2d
from weightshare.study.data import Examples
from weightshare.study.data.images import load_images
from weightshare.study.statistics.intervals import compute_interval
from weightshare.symmetry import consistency
from weightshare.symmetry.protocols import crop_circular

POOLS = {
    "max": lambda: nn.MaxPool2d(2),
    "blur": lambda: nn.Sequential(nn.MaxPool2d(2, stride=1), BlurPool2d()),
}
WIDTHS = (16, 32, 64)
BATCH_SIZE, LEARNING_RATE = 100, 4e-3
MEASURES = ("consistency", "chance", "logit_error", "accuracy")


def build_network(channels: int, side: int, classes: int, pool: str) -> nn.Sequential:
    """Build three zero-padded convolutions with pooling between them, global average pooling and a head."""
    layers: list[nn.Module] = []
    for width in WIDTHS:
        if layers and side >= 4:  # the images of digits are too small for a second pooling
            layers.append(POOLS[pool]())
            side //= 2
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def train(model: nn.Module, data: Examples, crop: tuple[int, int], epochs: int, seed: int) -> None:
    """Train with Adam, a cosine schedule of the learning rate, and new random crops in every epoch."""
    images, labels = data.train
    generator = torch.Generator().manual_seed(seed)
    n_starts = [n - side + 1 for n, side in zip(data.size, crop)]
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(images) // BATCH_SIZE))
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        starts = torch.stack([torch.randint(n, (len(images),), generator=generator) for n in n_starts], 1)
        for batch in order.split(BATCH_SIZE)[: len(images) // BATCH_SIZE]:
            loss = nn.functional.cross_entropy(
                model(crop_circular(images[batch], starts[batch], crop)), labels[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def measure(model: nn.Module, data: Examples, crop: tuple[int, int]) -> dict[str, dict[str, float]]:
    """Measure all protocols. The rolls shift the center of the test images, cropped to the training size."""
    images, labels = data.test
    top, left = ((n - side) // 2 for n, side in zip(data.size, crop))
    center = images[:, :, top : top + crop[0], left : left + crop[1]]
    calls = {
        "random_crops": (images, {"crop": crop}),
        "circular_roll": (center, {"max_shift": min(3, *(side - 1 for side in crop))}),
        "small_rolls": (center, {"max_shift": min(7, *(side - 1 for side in crop))}),
    }
    results = {
        protocol: consistency(model, views, labels, protocol=protocol, **arguments)
        for protocol, (views, arguments) in calls.items()
    }
    return {protocol: {name: getattr(r, name) for name in MEASURES} for protocol, r in results.items()}


def run_trial(data: Examples, crop: tuple[int, int], pool: str, epochs: int, seed: int) -> dict:
    """Train and measure one network."""
    torch.manual_seed(seed)
    model = build_network(data.channels, min(crop), len(data.class_names), pool)
    begin = time.perf_counter()
    train(model, data, crop, epochs, seed)
    seconds = time.perf_counter() - begin
    return {
        "pool": pool,
        "seed": seed,
        "seconds": round(seconds, 1),
        "protocols": measure(model, data, crop),
    }


def summarize(trials: list[dict]) -> dict:
    """Compute means and 95% Student's t intervals per protocol and measure: of max, blur, and blur - max."""
    protocols = {pool: [t["protocols"] for t in trials if t["pool"] == pool] for pool in POOLS}
    result: dict = {}
    for protocol in protocols["max"][0]:
        result[protocol] = {}
        for name in MEASURES:
            values = {pool: [p[protocol][name] for p in protocols[pool]] for pool in POOLS}
            values["difference"] = [b - a for a, b in zip(values["max"], values["blur"])]
            result[protocol][name] = {
                k: {"mean": fmean(v), "ci": compute_interval(v)} for k, v in values.items()
            }
    return result


def format_table(results: dict) -> str:
    """Return the summary as a Markdown table, with the settings and the machine below it."""
    head = "| protocol | measure | max pooling | blur pooling | paired difference |"
    lines = [head, "|---|---|---|---|---|"]
    for protocol, measures in results["summary"].items():
        for name, values in measures.items():
            scale, unit = (1, "") if name == "logit_error" else (100, "%")
            cells = [_format_cell(values[k], scale, unit) for k in ("max", "blur")]
            difference = _format_cell(values["difference"], scale, unit and " points", sign="+")
            lines.append(f"| {protocol} | {name.replace('_', ' ')} | {' | '.join(cells)} | {difference} |")
    s = results["settings"]
    parts = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"Data: {s['data']}, {s['train_images']:,} training and {s['test_images']:,} test images of "
            f"{s['size'][0]} x {s['size'][1]} pixels, cropped to {s['crop'][0]} x {s['crop'][1]}. Training: "
            f"{s['epochs']} epochs, {s['seeds']} seeds. Values: mean ± half-width of the 95% CI over seeds, "
            "with differences computed per seed.",
            "",
            f"Machine: {parts}. Command: `{s['command']}`.",
        ]
    )


def _format_cell(value: dict, scale: float, unit: str, sign: str = "") -> str:
    digits = 2 if scale == 100 else 3
    half = "" if value["ci"] is None else f" ± {scale * (value['ci'][1] - value['mean']):.{digits}f}"
    return f"{scale * value['mean']:{sign}.{digits}f}{half}{unit}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="Data set: digits or npz:FILE.")
    parser.add_argument("--seeds", type=int, default=5, help="Number of seeds.")
    parser.add_argument("--epochs", type=int, default=20, help="Epochs per training run.")
    parser.add_argument("--out", type=Path, help="JSON file to write the results to.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load_images(arguments.data)
    crop = (data.size[0] * 7 // 8, data.size[1] * 7 // 8)
    trials = []
    for seed in range(arguments.seeds):
        for pool in POOLS:
            trials.append(run_trial(data, crop, pool, arguments.epochs, seed))
            shown = {p: {k: round(v, 4) for k, v in r.items()} for p, r in trials[-1]["protocols"].items()}
            print(seed, pool, trials[-1]["seconds"], "s", shown["random_crops"], flush=True)
    name = Path(arguments.data.partition(":")[2]).name  # without its folders
    settings = {
        "data": f"npz:{name}" if name else arguments.data,
        "train_images": len(data.train[1]),
        "test_images": len(data.test[1]),
        "size": data.size,
        "crop": crop,
        "epochs": arguments.epochs,
        "seeds": arguments.seeds,
    }
    given = f"{settings['data']} --seeds {arguments.seeds} --epochs {arguments.epochs}"
    settings["command"] = f"python benchmarks/blur_pooling.py {given}"
    versions = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    results = {
        "machine": {**describe_machine(), **versions},
        "settings": settings,
        "summary": summarize(trials),
        "trials": trials,
    }
    print(format_table(results))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
