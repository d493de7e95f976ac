"""Command line of the search for a verdict; see the docstring of the package."""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor

from .cases import FRESH, make_images
from .confirm import confirm_cases
from .experiment import run_cases
from .maps import run_maps
from .report import write_report

RESULTS = Path(__file__).parent.parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="Folder with mnist.npz and cifar10_15k.npz.")
    parser.add_argument("--cases", type=int, default=4, help="Number of cases.")
    parser.add_argument("--together", type=int, default=100, help="Number of cases that are trained at once.")
    parser.add_argument("--share", action="store_true", help="Use only teachers that share.")
    parser.add_argument(
        "--null", action="store_true", help="Draw labels from the predictions of the students."
    )
    parser.add_argument("--quick", action="store_true", help="Fit controls only where relaxing is promising.")
    parser.add_argument(
        "--package", action="store_true", help="Test each student with the package, one after the other."
    )
    parser.add_argument(
        "--fresh", type=int, help="Number of the first cases that have fresh images; with --package."
    )
    parser.add_argument("--maps", action="store_true", help="Measure the maps instead.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the first cases.")
    parser.add_argument("--device", default="cpu", help="Device of torch.")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="Start no more cases after this time."
    )
    parser.add_argument("--run", default="run", help="Name of the run in the results.")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "sharing_test.json", help="Results; .md beside it."
    )
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {"runs": {}}
    if arguments.data is not None:
        images = make_images(arguments.data, 70000, 1, torch.device(arguments.device))
        if arguments.maps:
            results["maps"] = run_maps(images, arguments.seed)
        else:
            _run(arguments, images, results["runs"])
        arguments.out.write_text(json.dumps(results))
    text = write_report(results)
    arguments.out.with_suffix(".md").write_text(text)
    print(text)


def _run(arguments: argparse.Namespace, images: Tensor, runs: dict) -> None:
    """Add cases to the run until it has enough; a second call continues."""
    device = torch.cuda.get_device_name() if images.is_cuda else "CPU"
    about = {"device": device, "torch": torch.__version__, "seed": arguments.seed}
    records = runs.setdefault(arguments.run, about | {"records": []})["records"]
    options = {name: getattr(arguments, name) for name in ("share", "null", "quick")}
    began = time.monotonic()
    if arguments.package:
        most = arguments.cases if arguments.fresh is None else arguments.fresh
        while len(records) < arguments.cases and time.monotonic() - began < arguments.seconds:
            seed = arguments.seed + len(records)
            count = FRESH * (len(records) < most)
            records += confirm_cases(1, images, seed, arguments.share, count)
            arguments.out.write_text(json.dumps({"runs": runs}))
        return
    for start in range(len(records), arguments.cases, arguments.together):
        if time.monotonic() - began > arguments.seconds:
            break
        count = min(arguments.together, arguments.cases - start)
        records += run_cases(count, images, arguments.seed + start, **options)
        print(f"{len(records)} cases after {time.monotonic() - began:.0f} s", flush=True)


main()
