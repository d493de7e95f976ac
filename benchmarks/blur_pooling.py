"""What blur pooling does to consistency: python benchmarks/blur_pooling.py digits|npz:FILE [--out FILE.json]

One small network is trained twice from the same weights on the same random crops in the same order: with max
pooling by 2, and with the maximum at stride 1 and then `BlurPool2d` (Zhang 2019). Both are measured on the
test images by all three protocols of `weightshare.symmetry._consistency`.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from measure import machine
from weightshare.nn import BlurPool2d
from weightshare.study.data import Images, load_images
from weightshare.study.summary import interval
from weightshare.symmetry._consistency import consistency
from weightshare.symmetry.protocols import taken

POOLS = {
    "max": lambda: nn.MaxPool2d(2),
    "blur": lambda: nn.Sequential(nn.MaxPool2d(2, stride=1), BlurPool2d()),
}
WIDTHS = (16, 32, 64)
BATCH, RATE = 100, 4e-3
MEASURES = ("consistency", "chance", "logit_error", "accuracy")


def network(channels: int, side: int, classes: int, pool: str) -> nn.Sequential:
    """Three convolutions that pad with zeros, a pool after each but the last, the mean over all positions."""
    layers: list[nn.Module] = []
    for width in WIDTHS:
        if layers and side >= 4:  # a map of digits is too small for a second pool
            layers.append(POOLS[pool]())
            side //= 2
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def train(model: nn.Module, data: Images, crop: tuple[int, int], epochs: int, seed: int) -> None:
    """Adam, its step size falling to zero along a cosine; a new random crop of every image in every epoch."""
    images, labels = data.train
    generator = torch.Generator().manual_seed(seed)
    room = [n - side + 1 for n, side in zip(data.size, crop)]
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(images) // BATCH))
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        starts = torch.stack([torch.randint(n, (len(images),), generator=generator) for n in room], 1)
        for batch in order.split(BATCH)[: len(images) // BATCH]:
            loss = nn.functional.cross_entropy(
                model(taken(images[batch], starts[batch], crop)), labels[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def measured(model: nn.Module, data: Images, crop: tuple[int, int]) -> dict[str, dict[str, float]]:
    """Every protocol's figures; rolled pictures are the middle of the test images, of the size trained on."""
    images, labels = data.test
    top, left = ((n - side) // 2 for n, side in zip(data.size, crop))
    middle = images[:, :, top : top + crop[0], left : left + crop[1]]
    calls = {
        "random_crops": (images, {"crop": crop}),
        "circular_roll": (middle, {"max_shift": min(3, *(side - 1 for side in crop))}),
        "small_rolls": (middle, {"max_shift": min(7, *(side - 1 for side in crop))}),
    }
    results = {
        protocol: consistency(model, pictures, labels, protocol=protocol, **arguments)
        for protocol, (pictures, arguments) in calls.items()
    }
    return {protocol: {name: getattr(r, name) for name in MEASURES} for protocol, r in results.items()}


def trial(data: Images, crop: tuple[int, int], pool: str, epochs: int, seed: int) -> dict:
    """One network, trained and measured."""
    torch.manual_seed(seed)
    model = network(data.channels, min(crop), len(data.class_names), pool)
    begin = time.perf_counter()
    train(model, data, crop, epochs, seed)
    seconds = time.perf_counter() - begin
    return {
        "pool": pool,
        "seed": seed,
        "seconds": round(seconds, 1),
        "protocols": measured(model, data, crop),
    }


def summary(trials: list[dict]) -> dict:
    """Means and 95 % Student's t intervals of every protocol's figures: of both pools, and of blur - max."""
    of_pool = {pool: [t["protocols"] for t in trials if t["pool"] == pool] for pool in POOLS}
    result: dict = {}
    for protocol in of_pool["max"][0]:
        result[protocol] = {}
        for name in MEASURES:
            values = {pool: [p[protocol][name] for p in of_pool[pool]] for pool in POOLS}
            values["difference"] = [b - a for a, b in zip(values["max"], values["blur"])]
            result[protocol][name] = {k: {"mean": fmean(v), "ci": interval(v)} for k, v in values.items()}
    return result


def table(results: dict) -> str:
    """The summary as Markdown."""
    head = "| protocol | figure | max pooling | blur pooling | difference, seed by seed |"
    lines = [head, "|---|---|---|---|---|"]
    for protocol, figures in results["summary"].items():
        for name, values in figures.items():
            scale, unit = (1, "") if name == "logit_error" else (100, " %")
            cells = [_cell(values[k], scale, unit) for k in ("max", "blur")]
            difference = _cell(values["difference"], scale, unit and " points", sign="+")
            lines.append(f"| {protocol} | {name.replace('_', ' ')} | {' | '.join(cells)} | {difference} |")
    s = results["settings"]
    parts = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"{s['data']}: {s['train_images']:,} training and {s['test_images']:,} test images, crops of "
            f"{s['crop'][0]} x {s['crop'][1]} of {s['size'][0]} x {s['size'][1]}, {s['epochs']} epochs, "
            f"{s['seeds']} seeds; mean ± half of the 95 % interval.",
            "",
            f"Machine: {parts}. Command: `{s['command']}`.",
        ]
    )


def _cell(value: dict, scale: float, unit: str, sign: str = "") -> str:
    digits = 2 if scale == 100 else 3
    half = "" if value["ci"] is None else f" ± {scale * (value['ci'][1] - value['mean']):.{digits}f}"
    return f"{scale * value['mean']:{sign}.{digits}f}{half}{unit}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="digits or npz:FILE")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load_images(arguments.data)
    crop = (data.size[0] * 7 // 8, data.size[1] * 7 // 8)
    trials = []
    for seed in range(arguments.seeds):
        for pool in POOLS:
            trials.append(trial(data, crop, pool, arguments.epochs, seed))
            shown = {p: {k: round(v, 4) for k, v in r.items()} for p, r in trials[-1]["protocols"].items()}
            print(seed, pool, trials[-1]["seconds"], "s", shown["random_crops"], flush=True)
    name = Path(arguments.data.partition(":")[2]).name  # of a file without its folders
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
        "machine": {**machine(), **versions},
        "settings": settings,
        "summary": summary(trials),
        "trials": trials,
    }
    print(table(results))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
