"""A summary as HTML: the modules as a tree of `<details>`, with links between the names of shared weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from .._args import format_size
from ..views import page
from ..views.numbers import format_percent
from ..views.section import Section
from .group_rows import GroupRow
from .notes import Note
from .rows import Part
from .table import OWNING, ROOT, describe_kind, format_type, list_savings, list_totals
from .totals import Totals
from .tree import Node

#: Trees with at most this many modules are shown expanded.
_MAX_OPEN = 24


@dataclass(frozen=True)
class _Link:
    """A name, with the anchor of its entry; None if the entry is not on the page."""

    name: str
    anchor: str | None


@dataclass(frozen=True)
class _Parameter:
    """An entry for one parameter; `relation` tells how it is related to the linked names."""

    anchor: str
    name: str
    mark: str
    count: str
    derivation: str
    relation: str
    links: tuple[_Link, ...]
    transform: str


@dataclass(frozen=True)
class _Module:
    """An entry for a module, or for several equal ones."""

    name: str
    title: str
    type: str
    count: str
    each: str
    percent: str
    facts: str
    is_shared: bool
    is_open: bool
    parameters: tuple[_Parameter, ...]
    modules: "tuple[_Module, ...]"


def render_fragment(
    title: str, root: Node, groups: Sequence[GroupRow], totals: Totals, warnings: Sequence[Note]
) -> str:
    """Return the summary as one `<div>`."""
    body = _render_body(title, root, groups, totals)
    return page.render_fragment(title, _list_sections(totals, warnings), body=body)


def render_page(
    title: str, root: Node, groups: Sequence[GroupRow], totals: Totals, warnings: Sequence[Note]
) -> str:
    """Return the summary as a complete HTML page."""
    body = _render_body(title, root, groups, totals)
    return page.render_document(title, _list_sections(totals, warnings), body=body)


def _render_body(title: str, root: Node, groups: Sequence[GroupRow], totals: Totals) -> str:
    names = [part.name for node in _walk(root) for part in node.row.parts]
    digest = sha256("\n".join([title, *names]).encode("utf-8", "backslashreplace")).hexdigest()[:8]
    anchors = {name: f"weightshare-{digest}-{place}" for place, name in enumerate(names)}
    expanded = sum(1 for _ in _walk(root)) <= _MAX_OPEN
    shared = {name["name"] for group in groups if len(group.names) > 1 for name in group.names}
    ties = [
        (
            _link(tie["alias"], anchors),
            describe_kind(tie["kind"]),
            _link(tie["source"], anchors),
            _format_transform(tie["transform"]),
        )
        for group in groups
        for tie in group.ties
    ]
    module = _build_module(root, "", max(1, totals.unique), 1, anchors, shared, expanded)
    template = page.make_environment(__package__).get_template("tree.html.jinja")
    return template.render(root=module, ties=ties)


def _build_module(
    node: Node,
    parent: str,
    whole: int,
    copies: int,
    anchors: Mapping[str, str],
    shared: set[str],
    expanded: bool,
) -> _Module:
    """Return the entry of a node.

    Args:
        parent: Name of the module above.
        whole: Elements of the whole model.
        copies: Number of equal modules that the node above stands for.
        anchors: Anchor of each parameter on the page.
        shared: Names of the parameters that share their elements.
        expanded: Whether all modules are shown expanded.
    """
    row, copies = node.row, copies * node.copies
    total = copies * node.each
    was_counted = row.calls is not None and bool(row.calls or row.parts)  # lists of modules are not called
    facts = [
        f"{row.calls:,} call{'' if row.calls == 1 else 's'}" if was_counted else "",
        f"output {format_size(row.output_shape)}" if row.output_shape else "",
        f"{copies * node.macs:,} MACs" if node.macs else "",
    ]
    return _Module(
        name=row.name.removeprefix(f"{parent}.") or ROOT,
        title=row.name or ROOT,
        type=format_type(row.type, copies),
        count=f"{total:,}",
        each=f"{node.each:,} each" if copies > 1 else "",
        percent=f"{format_percent(total / whole)}%",
        facts=", ".join(filter(None, facts)),
        is_shared=any(part.name in shared for below in _walk(node) for part in below.row.parts),
        is_open=expanded or not row.name,
        parameters=tuple(_build_parameter(part, anchors) for part in row.parts),
        modules=tuple(
            _build_module(child, row.name, whole, copies, anchors, shared, expanded)
            for child in node.children
        ),
    )


def _build_parameter(part: Part, anchors: Mapping[str, str]) -> _Parameter:
    is_owner = part.kind in OWNING
    relation = ("also" if part.others else "") if is_owner else describe_kind(part.kind)
    names = part.others if is_owner else () if part.kind == "lazy" else (part.owner,)
    whole = "" if part.own == part.numel else f"of {part.numel:,} "
    return _Parameter(
        anchor=anchors[part.name],
        name=part.attribute,
        mark="shared" if part.others else "" if part.kind == "owned" else part.kind,
        count=f"{part.own:,}",
        derivation=f"{whole}= {part.words or part.derivation}",
        relation=relation,
        links=tuple(_link(name, anchors) for name in names),
        transform=_format_transform(part.transform),
    )


def _format_transform(transform: str | None) -> str:
    return f" ({transform})" if transform else ""


def _link(name: str, anchors: Mapping[str, str]) -> _Link:
    return _Link(name, anchors.get(name))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _list_sections(totals: Totals, warnings: Sequence[Note]) -> list[Section]:
    notes = tuple(f"{note.code}: {note.text}" for note in warnings)
    section = Section("Totals", "lrl", rows=tuple(list_totals(totals)), lines=tuple(list_savings(totals)))
    return [section, *([Section("Notes", lines=notes)] if notes else [])]
