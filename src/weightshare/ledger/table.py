"""A summary as plain text and as Markdown, and the explanation of one parameter or module in words."""

import textwrap
from collections.abc import Sequence
from shutil import get_terminal_size

from .._args import did_you_mean, format_size
from ..errors import ArgumentError
from ..views.escape import escape_controls, shorten_middle
from ..views.markdown import escape
from ..views.markdown import format_table as format_markdown_table
from ..views.section import Section
from ..views.text import format_table
from .notes import Note
from .rows import Part, Row
from .totals import MEANINGS, Totals
from .tree import Line, Node

#: Number of characters per line where there is no terminal.
WIDTH = 118
#: Smallest number of characters per line; a narrower terminal wraps the lines itself.
MIN_WIDTH = 40
#: Name of the model itself in the table.
ROOT = "(model)"
#: Smallest widths of a derivation that follows its row, and of a name beside the other columns.
_MIN_DERIVATION, _MIN_NAME = 30, 24
#: Names of shared parameters that are printed for a row that stands for several modules.
_MAX_SHARED = 3
#: Totals that are printed even if they are 0.
_ALWAYS = ("unique", "untied", "trainable", "frozen", "buffers", "bytes")
#: Kinds of names that own elements; names of the other kinds refer to an owner.
OWNING = ("owned", "dead", "quantized")


def to_text(
    title: str,
    lines: Sequence[Line],
    blocks: Sequence[Node],
    totals: Totals,
    notes: Sequence[Note],
    heading: str,
    width: int | None,
) -> str:
    """Return the rows, equal blocks, totals and notes as text.

    Args:
        blocks: Folded nodes.
        width: Number of characters per line; None for the width of the terminal.
    """
    width = max(MIN_WIDTH, get_terminal_size((WIDTH, 0)).columns if width is None else width)
    section = _build_section(lines, heading, totals.macs is not None)
    paragraphs = [
        [_wrap(title, width)],
        _fit_rows(section, width),
        [_wrap(_format_block(block), width, indent=2) for block in blocks],
        [*_fit(Section("", "lrl", rows=tuple(list_totals(totals))), width)]
        + [_wrap(sentence, width, indent=2) for sentence in list_savings(totals)],
        [_wrap(f"{note.code}: {note.text}", width, indent=2) for note in notes],
    ]
    return "\n\n".join("\n".join(paragraph) for paragraph in paragraphs if paragraph)


def to_markdown(
    title: str,
    lines: Sequence[Line],
    blocks: Sequence[Node],
    totals: Totals,
    notes: Sequence[Note],
    heading: str,
) -> str:
    """Return the rows as a Markdown table, followed by equal blocks, totals and notes as a list."""
    section = _build_section(lines, heading, totals.macs is not None)
    table = format_markdown_table(section.align, section.head, section.rows)
    items = [f"- {escape(_format_block(block))}" for block in blocks]
    items += [f"- {name}: {value} ({meaning})" for name, value, meaning in list_totals(totals)]
    items += [f"- {sentence}" for sentence in list_savings(totals)]
    items += [f"- {note.code}: {escape(note.text)}" for note in notes]
    return "\n".join([escape(title), "", *table, "", *items])


def explain(rows: Sequence[Row], name: str) -> str:
    """Return an explanation of one parameter or module in words.

    Raises:
        ArgumentError: If there is no such parameter, or no module of this name with parameters.
    """
    name = "" if name == ROOT else name
    parts = {part.name: part for row in rows for part in row.parts}
    by_module = {row.name: row for row in rows}
    if name in parts:
        return _explain_part(parts[name])
    if name in by_module:
        row = by_module[name]
        return "\n".join([f"own parameters: {row.own_unique:,}", *map(_explain_part, row.parts)])
    inside = [row for row in rows if not name or row.name.startswith(f"{name}.")]
    if inside:
        total = sum(row.own_unique for row in inside)
        lines = [f"{row.name}: {row.own_unique:,} = {row.derivation}" for row in inside if row.own_unique]
        return "\n".join([f"parameters in submodules: {total:,}", *lines])
    expected = "must be the name of a parameter, or of a module with parameters"
    hint = did_you_mean(name, [*parts, *by_module], "print the summary to see the names")
    raise ArgumentError("explain", expected, repr(name), hint)


