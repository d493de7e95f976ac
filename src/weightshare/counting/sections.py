"""The counts of a layer in words, section by section; `views` lays the sections out."""

from collections.abc import Sequence

from .._args import times
from ..views.numbers import format_count
from ..views.section import Section
from .closed_form import Factor, Scheme
from .counts import Counts
from .sizes import size_text

#: A power of two up to this one is also written out.
WRITTEN_OUT = 20
_SINGULAR = (
    *(("biases", "bias"), ("channels", "channel"), ("banks", "bank"), ("inputs", "input")),
    *(("outputs", "output"), ("weights", "weight"), ("corrections", "correction"), ("slices", "slice")),
    *(("kernels", "kernel"), ("pixels", "pixel"), ("features", "feature"), ("positions", "position")),
)


def sections(answer: Counts, verbose: bool = True) -> list[Section]:
    """Return the sections in reading order: counts, derivation and comparison of sharings, then the rest.

    Args:
        verbose: Whether to explain the differences between the sharings, too.
    """
    found = [_numbers(answer), _origin(answer)]
    if answer.input is not None:
        found.append(_degrees(answer))
    if verbose:
        if answer.input is not None:
            found.append(_difference(answer))
        found.append(_constant(answer))
        if answer.patterns is not None and answer.layer.ndim:
            found.append(_patterns(answer.patterns, answer.layer.in_channels))
    if answer.notes:
        found.append(Section("Notes", lines=answer.notes))
    return found


def title(answer: Counts) -> str:
    """The layer and its input in one line."""
    where = "" if answer.input is None else f" on an input of {times(answer.input)}"
    return f"{answer.layer}{where}"


def product(factors: Sequence[Factor]) -> str:
    """A product in words, as in "11 x 11 kernel x 3 input channels"."""
    kernel = [f.n for f in factors if f.label.startswith("kernel ")]
    others = [_counted(f.n, f.label) for f in factors if not f.label.startswith("kernel ")]
    shape = f"{kernel[0]}-tap kernel" if len(kernel) == 1 else f"{times(kernel)} kernel"
    return " x ".join([shape, *others] if kernel else others)


def formula(scheme: Scheme) -> str:
    """A scheme's parameters in one line of figures."""
    parts = []
    for term in scheme.terms:
        *first, last = term.factors
        figures = " x ".join(format_count(f.n) for f in first)
        if term.label == "biases":
            parts.append(_counted(term.n, "biases"))
        elif scheme.name == "dense" or last.label.startswith("positions"):
            parts.append(product(term.factors))
        else:
            parts.append(f"{figures} x {_counted(last.n, last.label)}")
    return " + ".join(parts)


def _counted(n: int, label: str) -> str:
    """A number and its noun.

    >>> _counted(1, "banks"), _counted(3025, "banks")
    ('1 bank', '3,025 banks')
    """
    if n == 1:
        for many, one in _SINGULAR:
            label = label.replace(many, one)
    return f"{n:,} {label}"


def _numbers(answer: Counts) -> Section:
    layer, size = answer.layer, answer.output
    side = "input neuron" if layer.transposed else "neuron"
    bias = " + 1" if layer.bias and not layer.transposed else ""
    also = ", and one bias" if bias else ""
    seen = product(dict(answer.terms)["weights_per_neuron"][0].factors)
    rows = [
        ("parameters", format_count(answer.parameters), f"{_sum_of(answer.own)} (sharing: {layer.sharing})"),
        (f"weights per {side}", f"{answer.weights_per_neuron:,}{bias}", f"{seen}{also}"),
    ]
    if size is not None:
        slices = f"{_counted(layer.out_channels, 'depth slices')} of {times(size[1:])}"
        volume = f"the output volume, {times((*size[1:], size[0]))}: {slices}"
        rows += [
            ("neurons", format_count(answer.neurons), volume if layer.ndim else "outputs"),
            (
                "connections",
                format_count(answer.connections),
                "(output, input) pairs; padding and biases left out",
            ),
            ("multiplications", format_count(answer.macs), "computed, padding included"),
        ]
    if answer.dead_taps:
        rows.append(
            ("dead taps", format_count(answer.dead_taps), "(bank, tap) pairs that only ever meet padding")
        )
    return Section("", "lrl", rows=tuple(rows))


def _sum_of(scheme: Scheme) -> str:
    sums: dict[str, int] = {}
    for term in scheme.terms:
        kind = term.label.partition("_")[0]  # the coefficients of all axes together
        sums[kind] = sums.get(kind, 0) + term.n
    return " + ".join(_counted(n, kind) for kind, n in sums.items())


