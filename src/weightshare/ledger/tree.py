"""The rows of a summary as a tree of modules, which can be filtered, cut at a depth, and folded.

The elements of all nodes add up to the model's total in each form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from .._args import did_you_mean
from ..errors import ArgumentError
from .rows import Part, Row

#: Name of the row that stands for the modules that a filter leaves out.
OTHERS = "(other modules)"
#: Smallest number of equal blocks in a row that are folded into one.
_MIN_EQUAL = 3


@dataclass(frozen=True)
class Node:
    """A module, or several equal ones.

    Args:
        row: Row of the module. It has no parts if the module only encloses others.
        children: Submodules that have a row or enclose one.
        copies: Number of equal modules that the node stands for.
        merged: Number of rows that were merged into `row`.
    """

    row: Row
    children: tuple[Node, ...] = ()
    copies: int = 1
    merged: int = 1

    @property
    def each(self) -> int:
        """Own elements of one copy, with those of its submodules."""
        return self.row.own_unique + sum(child.copies * child.each for child in self.children)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one copy, with those of its submodules."""
        return (self.row.macs or 0) + sum(child.copies * child.macs for child in self.children)


@dataclass(frozen=True)
class Line:
    """A row as it is printed, for `copies` equal modules or for `merged` rows.

    Args:
        row: Row of one copy.
        copies: Number of equal modules.
        merged: Number of rows that were merged into `row`.
    """

    row: Row
    copies: int
    merged: int

    @property
    def own_unique(self) -> int:
        """Number of elements of all copies that no other line has."""
        return self.copies * self.row.own_unique

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all copies."""
        return self.copies * (self.row.macs or 0)


def build_tree(
    outline: Sequence[Row], depth: int | None = None, pattern: str | None = None, fold: bool = True
) -> Node:
    """Return the tree of an outline.

    Args:
        depth: Number of levels below the model; deeper rows are merged into the module above. None for all.
        pattern: Glob for names of modules. The rows of all other modules are merged into one.
        fold: Whether consecutive equal modules of a list become one node.

    Raises:
        ArgumentError: If no module with a row matches the pattern.
    """
    chosen, others = frozenset(row.name for row in outline), None
    if pattern is not None:
        chosen = _match(outline, pattern)
        outline, others = _split(outline, chosen)
    root = _grow(outline)
    if depth is not None:
        root = _cut(root, depth, chosen)
    if fold:
        root = _fold(root)
    return root if others is None else replace(root, children=(*root.children, others))


def iter_lines(node: Node, copies: int = 1) -> Iterator[Line]:
    """Yield the lines of all rows in a tree."""
    copies *= node.copies
    if node.row.parts or node.row.macs or node.merged > 1:
        yield Line(node.row, copies, node.merged)
    for child in node.children:
        yield from iter_lines(child, copies)


def iter_blocks(node: Node, copies: int = 1) -> Iterator[Node]:
    """Yield every folded node that encloses others, with the number of all its copies."""
    copies *= node.copies
    if node.copies > 1 and node.children:
        yield replace(node, copies=copies)
    for child in node.children:
        yield from iter_blocks(child, copies)


def is_inside(name: str, part: str) -> bool:
    """Return whether a name is in the module named `part`; everything is in the model, whose name is empty.

    >>> is_inside("layers.1.weight", "layers.1"), is_inside("layers.10.weight", "layers.1")
    (True, False)
    """
    return not part or name == part or name.startswith(f"{part}.")


def _grow(outline: Iterable[Row]) -> Node:
    """Return the tree of rows that are ordered so that each module precedes its submodules."""
    below: dict[str, list[Row]] = {}
    names: set[str] = set()
    for row in outline:
        parent = row.name
        while parent and (parent := parent.rpartition(".")[0]) not in names:
            pass
        names.add(row.name)
        if row.name:
            below.setdefault(parent, []).append(row)

    def build(row: Row) -> Node:
        return Node(row, tuple(map(build, below.get(row.name, []))))

    return build(next(row for row in outline if not row.name))


def _match(outline: Iterable[Row], pattern: str) -> frozenset[str]:
    """Return the names of all rows in modules that match a pattern."""
    names = [row.name for row in outline if row.name]
    matches = [name for name in names if fnmatchcase(name, pattern)]
    if not matches:
        expected = "filter must match the name of a module with parameters"
        hint = did_you_mean(pattern, names, 'use e.g. "layers.*.attn"; print the summary to see the names')
        raise ArgumentError("summary", expected, repr(pattern), hint)
    return frozenset(name for name in names if any(is_inside(name, match) for match in matches))


def _split(outline: Sequence[Row], chosen: frozenset[str]) -> tuple[list[Row], Node | None]:
    """Return the outline of the chosen rows, and a node for all other rows."""
    enclosing = {""} | {name[:i] for name in chosen for i, letter in enumerate(name) if letter == "."}
    kept = [
        row if row.name in chosen else replace(row, parts=(), macs=None)
        for row in outline
        if row.name in chosen | enclosing
    ]
    rest = [row for row in outline if row.name not in chosen and (row.parts or row.macs)]
    return kept, _merge(Row(OTHERS, "", (), None, None, None), rest) if rest else None


def _cut(node: Node, depth: int, chosen: frozenset[str]) -> Node:
    """Merge the rows of chosen modules that are at a depth or below it."""
    if depth <= 0 and node.row.name in chosen:
        return _merge(node.row, [line.row for line in iter_lines(node)])
    return replace(node, children=tuple(_cut(child, depth - 1, chosen) for child in node.children))


def _merge(row: Row, rows: Sequence[Row]) -> Node:
    """Return one node for several rows."""
    parts = tuple(part for one in rows for part in one.parts)
    macs = None if all(one.macs is None for one in rows) else sum(one.macs or 0 for one in rows)
    return Node(replace(row, parts=parts, macs=macs), merged=len(rows))


def _fold(node: Node) -> Node:
    """Replace each run of equal blocks by one node."""
    runs: list[list[Node]] = []
    for child in map(_fold, node.children):
        if runs and _continues(runs[-1], child):
            runs[-1].append(child)
        else:
            runs.append([child])
    children: list[Node] = []
    for run in runs:
        children += [_join(run)] if len(run) >= _MIN_EQUAL else run
    return replace(node, children=tuple(children))


def _continues(run: Sequence[Node], node: Node) -> bool:
    """Return whether a node has the next number after a run, and otherwise equals its nodes."""
    (parent, _, before), (other, _, after) = (n.row.name.rpartition(".") for n in (run[-1], node))
    if parent != other or not (before.isdecimal() and after.isdecimal() and int(after) == int(before) + 1):
        return False
    return _rename(node, node.row.name, run[0].row.name) == run[0]


def _join(run: Sequence[Node]) -> Node:
    first, last = run[0].row.name, run[-1].row.name.rpartition(".")[2]
    return replace(_rename(run[0], first, f"{first}-{last}"), copies=len(run))


def _rename(node: Node, old: str, new: str) -> Node:
    """Return a node in which the module `old` has another name, wherever it occurs."""

    def rename(name: str) -> str:
        return new + name[len(old) :] if is_inside(name, old) else name

    children = tuple(_rename(child, old, new) for child in node.children)
    return replace(node, row=_rename_row(node.row, rename), children=children)


def _rename_row(row: Row, rename: Callable[[str], str]) -> Row:
    def rename_part(part: Part) -> Part:
        others = tuple(map(rename, part.others))
        return replace(part, name=rename(part.name), owner=rename(part.owner), others=others)

    return replace(row, name=rename(row.name), parts=tuple(map(rename_part, row.parts)))
