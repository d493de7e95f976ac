"""The counts of a layer as sections of text and tables, which `views` lays out."""

from math import prod

from .._args import format_size
from ..sharing import Local, SharedAlong
from ..views.numbers import format_count
from ..views.section import Section
from .block import Block
from .block_sections import build_block_sections, format_block_title
from .closed_form import ParameterCount
from .counts import Counts
from .phrases import count_noun, format_product
from .sizes import format_compact_size
from .spec import LayerSpec

#: Largest exponent for which a power of two is written out.
MAX_EXPONENT = 20


def build_sections(counts: Counts, verbose: bool = True) -> list[Section]:
    """Return the sections in reading order.

    Args:
        verbose: Whether to include all sections. Otherwise only counts, derivation, comparison of sharings
            and notes are returned.
    """
    layer = counts.layer
    if isinstance(layer, Block):
        return build_block_sections(layer, counts.notes)
    sections = [_list_counts(counts, layer), _derive_parameters(counts, layer)]
    if counts.input is not None:
        sections.append(_compare_sharings(counts, layer))
    if verbose:
        if counts.input is not None:
            sections.append(_explain_difference(counts, layer))
        sections.append(_compare_input_sizes(counts, layer))
        if counts.patterns is not None and layer.ndim:
            sections.append(_describe_patterns(counts.patterns, layer.in_channels))
    if counts.notes:
        sections.append(Section("Notes", lines=counts.notes))
    return sections


def format_title(counts: Counts) -> str:
    """Return the layer and its input in one line."""
    if isinstance(counts.layer, Block):
        return format_block_title(counts.layer)
    if counts.input is None:
        return str(counts.layer)
    return f"{counts.layer} on an input of {format_size(counts.input)}"


def format_derivation(count: ParameterCount) -> str:
    """Format a parameter count as one line such as "3 x 3 x 2 x 16 x 1 bank + 16 biases"."""
    parts: list[str] = []
    for term in count.terms:
        *first, last = term.factors
        if term.label == "biases":
            parts.append(count_noun(term.n, "biases"))
        elif last.label == "banks":
            numbers = [format_count(factor.n) for factor in first]
            parts.append(" x ".join([*numbers, count_noun(last.n, "banks")]))
        else:
            parts.append(format_product(term.factors))
    return " + ".join(parts)


def _list_counts(counts: Counts, layer: LayerSpec) -> Section:
    has_neuron_bias = layer.bias and not layer.transposed
    window = format_product(dict(counts.terms)["weights_per_neuron"][0].factors)
    rows = [
        (
            "parameters",
            format_count(counts.parameters),
            f"{_sum_by_kind(counts.own)} (sharing: {layer.sharing})",
        ),
        (
            "weights per input neuron" if layer.transposed else "weights per neuron",
            f"{layer.weights_per_neuron:,}" + (" + 1" if has_neuron_bias else ""),
            window + (", plus 1 bias" if has_neuron_bias else ""),
        ),
    ]
    if counts.output is not None:
        channels, *size = counts.output
        slices = f"{count_noun(channels, 'depth slices')} of {format_size(size)}"
        volume = f"output volume {format_size((*size, channels))}: {slices}"
        rows += [
            ("neurons", format_count(counts.neurons), volume if layer.ndim else "outputs"),
            (
                "connections",
                format_count(counts.connections),
                "(output, input) pairs, without padding and biases",
            ),
            ("MACs", format_count(counts.macs), "multiply-accumulates, including those on padding"),
        ]
    if counts.dead_taps:
        rows.append(
            ("dead taps", format_count(counts.dead_taps), "(bank, tap) pairs that only ever meet padding")
        )
    return Section("", "lrl", rows=tuple(rows))


def _sum_by_kind(count: ParameterCount) -> str:
    sums: dict[str, int] = {}
    for term in count.terms:
        is_coefficient = term.label.startswith("coefficients_")
        kind = "coefficients" if is_coefficient else term.label  # adds up those of all axes
        sums[kind] = sums.get(kind, 0) + term.n
    return " + ".join(count_noun(n, kind) for kind, n in sums.items())


def _derive_parameters(counts: Counts, layer: LayerSpec) -> Section:
    weights = layer.weights_per_neuron
    rows = [(term.label, format_count(term.n), format_product(term.factors)) for term in counts.own.terms]
    rows.append(("total", format_count(counts.parameters), ""))
    lines = ()
    if layer.bias and not layer.transposed and counts.parameters == layer.out_channels * (weights + 1):
        noun = "filter" if layer.ndim else "output"
        lines = (
            f"Each {noun} has {count_noun(weights, 'weights')} + 1 bias: "
            f"{layer.out_channels:,} x ({weights:,} + 1) = {counts.parameters:,}.",
        )
    return Section("Where do the parameters come from?", "lrl", rows=tuple(rows), lines=lines)


