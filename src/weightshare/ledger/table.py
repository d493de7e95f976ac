"""A summary as plain text and as Markdown, and the explanation of one parameter or module in words."""

import textwrap
from collections.abc import Sequence

from .._args import did_you_mean, format_size
from ..errors import ArgumentError
from ..views.escape import escape_controls
from ..views.markdown import escape
from ..views.markdown import format_table as format_markdown_table
from ..views.section import Section
from ..views.text import format_table
from .notes import Note
from .rows import Part, Row
from .totals import MEANINGS, Totals

WIDTH = 118
#: Name of the model itself in the table.
ROOT = "(model)"
#: Totals that are printed even if they are 0.
_ALWAYS = ("unique", "untied", "trainable", "frozen", "buffers", "bytes")
#: Kinds of names that own elements; names of the other kinds refer to an owner.
_OWNING = ("owned", "dead", "quantized")


def to_text(title: str, rows: Sequence[Row], totals: Totals, notes: Sequence[Note], heading: str) -> str:
    """Return the rows, totals and notes as text."""
    section = _build_section(rows, heading, totals.macs is not None)
    blocks = [title, "\n".join(format_table(section, WIDTH)), "\n".join(_format_totals(totals))]
    if notes:
        lines = [escape_controls(f"{note.code}: {note.text}") for note in notes]
        lines = [textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ") for line in lines]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def to_markdown(title: str, rows: Sequence[Row], totals: Totals, notes: Sequence[Note], heading: str) -> str:
    """Return the rows as a Markdown table, followed by the totals and notes as a list."""
    section = _build_section(rows, heading, totals.macs is not None)
    table = format_markdown_table(section.align, section.head, section.rows)
    items = [f"- {name}: {value} ({meaning})" for name, value, meaning in _list_totals(totals)]
    items += [f"- {sentence}" for sentence in _list_savings(totals)]
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
    if part.kind not in _OWNING:
        return f"{part.name} {_describe_sharing(part)}"
    others = f" (also {', '.join(part.others)})" if part.others else ""
    return f"{part.name}: {part.words or f'shape {part.derivation}'} = {part.numel:,}{others}"


def _build_section(rows: Sequence[Row], heading: str, with_forward: bool) -> Section:
    """Return the table of the rows; calls, outputs and MACs only after a forward pass."""
    columns = [
        ("module", "l", [escape_controls(row.name) or ROOT for row in rows]),
        ("type", "l", [row.type for row in rows]),
        (heading, "r", [f"{row.own_unique:,}" for row in rows]),
        ("%", "r", _format_percentages([row.own_unique for row in rows])),
    ]
    if with_forward:
        columns += [
            ("calls", "r", [str(row.calls) for row in rows]),
            ("output", "l", [format_size(row.output_shape or ()) for row in rows]),
            ("MACs", "r", [f"{row.macs:,}" if row.macs else "" for row in rows]),
        ]
    columns.append(("derivation", "l", [_format_derivation(row) for row in rows]))
    heads, aligns, cells = zip(*columns)
    return Section("", "".join(aligns), heads, tuple(zip(*cells)))


def _format_percentages(counts: Sequence[int]) -> list[str]:
    """Return each count as a percentage of the sum, with one decimal, so that they add up to 100.0.

    The values with the largest remainders are rounded up.

    >>> _format_percentages([1, 1, 1]), _format_percentages([0])
    (['33.4', '33.3', '33.3'], ['0.0'])
    """
    whole = max(1, sum(counts))
    tenths = [1000 * count // whole for count in counts]
    missing = (1000 if any(counts) else 0) - sum(tenths)
    for index in sorted(range(len(counts)), key=lambda i: -(1000 * counts[i] % whole))[:missing]:
        tenths[index] += 1
    return [f"{n // 10}.{n % 10}" for n in tenths]


def _format_derivation(row: Row) -> str:
    """Return the derivation of each parameter in a row, and the names that share it."""
    parts: list[str] = []
    for part in row.parts:
        if part.kind in _OWNING or part.own:
            label = f" ({part.kind})" if part.kind in ("dead", "quantized") else ""
            whole = part.own == part.numel and "*" in part.derivation
            product = f" = {part.derivation.replace(' ', '')}" if whole else ""
            shared = f", also {', '.join(part.others)}" if part.others and part.kind == "owned" else ""
            parts.append(f"{part.own:,} {part.attribute}{label}{product}{shared}")
        if part.kind not in _OWNING:
            parts.append(f"{part.attribute} {_describe_sharing(part)}")
    return escape_controls("; ".join(parts))


def _describe_sharing(part: Part) -> str:
    """Return how a name that is not the owner relates to the owner."""
    if part.kind == "lazy":
        return "has no shape yet"
    nouns = {"alias": "an alias", "view": "a view", "reference": "a reference", "repeated": "a repetition"}
    transform = f" ({part.transform})" if part.transform else ""
    return f"is {nouns[part.kind]} {'to' if part.kind == 'reference' else 'of'} {part.owner}{transform}"


def _list_totals(totals: Totals) -> list[tuple[str, str, str]]:
    """Return name, value and meaning of each total that is printed."""
    values = totals.to_dict()
    shown = [name for name in MEANINGS if values[name] is not None and (name in _ALWAYS or values[name])]
    return [(name, f"{values[name]:,}", MEANINGS[name]) for name in shown]


def _list_savings(totals: Totals) -> list[str]:
    """Return one sentence per way in which the model saves parameters."""
    saved = {
        "Tying": totals.untied - totals.unique,
        "Calling modules repeatedly": (totals.unrolled or 0) - totals.untied,
        "Sharing across positions": (totals.unshared or 0) - totals.unique,
    }
    return [f"{cause} saves {n:,} parameters." for cause, n in saved.items() if n > 0]


def _format_totals(totals: Totals) -> list[str]:
    lines = format_table(Section("", "lrl", rows=tuple(_list_totals(totals))), WIDTH)
    return [*lines, *(f"  {sentence}" for sentence in _list_savings(totals))]
