"""The results as Markdown."""

from collections.abc import Iterable

from shapes import Shape
from summary import SHARED, WHATS, losses

LAYER = "layer (N, C, size, O, k, stride, padding)"


def report(results: dict) -> str:
    """Everything, for benchmarks/results/layers.md."""
    return "\n".join(
        [
            *_judgement(results),
            *_section(results, "local", "Nothing shared: milliseconds", "ours"),
            *_section(results, "grouped", "Nothing shared, in groups: milliseconds", "ours"),
            *_section(results, "transposed", "Transposed, nothing shared: milliseconds", "ours"),
            *_section(results, "partial", "Shared in part: milliseconds", SHARED),
            *_section(results, "full", "All shared: milliseconds", SHARED),
            *_memory(results),
            *_overhead(results),
            *_left_out(results),
            *_machine(results),
        ]
    )


def speed(results: dict) -> str:
    """What docs/speed.md shows: shares and ratios, partial sharing, memory, and where we lose."""
    return "\n".join(
        [
            *_judgement(results),
            *_section(results, "partial", "Shared in part: milliseconds", SHARED),
            *_memory(results),
            *_overhead(results),
            "",
            "### Where we lose",
            "",
            *([f"- {line}" for line in losses(results)] or ["Nowhere in this run."]),
            *_machine(results),
        ]
    )


def _judgement(results: dict) -> list[str]:
    """Ours against the roofline and against the fastest alternative."""
    columns = [f"{what}: {column}" for what in WHATS for column in ("ms", "share", "fastest alternative")]
    rows = [
        [_label(row), *(cell for what in WHATS for cell in _judged(row[what]))]
        for row in (*results["local"], *results["grouped"])
    ]
    lines = ["", "### Nothing shared: ours, its share of the roofline, the fastest alternative", ""]
    lines += [*_table([LAYER, *columns], rows), "", "\\* one of the shapes of the means below.", ""]
    return [*lines, *_means(results["summary"])]


def _judged(measured: dict) -> list[str]:
    ratio = "-" if measured["ratio"] is None else f"{measured['ratio']:.2f} x ({measured['fastest']})"
    return [f"{measured['sides']['ours']['median_ms']:.3g}", f"{measured['share']:.2f}", ratio]


def _means(summary: dict) -> list[str]:
    head = [
        "geometric means",
        "shapes",
        "share",
        "least share",
        "times faster, batch >= 16",
        "times faster, batch 1",
    ]
    return _table(head, [[what, *map(_number, summary[what].values())] for what in WHATS])


def _section(results: dict, section: str, title: str, against: str) -> list[str]:
    """Milliseconds of every side, and as a multiple of one side's."""
    rows = results[section]
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for what in WHATS for name in row[what]["sides"]))
    cells = [
        [
            _label(row) if what == "forward" else "",
            what,
            *(_times(row[what]["sides"], n, against) for n in names),
        ]
        for row in rows
        for what in WHATS
    ]
    return ["", f"### {title} (multiple of {against})", "", *_table([LAYER, "", *names], cells)]


def _times(sides: dict, name: str, against: str) -> str:
    if name not in sides:
        return "-"
    milliseconds = sides[name]["median_ms"]
    base = f" ({milliseconds / sides[against]['median_ms']:.2f})" if against in sides else ""
    return f"{milliseconds:.3g}{base}"


def _memory(results: dict) -> list[str]:
    """Megabytes beyond operands and results, forward / training."""
    rows = [
        row for section in ("local", "grouped", "transposed") for row in results[section] if row["extra_mb"]
    ]
    names = list(dict.fromkeys(name for row in rows for name in row["extra_mb"]))
    if not rows:
        return []
    cells = [
        [_label(row), *_operands(row), *(_extra(row["extra_mb"].get(name)) for name in names)] for row in rows
    ]
    title = "### Peak extra memory in a fresh process: MB forward / training"
    return ["", title, "", *_table([LAYER, "input", "output", "weights", *names], cells)]


def _operands(row: dict) -> list[str]:
    return [f"{row[key]:.1f}" for key in ("input_mb", "output_mb", "weights_mb")]


def _extra(extra: dict | None) -> str:
    if extra is None:
        return "-"
    return " / ".join(f"{extra[what]:.1f}" if what in extra else "-" for what in ("forward", "training"))


def _overhead(results: dict) -> list[str]:
    overhead = results["overhead"]
    if overhead is None:
        return []
    rows = [
        [
            row["sharing"],
            f"{row['layer_us']:.0f}",
            f"{row['kernel_us']:.0f}",
            f"{row['layer_us'] - row['kernel_us']:.0f}",
        ]
        for row in overhead["calls"]
    ]
    seconds = overhead["imports"]
    text = (
        f"`import weightshare` takes {seconds['weightshare']:.3f} s after torch's {seconds['torch']:.2f} s, "
        f"with the layers loaded {seconds['layers']:.3f} s."
    )
    head = ["tiny layer", "call, microseconds", "its kernel alone", "overhead"]
    return ["", "### Overhead of a call", "", *_table(head, rows), "", text]


def _left_out(results: dict) -> list[str]:
    reasons = [
        f"- {Shape(**row['shape'])}: " + "; ".join(f"{name}: {why}" for name, why in row["left_out"].items())
        for section in ("local", "grouped", "transposed", "partial", "full")
        for row in results[section]
        if row["left_out"]
    ]
    return ["", "### Left out", "", *reasons] if reasons else []


def _machine(results: dict) -> list[str]:
    peak, calm = results["roofline"], results["calm"]
    values = {**results["machine"], **results["versions"]}
    text = ", ".join(f"{key} {value}" for key, value in values.items())
    return [
        "",
        f"Peak product {peak['gflops']:.0f} GFLOP/s, read {peak['gb_per_s']:.1f} GB/s, the best of the run.",
        f"Disturbed rounds: {calm['dropped']} measured again, {calm['kept']} kept.",
        "",
        f"Machine: {text}. Command: `{results['command']}`.",
    ]


def _label(row: dict) -> str:
    marks = ("\\*" if row["shape"]["scored"] else "") + (" (disturbed)" if row["disturbed"] else "")
    return f"{Shape(**row['shape'])}{marks}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