def _origin(answer: Counts) -> Section:
    layer = answer.layer
    rows = [(term.label, format_count(term.n), product(term.factors)) for term in answer.own.terms]
    rows.append(("together", format_count(answer.parameters), ""))
    lines = ()
    if layer.bias and not layer.transposed:
        per_filter = f"{_counted(answer.weights_per_neuron, 'weights')} + 1 bias"
        lines = (f"The biases are the +1 of every filter: {per_filter}.",)
    return Section("Where the parameters come from", "lrl", rows=tuple(rows), lines=lines)


def _degrees(answer: Counts) -> Section:
    by_name = {scheme.name: scheme for scheme in (*answer.others, answer.own)}
    order = ["full", *(name for name in by_name if name not in ("full", "local", "dense")), "local", "dense"]
    rows = [(name, format_count(by_name[name].parameters), formula(by_name[name])) for name in order]
    line = (
        "dense has the same output volume: every output neuron sees every input. A Linear layer with "
        "another number of outputs computes another function, and a ratio of the two counts compares "
        "different layers."
    )
    if not answer.layer.ndim:
        line = (
            "A linear layer is one position that sees every input, with nothing to share: all are the same. "
            "A convolution on the same inputs has fewer weights, but another output: eight 3 x 3 filters on "
            "32 x 32 inputs have 72 weights and 8 x 30 x 30 outputs, Linear(1024, 64, bias=False) has 65,536 "
            f"and 64. The {65536 // 72}-fold saving often quoted compares layers with different outputs."
        )
    return Section(
        "The same layer at other degrees of sharing",
        "lrl",
        ("sharing", "parameters", "from"),
        tuple(rows),
        (line,),
    )


def _difference(answer: Counts) -> Section:
    layer, positions = answer.layer, answer.positions or 1
    side, kernels = "input channel" if layer.transposed else "depth slice", layer.near[1]
    grid = answer.input if layer.transposed else answer.output
    if positions == 1 or grid is None:
        lines = ("There is one position: full and local are the same layer.",)
        return Section("Why full and local do not differ", lines=lines)
    places = times(grid[1:]) + (f" = {positions:,}" if len(grid) > 2 else "")
    whose = f"each {side} has" if kernels > 1 else f"its {side} has"
    lines = [
        f"Both have {_counted(kernels, 'kernels')} at every position. "
        f"With full sharing {whose} one kernel, used at all its {places} positions: {kernels:,} in all. "
        f"Without sharing {whose} one at each of them: {kernels:,} x {positions:,} = "
        f"{kernels * positions:,} kernels, {positions:,} times as many weights."
    ]
    if answer.banks not in (1, positions):
        mixed = "" if layer.sharing.one_hot else ", mixed anew at every position"
        lines.append(
            f"{layer.sharing} has {answer.banks:,} banks{mixed}: {_counted(answer.kernels, 'kernels')}."
        )
    return Section(f"Why full and local differ by a factor of {positions:,}", lines=tuple(lines))


def _constant(answer: Counts) -> Section:
    full = next((s for s in (*answer.others, answer.own) if s.name == "full"), None)
    if not answer.layer.ndim:
        line = "The count is for this number of inputs: a linear layer has no image size to be free of."
        return Section("What changes with the input size", lines=(line,))
    count = "" if full is None else f", {full.parameters:,},"
    line = (
        f"The shared count{count} does not change with the image size, nor with stride, padding or dilation."
    )
    if (
        answer.layer.bias_sharing is not None
        and answer.layer.bias_sharing.banks((2,) * answer.layer.ndim) > 1
    ):
        line = "The shared weights do not change with the image size; biases that are not shared do."
    if not answer.rows:
        return Section("What does not change with the image size", lines=(line,))
    names = [name for name, _ in answer.rows[0].parameters]
    rows = tuple(
        (size_text(row.input), size_text(row.output), *(format_count(n) for _, n in row.parameters))
        for row in answer.rows
    )
    lines = [line]
    if any(n is None for row in answer.rows for _, n in row.parameters):
        lines.append("- : the sharing does not fit that size.")
    head = ("input", "output", *names)
    return Section(
        "What does not change with the image size", "ll" + "r" * len(names), head, rows, tuple(lines)
    )


def _patterns(bits: tuple[int, int], channels: int) -> Section:
    local, everything = bits
    noun = "pixels" if channels == 1 else "inputs"
    line = (
        f"If every input were one bit, a local feature ({_counted(local, noun)}) would have "
        f"{_power(local)} patterns to tell apart, and a global one "
        f"({_counted(everything, noun)}) {_power(everything)}."
    )
    return Section("One-bit pixels: patterns to tell apart", lines=(line,))


def _power(bits: int) -> str:
    if bits == 1:
        return "2"
    return f"2^{bits} = {2**bits:,}" if bits <= WRITTEN_OUT else f"2^{bits}"
