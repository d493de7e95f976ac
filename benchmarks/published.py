"""Every model of timm and torchvision, counted: python benchmarks/published.py [--only TEXT]

Built on the meta device. Says where the ledger's unique count is not that of the distinct Parameters or
not what the derivations give, which ends the run with 1; lists every tie, and the models that no factory
without arguments builds.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator

from torch.nn import Module

import weightshare as ws
from weightshare.models.find import find_model

#: Libraries, and the module of each that lists its models.
LIBRARIES = {"timm": "timm", "torchvision": "torchvision.models"}


def names(only: str) -> Iterator[str]:
    """As `find_model` takes them, of the libraries that are installed."""
    for library, listing in LIBRARIES.items():
        try:
            known = importlib.import_module(listing).list_models()
        except ImportError:
            print(f"{library}: not installed")
            continue
        yield from (f"{library}:{name}" for name in known if only in name)


def differences(model: Module) -> dict[str, int]:
    """The counts that must be one: empty where they are."""
    answer = ws.summary(model)
    counts = {
        "unique": answer.totals.unique,
        "Parameters": sum({id(p): p.numel() for p in model.parameters()}.values()),
        "derivations": sum(eval(row.derivation) for row in answer.rows),
    }
    return counts if len(set(counts.values())) > 1 else {}


def main(only: str) -> int:
    """The number of models whose counts differ."""
    wrong = built = 0
    for name in names(only):
        try:
            model = find_model(name, device="meta")
        except ws.errors.WeightshareError as error:
            print(f"{name}: {error}")
            continue
        built += 1
        if found := differences(model):
            wrong += 1
            print(f"{name}: {found}")
        for tie in ws.find_tied_weights(model):
            print(f"{name}: {tie.alias} = {tie.source} ({tie.kind.replace('_', ' ')})")
    print(f"{built} models built, {wrong} counted differently")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="names with this text")
    sys.exit(1 if main(parser.parse_args().only) else 0)