def _explain_part(part: Part) -> str:
    if part.kind not in OWNING:
        return f"{part.name} {describe_sharing(part)}"
    others = f" (also {', '.join(part.others)})" if part.others else ""
    return f"{part.name}: {part.words or f'shape {part.derivation}'} = {part.numel:,}{others}"


def _build_section(lines: Sequence[Line], heading: str, with_forward: bool) -> Section:
    """Return the table of the lines; calls, outputs and MACs only after a forward pass."""
    columns = [
        ("module", "l", [escape_controls(line.row.name) or ROOT for line in lines]),
        ("type", "l", [escape_controls(format_type(line.row.type, line.copies)) for line in lines]),
        (heading, "r", [f"{line.own_unique:,}" for line in lines]),
        ("%", "r", format_percentages([line.own_unique for line in lines])),
    ]
    if with_forward:
        columns += [
            ("calls", "r", [_format_calls(line) for line in lines]),
            ("output", "l", [format_size(line.row.output_shape or ()) for line in lines]),
            ("MACs", "r", [f"{line.macs:,}" if line.macs else "" for line in lines]),
        ]
    columns.append(("derivation", "l", [_format_line(line) for line in lines]))
    heads, aligns, cells = zip(*columns)
    return Section("", "".join(aligns), heads, tuple(zip(*cells)))


def format_type(kind: str, copies: int) -> str:
    """Return the class of a row, with the number of equal modules.

    >>> format_type("Linear", 1), format_type("Linear", 80)
    ('Linear', '80 x Linear')
    """
    return f"{copies:,} x {kind}" if copies > 1 else kind


