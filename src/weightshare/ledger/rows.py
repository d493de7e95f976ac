"""A row for every module that has or reads parameters; the rows' own elements add up to the model's."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch.nn import Module

from ..parameters.groups import Group, Name
from ..parameters.modules import modules_of
from ..parameters.storage import storage_of
from .derivation import expression, factors_of, is_parametrization, shape_text, words
from .forward import Watched


@dataclass(frozen=True)
class Part:
    """One parameter of a row.

    Args:
        kind: As `groups.Name.kind`, or "dead": nothing read it in the forward pass.
        own: Elements that no row before has.
        derivation: A product that Python evaluates to its number of elements.
        words: The same with what each factor counts; empty where only the shape is known.
        owner: The name that has its elements, its own if it is that.
        others: All other names of them.
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
        return self.name.rpartition(".")[2]

    @property
    def is_bias(self) -> bool:
        return "bias" in self.attribute


@dataclass(frozen=True)
class Row:
    """One module: its own parameters, not those of the modules inside it.

    Args:
        calls: Of it in the forward pass; None without one.
        output_shape: Of the last call.
        macs: Multiplications with their additions, computed in the module itself.
    """

    name: str
    type: str
    parts: tuple[Part, ...]
    calls: int | None
    output_shape: tuple[int, ...] | None
    macs: int | None

    @property
    def own_unique(self) -> int:
        """Elements that no row before has."""
        return sum(part.own for part in self.parts)

    @property
    def own_registered(self) -> int:
        """Elements of all parameters registered here, whoever owns them."""
        return sum(part.numel for part in self.parts if part.kind != "reference")

    @property
    def biases(self) -> int:
        """Those of its own elements that are biases."""
        return sum(part.own for part in self.parts if part.is_bias)

    @property
    def derivation(self) -> str:
        """What Python evaluates to `own_unique`."""
        return (
            " + ".join(p.derivation if p.own == p.numel else str(p.own) for p in self.parts if p.own) or "0"
        )

    @property
    def shared_with(self) -> tuple[str, ...]:
        """Other names of its elements."""
        return tuple(dict.fromkeys(other for part in self.parts for other in part.others))

    def to_dict(self) -> dict[str, Any]:
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


def rows_of(model: Module, groups: Iterable[Group], watched: Watched | None) -> tuple[Row, ...]:
    """The rows in the order of the model's modules."""
    modules = dict(modules_of(model))
    parts: dict[str, list[Part]] = {}
    for group in groups:
        dead = is_dead(group, watched)
        for name in group.names:
            parts.setdefault(row_name(name.module_name), []).append(_part(name, group, dead, modules))
    multiplied = set() if watched is None else set(watched.macs)
    rows, seen = [], set()
    for name, module in modules.items():
        first = id(module) not in seen
        seen.add(id(module))
        if name in parts or (first and id(module) in multiplied):
            rows.append(_row(name, module, parts.get(name, []), watched, first))
    return tuple(rows)


def is_dead(group: Group, watched: Watched | None) -> bool:
    """Whether a whole forward pass read none of a group's memory."""
    if watched is None or watched.failed is not None:
        return False
    storages = [storage_of(name.parameter) for name in group.names if name.parameter is not None]
    return None not in storages and not watched.read & set(storages)


def _row(name: str, module: Module, parts: list[Part], watched: Watched | None, first: bool) -> Row:
    kind = getattr(module, "original_name", type(module).__name__)  # of a scripted module
    if hasattr(module, "parametrizations"):
        kind = next(c.__name__ for c in type(module).__mro__ if not c.__name__.startswith("Parametrized"))
    if watched is None:
        return Row(name, kind, tuple(parts), None, None, None)
    output = watched.outputs.get(id(module))
    macs = watched.macs[id(module)] if first else 0
    return Row(name, kind, tuple(parts), watched.calls[id(module)], output, macs)


def _part(name: Name, group: Group, dead: bool, modules: dict[str, Module]) -> Part:
    owner = group.owner
    source = owner if name.parameter is None else name
    parent = modules.get(row_name(source.module_name)) if is_parametrization(source.module) else None
    assert source.parameter is not None
    factors = factors_of(source.module, source.attribute, source.parameter, parent)
    return Part(
        name.name,
        "dead" if dead and name is owner else name.kind,
        name.own,
        name.numel,
        shape_text(source.parameter) if factors is None else expression(factors),
        "" if factors is None else words(factors),
        owner.name,
        tuple(other.name for other in group.names if other is not name),
        name.transform,
    )


def row_name(module_name: str) -> str:
    """The module that a parametrization belongs to; any other as it is."""
    head, found, _ = f".{module_name}".rpartition(".parametrizations.")
    return head[1:] if found else module_name


def all_names(groups: Iterable[Group]) -> Iterator[Name]:
    """Every registered name and reference."""
    for group in groups:
        yield from group.names
