"""Count the models of timm, torchvision and transformers, and compare with published counts:

    python benchmarks/published.py [--library NAME] [--only TEXT] [--out FOLDER]

All models are built on the meta device without weights. Three counts of each model must be equal: the unique
count of its summary, the sum of its distinct Parameters, and the sum of all derivations. Then it is compared
to the counts that its library publishes. If one differs, the model is built as it is for these weights, and
the count of that model must be equal; else `reconcile` must find an explanation.

In models of timm that pad in their forward pass, the unshared elements must be equal to those computed from
the outputs of all convolutions.

The script writes published.json and published.md, and exits with 1 if anything differs without a reason.
With --only, it prints the results instead.
"""

import argparse
import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

import weightshare as ws
from libraries import LIBRARIES, Case, Published

#: Convolutions of timm that pad in their forward pass.
PADDING = ("Conv2dSame", "StdConv2dSame", "ScaledStdConv2dSame")


def count_library(library: str, only: str) -> dict:
    """Count the models of a library whose name contains a text."""
    rows, not_built, not_counted = [], [], []
    for case in LIBRARIES[library]():
        if only not in case.name:
            continue
        failed = not_built
        try:
            model = case.build()
            failed = not_counted
            rows.append(count_case(case, model))
        except Exception as error:  # a model can raise any exception
            failed.append({"model": case.name, "error": describe(error)})
    return {
        "version": importlib.metadata.version(library),
        "models": len(rows) + len(not_counted),
        "sums differ": [row for row in rows if row["differ"]],
        "published": sum(len(row["published"]) for row in rows),
        "agree": sum(p["agrees"] for row in rows for p in row["published"]),
        "published differ": [
            {"model": row["model"], "counted": row["unique"], **p}
            for row in rows
            for p in row["published"]
            if not p["agrees"]
        ],
        "padding": sum("unshared" in row for row in rows),
        "unshared differ": [row for row in rows if not row.get("unshared", {"agrees": True})["agrees"]],
        "not counted": not_counted,
        "not built": not_built,
    }


def count_case(case: Case, model: nn.Module) -> dict:
    """Compare all counts of one model."""
    answer = ws.summary(model)
    counts = {
        "unique": answer.totals.unique,
        "Parameters": sum({id(p): p.numel() for p in model.parameters()}.values()),
        "derivations": sum(eval(row.derivation) for row in answer.rows),
    }
    row = {
        "model": case.name,
        **counts,
        "differ": len(set(counts.values())) > 1,
        "published": [compare(answer, published) for published in case.publish(model)],
    }
    if case.shape and any(type(module).__name__ in PADDING for module in model.modules()):
        row["unshared"] = compare_unshared(model, case.shape(model))
    return row


def compare(answer: ws.Summary, published: Published) -> dict:
    """Compare a published count with the unique count, and find the reason if they differ."""
    agrees = published.number == answer.totals.unique
    reason = "" if agrees else explain(answer, published)
    return {"weights": published.weights, "number": published.number, "agrees": agrees, "reason": reason}


def explain(answer: ws.Summary, published: Published) -> str:
    """Return why a published count differs, or "" if no reason is found."""
    if published.build is not None:
        equal = ws.summary(published.build()).totals.unique == published.number
        return published.reason if equal else ""
    text = str(answer.reconcile(published.number))
    return "" if "no explanation found" in text else text


def compare_unshared(model: nn.Module, shape: tuple[int, ...]) -> dict:
    """Compare the unshared elements with those of `count_unshared`."""
    images = torch.zeros(1, *shape, device="meta")
    counted = ws.summary(model, images).totals.unshared
    expected = count_unshared(model.eval(), images)
    return {"counted": counted, "expected": expected, "agrees": counted == expected}


def count_unshared(model: nn.Module, images: Tensor) -> int:
    """Return the elements if all convolutions were unshared, from their outputs."""
    unshared = sum(p.numel() for p in model.parameters())

    def add(module: nn.Module, _: tuple, output: Tensor) -> None:
        nonlocal unshared
        numel = sum(p.numel() for p in (module.weight, module.bias) if p is not None)
        unshared += (output[0, 0].numel() - 1) * numel

    handles = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return unshared