def format_percentages(counts: Sequence[int]) -> list[str]:
    """Return each count as a percentage of the sum, with one decimal, so that they add up to 100.0.

    The values with the largest remainders are rounded up.

    >>> format_percentages([1, 1, 1]), format_percentages([0])
    (['33.4', '33.3', '33.3'], ['0.0'])
    """
    whole = max(1, sum(counts))
    tenths = [1000 * count // whole for count in counts]
    missing = (1000 if any(counts) else 0) - sum(tenths)
    for index in sorted(range(len(counts)), key=lambda i: -(1000 * counts[i] % whole))[:missing]:
        tenths[index] += 1
    return [f"{n // 10}.{n % 10}" for n in tenths]


def _fit_rows(section: Section, width: int) -> list[str]:
    """Return the lines of the rows. If needed, shorten names and move derivations to separate lines."""
    others = sum(_measure(section)[1:-1]) + 2 * len(section.align)
    name = width - others - _MIN_DERIVATION
    if name >= min(_MIN_NAME, _measure(section)[0]):
        return format_table(_shorten_names(section, name), width)
    if width - others >= _MIN_NAME:
        return _stack(_shorten_names(section, width - others), width)
    head = section.head[:1] + section.head[2:4] + ("details",)
    rows = tuple((row[0], *row[2:4], _join_details(section.head, row)) for row in section.rows)
    narrow = Section("", "lrrl", head, rows)
    return _stack(_shorten_names(narrow, width - sum(_measure(narrow)[1:-1]) - 8), width)


def _fit(section: Section, width: int) -> list[str]:
    """Return the lines of a table, with the last column below the others if it would be too narrow."""
    before = sum(_measure(section)[:-1]) + 2 * len(section.align)
    return format_table(section, width) if width - before >= _MIN_DERIVATION else _stack(section, width)


def _stack(section: Section, width: int) -> list[str]:
    """Return the lines of a table, with the last column below the others."""
    head = (section.head[:-1],) if section.head else ()
    rows = (*head, *(row[:-1] for row in section.rows))
    first = format_table(Section("", section.align[:-1], rows=rows), width)
    lines = first[: len(head)]
    for line, row in zip(first[len(head) :], section.rows):
        lines += [line, *([_wrap(row[-1], width, indent=6)] if row[-1] else [])]
    return lines


def _measure(section: Section) -> list[int]:
    """Return the width of each column."""
    rows = (*((section.head,) if section.head else ()), *section.rows)
    return [max(map(len, column)) for column in zip(*rows)]


def _shorten_names(section: Section, length: int) -> Section:
    rows = tuple((shorten_middle(row[0], max(length, 8)), *row[1:]) for row in section.rows)
    return Section("", section.align, section.head, rows)


def _join_details(head: Sequence[str], row: Sequence[str]) -> str:
    """Return the type and what follows the percentage as one text."""
    more = [f"{name} {cell}" for name, cell in zip(head[4:-1], row[4:-1]) if cell]
    return "; ".join(text for text in (row[1], *more, row[-1]) if text)


def _wrap(text: str, width: int, indent: int = 0) -> str:
    first = " " * indent
    rest = " " * (indent + 2 if indent else 0)
    return textwrap.fill(escape_controls(text), width, initial_indent=first, subsequent_indent=rest)


def _format_block(block: Node) -> str:
    return f"{block.row.name}: {format_type(block.row.type, block.copies)}, {block.each:,} each"


def _format_calls(line: Line) -> str:
    """Return the number of calls; nothing for lists of modules, which are not called themselves."""
    return str(line.row.calls or ("" if line.merged > 1 else 0))


def _format_line(line: Line) -> str:
    """Return where the count of a line comes from."""
    row = line.row
    if line.merged > 1:
        text = f"{len(row.parts):,} tensors in {line.merged:,} modules{_list_shared(row)}"
    else:
        text = _format_derivation(row)
    if line.copies > 1 and text:
        text = f"each: {text}" if len(row.parts) == 1 else f"{row.own_unique:,} each: {text}"
    return escape_controls(text)


def _list_shared(row: Row) -> str:
    """Return the names that a row of several modules shares with other rows, as the end of a sentence."""
    inside = {part.name for part in row.parts}
    shared: list[str] = []
    for part in row.parts:
        others = [other for other in part.others if other not in inside]
        if part.owner not in inside:
            shared.append(f"{part.name} {describe_sharing(part)}")
        elif part.owner == part.name and others:
            shared.append(f"{part.name} also {', '.join(others[:_MAX_SHARED])}")
    more = [f"{len(shared) - _MAX_SHARED} more"] if len(shared) > _MAX_SHARED else []
    return "".join(f"; {text}" for text in (*shared[:_MAX_SHARED], *more))


def _format_derivation(row: Row) -> str:
    """Return the derivation of each parameter in a row, and the names that share it."""
    parts: list[str] = []
    for part in row.parts:
        if part.kind in OWNING or part.own:
            label = f" ({part.kind})" if part.kind in ("dead", "quantized") else ""
            whole = part.own == part.numel and "*" in part.derivation
            product = f" = {part.derivation.replace(' ', '')}" if whole else ""
            shared = f", also {', '.join(part.others)}" if part.others and part.kind == "owned" else ""
            parts.append(f"{part.own:,} {part.attribute}{label}{product}{shared}")
        if part.kind not in OWNING:
            parts.append(f"{part.attribute} {describe_sharing(part)}")
    return "; ".join(parts)


def describe_sharing(part: Part) -> str:
    """Return how a name that is not the owner relates to the owner."""
    if part.kind == "lazy":
        return describe_kind(part.kind)
    transform = f" ({part.transform})" if part.transform else ""
    return f"{describe_kind(part.kind)} {part.owner}{transform}"


def describe_kind(kind: str) -> str:
    """Return how a name that is not the owner relates to the owner, as text before the owner's name.

    >>> describe_kind("reference")
    'is a reference to'
    """
    return {
        "lazy": "has no shape yet",
        "alias": "is an alias of",
        "view": "is a view of",
        "reference": "is a reference to",
        "repeated": "is a repetition of",
    }[kind]


def list_totals(totals: Totals) -> list[tuple[str, str, str]]:
    """Return name, value and meaning of each total that is printed."""
    values = totals.to_dict()
    shown = [name for name in MEANINGS if values[name] is not None and (name in _ALWAYS or values[name])]
    return [(name, f"{values[name]:,}", MEANINGS[name]) for name in shown]


def list_savings(totals: Totals) -> list[str]:
    """Return one sentence per way in which the model saves parameters."""
    saved = {
        "Tying": totals.untied - totals.unique,
        "Calling modules repeatedly": (totals.unrolled or 0) - totals.untied,
        "Sharing across positions": (totals.unshared or 0) - totals.unique,
    }
    return [f"{cause} saves {n:,} parameters." for cause, n in saved.items() if n > 0]