def _compare_sharings(counts: Counts, layer: LayerSpec) -> Section:
    by_name = {count.name: count for count in (*counts.others, counts.own)}
    others = [name for name in by_name if name not in ("full", "local", "dense")]
    names = ["full", *others, "local", "dense"]
    rows = [(name, format_count(by_name[name].total), format_derivation(by_name[name])) for name in names]
    if layer.ndim:
        line = (
            "The dense layer has the same output volume, and each of its neurons sees every input. A Linear "
            "layer with a different output size computes a different function, so its count is not "
            "comparable."
        )
    else:
        line = (
            "A linear layer has one position, which sees every input, so there is nothing to share. A "
            "convolution on the same inputs has fewer weights but different outputs: eight 3 x 3 filters on "
            "a 32 x 32 image have 72 weights and 8 x 30 x 30 outputs, while Linear(1024, 64, bias=False) has "
            "65,536 weights and 64 outputs. The often-quoted 910-fold saving compares layers with different "
            "outputs."
        )
    head = ("sharing", "parameters", "derivation")
    return Section("How does the count depend on sharing?", "lrl", head, tuple(rows), (line,))


def _explain_difference(counts: Counts, layer: LayerSpec) -> Section:
    size, kernels, banks = counts.position_size or (), layer.position_side[1], counts.banks or 1
    positions = prod(size)
    if positions == 1:
        line = "They do not: there is only one position, so both are the same layer."
        return Section("Why do full and local differ?", lines=(line,))
    grid = f"{format_size(size)} = {positions:,}" if len(size) > 1 else f"{positions:,}"
    side = "input channel" if layer.transposed else "depth slice"
    number = count_noun(kernels, "kernels")
    owner = f"each {side} has" if kernels > 1 else f"the {side} has"
    lines = [
        f"Both have {number} at each position. "
        f"With full sharing, {owner} one kernel for all of its {grid} positions: {number} in total. "
        f"Without sharing, {owner} a separate kernel at each position: {kernels:,} x {positions:,} = "
        f"{kernels * positions:,} kernels, which is {positions:,} times as many weights."
    ]
    if banks not in (1, positions):
        mixed = "" if layer.sharing.one_hot else ", mixed separately at each position"
        lines.append(f"{layer.sharing} has {banks:,} banks{mixed}: {count_noun(banks * kernels, 'kernels')}.")
    return Section(f"Why do full and local differ by a factor of {positions:,}?", lines=tuple(lines))


def _compare_input_sizes(counts: Counts, layer: LayerSpec) -> Section:
    title = f"Does the count depend on the {'image' if layer.ndim else 'input'} size?"
    if not layer.ndim:
        line = "Yes. A linear layer has no spatial size: each input feature adds one weight per output."
        return Section(title, lines=(line,))
    lines: list[str] = []
    bias = layer.bias_sharing
    if isinstance(bias, Local | SharedAlong) and bias.banks((2,) * layer.ndim) > 1:
        lines.append("With full sharing the weights do not depend on the image size, but the biases do.")
    else:
        full = next((c.total for c in (*counts.others, counts.own) if c.name == "full"), None)
        number = " is the same" if full is None else f" is {full:,}"
        lines.append(
            f"Not with full sharing: the count{number} for any image size, stride, padding and dilation."
        )
    if not counts.rows:
        return Section(title, lines=tuple(lines))
    if any(n is None for row in counts.rows for _, n in row.parameters):
        lines.append('"-" means that the sharing does not fit this size.')
    names = [name for name, _ in counts.rows[0].parameters]
    rows = tuple(
        (
            format_compact_size(row.input),
            format_compact_size(row.output),
            *(format_count(n) for _, n in row.parameters),
        )
        for row in counts.rows
    )
    return Section(title, "ll" + "r" * len(names), ("input", "output", *names), rows, tuple(lines))


def _describe_patterns(patterns: tuple[int, int], channels: int) -> Section:
    local, dense = patterns
    noun = "pixels" if channels == 1 else "inputs"
    line = (
        f"If every input were one bit, a local feature ({count_noun(local, noun)}) would have "
        f"{_format_power(local)} patterns to distinguish, and a global feature "
        f"({count_noun(dense, noun)}) {_format_power(dense)}."
    )
    return Section("How many binary patterns can a feature see?", lines=(line,))


def _format_power(exponent: int) -> str:
    if exponent == 1:
        return "2"
    return f"2^{exponent}" + (f" = {2**exponent:,}" if exponent <= MAX_EXPONENT else "")