def describe(error: Exception) -> str:
    """Return the type and the first line of an error."""
    line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {line[:200]}"


def is_complete(found: dict) -> bool:
    """Return whether all counts of a library agree or have a reason."""
    return (
        not found["sums differ"]
        and not found["not counted"]
        and not found["unshared differ"]
        and all(p["reason"] for p in found["published differ"])
    )


def format_results(results: dict) -> str:
    """Return the results as Markdown, for benchmarks/results/published.md."""
    head = [
        "library",
        "models",
        "sums agree",
        "published counts",
        "agree",
        "differ, with a reason",
        "no reason",
    ]
    rows = [
        [
            f"{library} {found['version']}",
            found["models"],
            found["models"] - len(found["sums differ"]) - len(found["not counted"]),
            found["published"],
            found["agree"],
            sum(bool(p["reason"]) for p in found["published differ"]),
            sum(not p["reason"] for p in found["published differ"]),
        ]
        for library, found in results["libraries"].items()
    ]
    lines = [
        f"Counts of models on the meta device, with torch {results['torch']}.",
        "Command: `python benchmarks/published.py`.",
        "",
        *format_table(head, rows),
        "",
        "*Sums agree*: the unique count is equal to the sum of the distinct Parameters and to the",
        "sum of all derivations. Published counts are `num_params` of the weights in torchvision, and",
        "`num_parameters()` in transformers. The package timm contains none.",
    ]
    for library, found in results["libraries"].items():
        lines += format_library(library, found)
    return "\n".join(lines) + "\n"


def format_library(library: str, found: dict) -> list[str]:
    """Return what differs in one library."""
    lines = []
    if found["published differ"]:
        rows = [
            [
                f"{p['model']}, {p['weights']}",
                f"{p['number']:,}",
                f"{p['counted']:,}",
                p["reason"] or "not known",
            ]
            for p in found["published differ"]
        ]
        lines += ["", f"## Published counts of {library} that differ", ""]
        lines += format_table(["model, weights", "published", "counted", "reason"], rows)
    if found["sums differ"]:
        rows = [
            [row[key] for key in ("model", "unique", "Parameters", "derivations")]
            for row in found["sums differ"]
        ]
        lines += ["", f"## Sums of {library} that differ", ""]
        lines += format_table(["model", "unique", "Parameters", "derivations"], rows)
    if found["padding"]:
        agree = found["padding"] - len(found["unshared differ"])
        lines += ["", f"## Models of {library} that pad in their forward pass", ""]
        lines += [
            f"In {agree} of {found['padding']} models, the unshared elements are equal to those computed",
            "from the outputs of all convolutions.",
        ]
        lines += [f"- {row['model']}: {row['unshared']}" for row in found["unshared differ"]]
    for key, title in (("not counted", "fail"), ("not built", "cannot be built without arguments")):
        if found[key]:
            rows = [[row["model"], row["error"].replace("|", "\\|")] for row in found[key]]
            lines += ["", f"## Models of {library} that {title}", "", *format_table(["model", "error"], rows)]
    return lines


def format_table(head: list[str], rows: list[list]) -> list[str]:
    """Return the lines of a table."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in (head, *rows)]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", choices=LIBRARIES, action="append", help="count only this library")
    parser.add_argument("--only", default="", help="count only models whose name contains this text")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    file = arguments.out / "published.json"
    results = json.loads(file.read_text()) if file.exists() and not arguments.only else {"libraries": {}}
    results["torch"] = torch.__version__
    for library in arguments.library or LIBRARIES:
        results["libraries"][library] = count_library(library, arguments.only)
        if not arguments.only:
            file.write_text(json.dumps(results, indent=1) + "\n")
            (arguments.out / "published.md").write_text(format_results(results))
    print(format_results(results))
    return 0 if all(map(is_complete, results["libraries"].values())) else 1


if __name__ == "__main__":
    sys.exit(main())
