"""One row per module that has or reads parameters; the rows' own elements add up to the model's total."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.jit import ScriptModule
from torch.nn.utils import parametrize

from ..parameters.groups import Group, Name
from .derivation import derive, format_product, format_shape, format_words, is_parametrization
from .forward import ForwardPass


@dataclass(frozen=True)
class Part:
    """One parameter of a row.

    Args:
        name: Full name of the parameter.
        kind: Kind of the name, as in `parameters.groups.Name`, or "dead" if no forward pass reads it.
        own: Number of elements that no earlier name has.
        numel: Number of elements, shared ones included.
        derivation: Product as a Python expression whose value is `numel`.
        words: The same product with a label for each factor; empty if only the shape is known.
        owner: Name under which the elements are counted; may be this name.
        others: All other names of the elements.
        transform: Transform of a reference.
    """

    name: str
    kind: str
    own: int
    numel: int
    derivation: str
    words: str
    owner: str
    others: tuple[str, ...]
    transform: str | None

    @property
    def attribute(self) -> str:
        """Name of the parameter in its module."""
        return self.name.rpartition(".")[2]

    @property
    def is_bias(self) -> bool:
        """Whether the name is that of a bias."""
        return "bias" in self.attribute


@dataclass(frozen=True)
class Row:
    """A module with its own parameters, without those of its submodules.

    Args:
        name: Name of the module; empty for the model itself.
        type: Class of the module.
        parts: Parameters of the module.
        calls: Number of calls in the forward pass; None if there was none.
        output_shape: Output shape of the last call.
        macs: Multiply-accumulates computed in the module itself, without its submodules.
    """

    name: str
    type: str
    parts: tuple[Part, ...]
    calls: int | None
    output_shape: tuple[int, ...] | None
    macs: int | None

    @property
    def own_unique(self) -> int:
        """Number of elements that no earlier row has."""
        return sum(part.own for part in self.parts)

    @property
    def own_registered(self) -> int:
        """Number of elements of all parameters registered on the module, whichever name owns them."""
        return sum(part.numel for part in self.parts if part.kind != "reference")

    @property
    def biases(self) -> int:
        """Number of own elements that are biases."""
        return sum(part.own for part in self.parts if part.is_bias)

    @property
    def derivation(self) -> str:
        """Sum of products as a Python expression whose value is `own_unique`."""
        terms = [p.derivation if p.own == p.numel else str(p.own) for p in self.parts if p.own]
        return " + ".join(terms) or "0"

    @property
    def shared_with(self) -> tuple[str, ...]:
        """Other names of the module's elements."""
        return tuple(dict.fromkeys(other for part in self.parts for other in part.others))

    def to_dict(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return {
            "name": self.name,
            "type": self.type,
            "own_unique": self.own_unique,
            "own_registered": self.own_registered,
            "weights": self.own_unique - self.biases,
            "biases": self.biases,
            "derivation": self.derivation,
            "parameters": [
                {
                    "name": part.name,
                    "kind": part.kind,
                    "own": part.own,
                    "numel": part.numel,
                    "derivation": part.derivation,
                    "meaning": part.words or None,
                    "owner": part.owner,
                    "transform": part.transform,
                }
                for part in self.parts
            ],
            "shared_with": list(self.shared_with),
            "calls": self.calls,
            "output_shape": None if self.output_shape is None else list(self.output_shape),
            "macs": self.macs,
        }


def build_rows(
    modules: Mapping[str, nn.Module], groups: Iterable[Group], forward: ForwardPass | None
) -> tuple[Row, ...]:
    """Return the rows in the order of the model's modules."""
    parts: dict[str, list[Part]] = {}
    for group in groups:
        dead = is_dead(group, forward)
        for name in group.names:
            parts.setdefault(get_row_name(name.module_name), []).append(
                _build_part(name, group, dead, modules)
            )
    rows: list[Row] = []
    seen: set[int] = set()
    for name, module in modules.items():
        first = id(module) not in seen
        seen.add(id(module))
        multiplies = first and forward is not None and id(module) in forward.macs
        if name in parts or multiplies:
            rows.append(_build_row(name, module, parts.get(name, []), forward, first))
    return tuple(rows)


def build_outline(
    modules: Mapping[str, nn.Module], rows: Iterable[Row], forward: ForwardPass | None
) -> tuple[Row, ...]:
    """Return all rows, and a row without parameters for each module that encloses one, in order."""
    by_name = {row.name: row for row in rows}
    enclosing = {""} | {name[:i] for name in by_name for i, letter in enumerate(name) if letter == "."}
    return tuple(
        by_name[name] if name in by_name else _build_row(name, module, [], forward, first=False)
        for name, module in modules.items()
        if name in by_name or name in enclosing
    )


def is_dead(group: Group, forward: ForwardPass | None) -> bool:
    """Return whether a complete forward pass did not read any storage of a group."""
    if forward is None or not forward.completed:
        return False
    storages = [name.stored.storage for name in group.names if name.stored is not None]
    return None not in storages and not forward.read & set(storages)


def iter_names(groups: Iterable[Group]) -> Iterator[Name]:
    """Yield every registered name and every reference."""
    for group in groups:
        yield from group.names


def get_row_name(module_name: str) -> str:
    """Return the name of the row that lists the parameters of a module.

    >>> get_row_name("0.parametrizations.weight"), get_row_name("0")
    ('0', '0')
    """
    head, found, _ = f".{module_name}".rpartition(".parametrizations.")
    return head[1:] if found else module_name


def _build_row(
    name: str, module: nn.Module, parts: list[Part], forward: ForwardPass | None, first: bool
) -> Row:
    """Return the row of a module; its MACs belong to the row of its first name."""
    kind = _get_type(module)
    if forward is None:
        return Row(name, kind, tuple(parts), None, None, None)
    output = forward.outputs.get(id(module))
    macs = forward.macs[id(module)] if first else 0
    return Row(name, kind, tuple(parts), forward.calls[id(module)], output, macs)


def _get_type(module: nn.Module) -> str:
    """Return the name of a module's class; of the original one if the module is scripted or parametrized."""
    if isinstance(module, ScriptModule):
        return module.original_name
    return next(c.__name__ for c in type(module).__mro__ if c.__module__ != parametrize.__name__)


def _build_part(name: Name, group: Group, dead: bool, modules: Mapping[str, nn.Module]) -> Part:
    owner = group.owner
    source = owner if name.stored is None else name
    parent = modules.get(get_row_name(source.module_name)) if is_parametrization(source.module) else None
    assert source.stored is not None
    shape = source.stored.shape
    factors = derive(source.module, source.attribute, shape, parent)
    return Part(
        name=name.name,
        kind="dead" if dead and name is owner else name.kind,
        own=name.own,
        numel=name.numel,
        derivation=format_shape(shape) if factors is None else format_product(factors),
        words="" if factors is None else format_words(factors),
        owner=owner.name,
        others=tuple(other.name for other in group.names if other is not name),
        transform=name.transform,
    )
