"""Count every model of timm and torchvision: python benchmarks/published.py [--only TEXT]

The models are built on the meta device. The script reports every model whose unique count differs from that
of its distinct Parameters or from its derivations, and then exits with 1. It also lists all ties, and the
models that cannot be built without arguments.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator

from torch.nn import Module

import weightshare as ws
from weightshare.models.find import find_model

#: Module that lists the models of each library.
LIBRARIES = {"timm": "timm", "torchvision": "torchvision.models"}


def iter_names(only: str) -> Iterator[str]:
    """Yield the names, as for `find_model`, of all models in the installed libraries."""
    for library, listing in LIBRARIES.items():
        try:
            known = importlib.import_module(listing).list_models()
        except ImportError:
            print(f"{library}: not installed")
            continue
        yield from (f"{library}:{name}" for name in known if only in name)


def find_differences(model: Module) -> dict[str, int]:
    """Return the counts that should be equal, or nothing if they are."""
    answer = ws.summary(model)
    counts = {
        "unique": answer.totals.unique,
        "Parameters": sum({id(p): p.numel() for p in model.parameters()}.values()),
        "derivations": sum(eval(row.derivation) for row in answer.rows),
    }
    return counts if len(set(counts.values())) > 1 else {}


def main(only: str) -> int:
    """Count all models, and return the number of models whose counts differ."""
    wrong = built = 0
    for name in iter_names(only):
        try:
            model = find_model(name, device="meta")
        except ws.errors.WeightshareError as error:
            print(f"{name}: {error}")
            continue
        built += 1
        if found := find_differences(model):
            wrong += 1
            print(f"{name}: {found}")
        for tie in ws.find_tied_weights(model):
            print(f"{name}: {tie.alias} = {tie.source} ({tie.kind.replace('_', ' ')})")
    print(f"{built} models built, {wrong} counted differently")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="count only models whose name contains this text")
    sys.exit(1 if main(parser.parse_args().only) else 0)
