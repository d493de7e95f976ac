"""The parameters of a block as sections of text and tables, which `views` lays out."""

from collections.abc import Iterator, Sequence

from ..views.numbers import format_count
from ..views.section import Section
from .block import Block, format_shape
from .phrases import count_noun, format_product
from .terms import Factor, Term


def build_block_sections(block: Block, notes: Sequence[str]) -> list[Section]:
    """Return the sections in reading order."""
    rows = [("parameters", format_count(block.parameters), _sum_by_kind(block.terms))]
    for word, shape in (("input", block.input), ("output", block.output)):
        if shape is not None:
            rows.append((word, format_shape(shape), "size of one example, without the batch"))
    sections = [Section("", "lrl", rows=tuple(rows))]
    sections.append(_list_steps(block) if block.steps else _derive_parameters(block))
    if notes:
        sections.append(Section("Notes", lines=tuple(notes)))
    return sections


def format_block_title(block: Block) -> str:
    """Return the layer and its input in one line."""
    text = f"Sequential of {count_noun(len(block.steps), 'layers')}" if block.steps else str(block)
    return text if block.input is None else f"{text} on an input of {format_shape(block.input)}"


def _derive_parameters(block: Block) -> Section:
    rows = [(term.label, format_count(term.n), format_product(term.factors)) for term in block.terms]
    rows.append(("total", format_count(block.parameters), ""))
    return Section("Where do the parameters come from?", "lrl", rows=tuple(rows), lines=block.lines)


def _list_steps(block: Block) -> Section:
    own = block.terms[sum(len(step.terms) for _, step in block.steps) :]
    rows = [
        *_iter_rows(block, ""),
        *((term.label, "", format_count(term.n), format_product(term.factors)) for term in own),
        ("total", "", format_count(block.parameters), ""),
    ]
    head = ("layer", "output", "parameters", "derivation")
    return Section("Where do the parameters come from?", "llrl", head, tuple(rows), block.lines)


def _iter_rows(block: Block, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, step in block.steps:
        output = "" if step.output is None else format_shape(step.output)
        if step.steps:
            yield f"{prefix}{name}: Sequential", output, "", ""
            yield from _iter_rows(step, f"{prefix}{name}.")
        else:
            derivation = " + ".join(map(_format_term, step.terms))
            yield f"{prefix}{name}: {step}", output, format_count(step.parameters), derivation


def _format_term(term: Term) -> str:
    """Return a term as a product, without the single bank of a convolution, and biases as their number."""
    if term.label == "biases":
        return count_noun(term.n, "biases")
    return format_product([factor for factor in term.factors if factor != Factor("banks", 1)])


def _sum_by_kind(terms: Sequence[Term]) -> str:
    sums: dict[str, int] = {}
    for term in terms:
        label = term.label.rpartition(".")[2].rpartition("/")[2]
        is_bias = "bias" in label or label == "beta"
        kind = "moving statistics" if label.startswith("moving_") else "biases" if is_bias else "weights"
        sums[kind] = sums.get(kind, 0) + term.n
    return " + ".join(count_noun(n, kind) for kind, n in sums.items())
