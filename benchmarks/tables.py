"""Formats the results as Markdown."""

from collections.abc import Iterable

from shapes import Shape
from summary import COMPARED, OURS, SHARED, WHATS, find_losses

LAYER = "layer (N, C, size, O, k, stride, padding)"


def format_report(results: dict) -> str:
    """Return all results, for benchmarks/results/layers.md."""
    return "\n".join(
        [
            *_format_ratios(results),
            *_format_section(results, "local", "Unshared layers", OURS),
            *_format_section(results, "grouped", "Unshared layers with groups", OURS),
            *_format_section(results, "transposed", "Unshared transposed layers", OURS),
            *_format_section(results, "partial", "Partially shared layers", SHARED),
            *_format_section(results, "full", "Fully shared layers", SHARED),
            *_format_memory(results),
            *_format_overhead(results),
            *_format_skipped(results),
            *_format_machine(results),
        ]
    )


def format_speed_page(results: dict) -> str:
    """Return the tables of docs/speed.md: ratios, partial sharing, memory, overhead and losses."""
    return "\n".join(
        [
            *_format_ratios(results),
            *_format_section(results, "partial", "Partially shared layers", SHARED),
            *_format_memory(results),
            *_format_overhead(results),
            "",
            "### Where weightshare is slower or misses a target",
            "",
            *([f"- {line}" for line in find_losses(results)] or ["Nowhere in this run."]),
            *_format_machine(results),
        ]
    )


def _format_ratios(results: dict) -> list[str]:
    """Compare unshared layers with the roofline and with the fastest alternative."""
    names = ("{} (ms)", "{}: roofline share", "{}: fastest alternative (relative time)")
    columns = [name.format(what) for what in COMPARED for name in names]
    rows = [
        [_label(row), *(cell for compared in row["compared"].values() for cell in _format_ratio(compared))]
        for row in (*results["local"], *results["grouped"])
    ]
    lines = ["", "### Unshared layers: time, roofline share and fastest alternative", ""]
    lines += [*_format_table([LAYER, *columns], rows), "", "\\* included in the geometric means below.", ""]
    return [*lines, *_format_means(results["summary"])]


def _format_ratio(compared: dict) -> list[str]:
    ratio = "-" if compared["ratio"] is None else f"{compared['ratio']:.2f} x ({compared['fastest']})"
    return [f"{compared['median_ms']:.3g}", f"{compared['share']:.2f}", ratio]


def _format_means(summary: dict) -> list[str]:
    head = [
        "geometric means",
        "shapes",
        "roofline share",
        "lowest roofline share",
        "speedup, batch >= 16",
        "speedup, batch 1",
    ]
    return _format_table(
        head, [[name, *map(_format_number, means.values())] for name, means in summary.items()]
    )


def _format_section(results: dict, section: str, title: str, against: str) -> list[str]:
    """Return the times of all sides, in milliseconds and relative to one side."""
    rows = results[section]
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for what in WHATS for name in row[what]["sides"]))
    cells = [
        [
            _label(row) if what == "forward" else "",
            what,
            *(_format_time(row[what]["sides"], n, against) for n in names),
        ]
        for row in rows
        for what in WHATS
    ]
    title = f"### {title}: time in ms (relative to {against})"
    return ["", title, "", *_format_table([LAYER, "", *names], cells)]


def _format_time(sides: dict, name: str, against: str) -> str:
    if name not in sides:
        return "-"
    milliseconds = sides[name]["median_ms"]
    base = f" ({milliseconds / sides[against]['median_ms']:.2f})" if against in sides else ""
    return f"{milliseconds:.3g}{base}"


def _format_memory(results: dict) -> list[str]:
    """Return the peak memory beyond operands and results."""
    rows = [
        row for section in ("local", "grouped", "transposed") for row in results[section] if row["extra_mb"]
    ]
    names = list(dict.fromkeys(name for row in rows for name in row["extra_mb"]))
    if not rows:
        return []
    cells = [
        [_label(row), *_format_operands(row), *(_format_extra(row["extra_mb"].get(name)) for name in names)]
        for row in rows
    ]
    title = "### Peak additional memory in a new process: forward / training, in MB"
    return ["", title, "", *_format_table([LAYER, "input", "output", "weights", *names], cells)]


def _format_operands(row: dict) -> list[str]:
    return [f"{row[key]:.1f}" for key in ("input_mb", "output_mb", "weights_mb")]


def _format_extra(extra: dict | None) -> str:
    if extra is None:
        return "-"
    return " / ".join(f"{extra[what]:.1f}" if what in extra else "-" for what in ("forward", "training"))


def _format_overhead(results: dict) -> list[str]:
    overhead = results["overhead"]
    if overhead is None:
        return []
    rows = [
        [
            row["sharing"],
            f"{row['layer_us']:.0f}",
            f"{row['backend_us']:.0f}",
            f"{row['layer_us'] - row['backend_us']:.0f}",
        ]
        for row in overhead["calls"]
    ]
    seconds = overhead["imports"]
    text = (
        f"`import weightshare` takes {seconds['weightshare']:.3f} s after `import torch` "
        f"({seconds['torch']:.2f} s), and {seconds['layers']:.3f} s with the convolutions loaded."
    )
    head = ["sharing of a tiny layer", "call (µs)", "backend (µs)", "overhead (µs)"]
    return ["", "### Overhead of a call", "", *_format_table(head, rows), "", text]


def _format_skipped(results: dict) -> list[str]:
    reasons = [
        f"- {Shape(**row['shape'])}: " + "; ".join(f"{name}: {why}" for name, why in row["left_out"].items())
        for section in ("local", "grouped", "transposed", "partial", "full")
        for row in results[section]
        if row["left_out"]
    ]
    return ["", "### Skipped alternatives", "", *reasons] if reasons else []


def _format_machine(results: dict) -> list[str]:
    peak, calm = results["roofline"], results["calm"]
    values = {**results["machine"], **results["versions"]}
    text = ", ".join(f"{key} {value}" for key, value in values.items())
    return [
        "",
        f"Best of the run: matrix product {peak['gflops']:.0f} GFLOP/s, read {peak['gb_per_s']:.1f} GB/s.",
        f"Disturbed rounds: {calm['dropped']} repeated, {calm['kept']} kept.",
        "",
        f"Machine: {text}. Command: `{results['command']}`.",
    ]


def _label(row: dict) -> str:
    marks = ("\\*" if row["shape"]["scored"] else "") + (" (disturbed)" if row["disturbed"] else "")
    return f"{Shape(**row['shape'])}{marks}"


def _format_number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _format_table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
