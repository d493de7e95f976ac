"""A summary as plain text and as Markdown."""

import textwrap
from collections.abc import Sequence

from .._args import did_you_mean, times
from ..errors import ArgumentError
from ..views.escape import visible
from ..views.markdown import escape
from ..views.markdown import table as markdown_table
from ..views.section import Section
from ..views.text import table
from .notes import Note
from .rows import Part, Row
from .totals import MEANINGS, Totals

WIDTH = 118
#: How the model itself is called.
ROOT = "(model)"
_ALWAYS = ("unique", "untied", "trainable", "frozen", "buffers", "bytes")


def text(title: str, rows: Sequence[Row], totals: Totals, notes: Sequence[Note], heading: str) -> str:
    """Return the rows, the totals and the notes as text."""
    head, align, body = _columns(rows, heading, totals.macs is not None)
    parts = [title, "\n".join(table(Section("", align, head, body), WIDTH)), _totals(totals)]
    lines = [visible(f"{note.code}: {note.text}") for note in notes]
    lines = [textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ") for line in lines]
    return "\n\n".join([*parts, *(["\n".join(lines)] if lines else [])])


def markdown(title: str, rows: Sequence[Row], totals: Totals, notes: Sequence[Note], heading: str) -> str:
    """Return the rows as a Markdown table, the totals and notes as a list."""
    head, align, body = _columns(rows, heading, totals.macs is not None)
    items = [f"- {name}: {value} ({meaning})" for name, value, meaning in _named(totals)]
    items += [f"- {note.code}: {escape(note.text)}" for note in notes]
    return "\n".join([escape(title), "", *markdown_table(align, head, body), "", *items])


def explained(rows: Sequence[Row], name: str) -> str:
    """One parameter or module in words."""
    name = "" if name == ROOT else name
    parts = {part.name: part for row in rows for part in row.parts}
    by_module = {row.name: row for row in rows}
    if name in parts:
        return _in_words(parts[name])
    if name in by_module:
        row = by_module[name]
        return "\n".join([f"{row.own_unique:,} of its own", *map(_in_words, row.parts)])
    inside = [row for row in rows if not name or row.name.startswith(f"{name}.")]
    if inside:
        total = sum(row.own_unique for row in inside)
        lines = [f"{row.name}: {row.own_unique:,} = {row.derivation}" for row in inside if row.own_unique]
        return "\n".join([f"{total:,} of the modules inside", *lines])
    hint = did_you_mean(name, [*parts, *by_module], "print the summary for the names")
    raise ArgumentError(
        "explain", "must be the name of a parameter, or of a module with parameters", repr(name), hint
    )


def _in_words(part: Part) -> str:
    if part.kind not in ("owned", "dead", "quantised"):
        return f"{part.name} {_shared(part)}"
    also = f" (also {', '.join(part.others)})" if part.others else ""
    return f"{part.name}: {part.words or f'shape {part.derivation}'} = {part.numel:,}{also}"


def _columns(
    rows: Sequence[Row], heading: str, watched: bool
) -> tuple[tuple[str, ...], str, tuple[tuple[str, ...], ...]]:
    """Return heads, alignment and cells; calls, outputs and MACs only after a forward pass."""
    shares = _percentages([row.own_unique for row in rows])
    head = ["module", "type", heading, "%", *(["calls", "output", "mult-adds"] if watched else []), "from"]
    align = "llrr" + "rlr" * watched + "l"
    body = []
    for row, share in zip(rows, shares):
        seen = []
        if watched:
            shape = "" if row.output_shape is None else times(row.output_shape)
            seen = [str(row.calls), shape, f"{row.macs:,}" if row.macs else ""]
        body.append((visible(row.name) or ROOT, row.type, f"{row.own_unique:,}", share, *seen, _from(row)))
    return tuple(head), align, tuple(body)


def _percentages(counts: Sequence[int]) -> list[str]:
    """Of their sum, to one decimal and 100.0 in all: those that are cut off most are rounded up.

    >>> _percentages([1, 1, 1]), _percentages([0])
    (['33.4', '33.3', '33.3'], ['0.0'])
    """
    whole = max(1, sum(counts))
    tenths = [1000 * count // whole for count in counts]
    left = (1000 if any(counts) else 0) - sum(tenths)
    for place in sorted(range(len(counts)), key=lambda i: -(1000 * counts[i] % whole))[:left]:
        tenths[place] += 1
    return [f"{n // 10}.{n % 10}" for n in tenths]


def _from(row: Row) -> str:
    """The derivation with what it is of, and with whom parts are shared."""
    parts = []
    for part in row.parts:
        if part.kind in ("owned", "dead", "quantised") or part.own:
            sign = {"dead": " (dead)", "quantised": " (quantised)"}.get(part.kind, "")
            whole = part.own == part.numel and "*" in part.derivation
            product = f" = {part.derivation.replace(' ', '')}" if whole else ""
            shared = f", also {', '.join(part.others)}" if part.others and part.kind == "owned" else ""
            parts.append(f"{part.own:,} {part.attribute}{sign}{product}{shared}")
        if part.kind in ("alias", "view", "reference", "repeated", "lazy"):
            parts.append(f"{part.attribute} {_shared(part)}")
    return visible("; ".join(parts))


def _shared(part: Part) -> str:
    if part.kind == "lazy":
        return "has no shape yet"
    if part.kind == "reference":
        return f"is a reference to {part.owner}" + (f" ({part.transform})" if part.transform else "")
    word = {"alias": "an alias", "view": "a view", "repeated": "a repetition"}[part.kind]
    return f"is {word} of {part.owner}"


def _named(totals: Totals) -> list[tuple[str, str, str]]:
    values = totals.to_dict()
    shown = [name for name in MEANINGS if values[name] is not None and (name in _ALWAYS or values[name])]
    return [(name, f"{values[name]:,}", MEANINGS[name]) for name in shown]


def _totals(totals: Totals) -> str:
    named = _named(totals)
    lines = table(Section("", "lrl", rows=tuple(named)), WIDTH)
    saved = [
        (totals.untied - totals.unique, "tying"),
        ((totals.unrolled or 0) - totals.untied, "calling modules again"),
        ((totals.unshared or 0) - totals.unique, "sharing over positions"),
    ]
    said = [f"{n:,} by {what}" for n, what in saved if n > 0]
    if said:
        lines += textwrap.wrap(f"Sharing saves {', '.join(said)}.", WIDTH, initial_indent="  ")
    return "\n".join(lines)
