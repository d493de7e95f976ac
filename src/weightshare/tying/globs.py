"""Expand ties between modules, and ties given by globs, to ties between parameters."""

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase

from torch import nn

from .._args import did_you_mean
from ..errors import ArgumentError, TieError
from ..parameters.modules import join_names
from ..parameters.references import find_module
from .model_ties import iter_ties
from .names import find_owner, get_place, iter_names
from .tie import Tie


def expand_ties(model: nn.Module, ties: Mapping[str, str | Tie]) -> dict[str, Tie]:
    """Return the requested ties with one entry per parameter.

    Raises:
        ArgumentError: If a name is neither a parameter nor a module, or a glob matches nothing.
        TieError: If the ends are of different kinds, modules have different parameters, or an alias is given
            twice.
    """
    expanded: dict[str, Tie] = {}
    key_of: dict[str, str] = {}
    tied = {get_place(model, alias): tie for alias, tie in iter_ties(model)}
    for key, requested in ties.items():
        tie = requested if isinstance(requested, Tie) else Tie(requested)
        is_parameter = _is_parameter(model, tie.source)
        for name in _match(model, key, tie.source, is_parameter):
            pairs = [(name, tie)] if is_parameter else _pair_parameters(model, name, tie)
            for alias, own in pairs:
                place = get_place(model, alias)
                if name != key and place in tied and _is_same(model, tied[place], own):
                    continue
                if (other := key_of.setdefault(alias, key)) != key:
                    got = f"{alias!r} by {other!r} and by {key!r}"
                    raise TieError("tie_weights", "each alias must be given once", got)
                expanded[alias] = own
    return expanded


def select_aliases(model: nn.Module, name: str, aliases: Collection[str]) -> list[str]:
    """Return the aliases that a name or glob of aliases or modules stands for."""
    if name in aliases:
        return [name]
    length, is_glob = str(name).count(".") + 1, _is_glob(model, name)
    starts = {alias: ".".join(alias.split(".")[:length]) for alias in aliases}
    return [alias for alias, start in starts.items() if start == name or (is_glob and _fits(start, name))]


def _is_parameter(model: nn.Module, name: object) -> bool:
    """Return whether a name is that of a parameter (True) or a module (False)."""
    if find_owner(model, str(name)) is not None:
        return True
    if isinstance(name, str) and name and find_module(model, name) is not None:
        return False
    hint = did_you_mean(
        name, [*iter_names(model), *_iter_module_names(model)], "list the names with print(model)"
    )
    raise ArgumentError("tie_weights", "names must be parameter names or module names", repr(name), hint)


def _match(model: nn.Module, key: str, source: str, is_parameter: bool) -> list[str]:
    """Return the aliases that a name or glob stands for. A glob does not match its own source."""
    kind = "parameter" if is_parameter else "module"
    if not _is_glob(model, key):
        if _is_parameter(model, key) != is_parameter:
            expected = f"must be a {kind} like its source {source!r}"
            got = "a module" if is_parameter else "a parameter"
            raise TieError(f"tie_weights: {key!r}", expected, got)
        return [key]
    names = list(iter_names(model) if is_parameter else _iter_module_names(model))
    taken = {_identify(model, source, is_parameter)}
    matches: list[str] = []
    for name in names:
        if _fits(name, key) and (identity := _identify(model, name, is_parameter)) not in taken:
            taken.add(identity)
            matches.append(name)
    if not matches:
        expected = f"must match at least one {kind} besides its source {source!r}"
        hint = did_you_mean(key, names, "'*' matches one part of a name, without dots")
        raise ArgumentError(f"tie_weights: {key!r}", expected, "no match", hint)
    return matches


def _is_glob(model: nn.Module, key: object) -> bool:
    """Return whether a key has wildcards and is not itself the name of a parameter or module."""
    if not isinstance(key, str) or not set(key) & set("*?["):
        return False
    return find_owner(model, key) is None and find_module(model, key) is None


def _fits(name: str, glob: str) -> bool:
    """Return whether a name fits a glob; wildcards do not match dots.

    >>> _fits("layers.1.attn", "layers.*.attn"), _fits("layers.1.attn", "layers.*")
    (True, False)
    """
    parts, globs = name.split("."), glob.split(".")
    return len(parts) == len(globs) and all(map(fnmatchcase, parts, globs))


def _identify(model: nn.Module, name: str, is_parameter: bool) -> object:
    """Return the same key for all names of a parameter or module."""
    return get_place(model, name) if is_parameter else id(find_module(model, name))


def _pair_parameters(model: nn.Module, name: str, tie: Tie) -> Iterator[tuple[str, Tie]]:
    """Yield the tie of each parameter of a module to the one of the same name in the source module."""
    where = f"tie_weights: {name!r}"
    if tie.transform is not None:
        expected = "must be tied without a transform, because it is a module"
        raise TieError(where, expected, repr(tie.transform), "tie its parameters")
    if find_module(model, name) is find_module(model, tie.source):
        raise TieError("tie_weights", "ties must lead to another module", f"a tie to itself: {name}")
    own, others = (_list_names(model, path) for path in (name, tie.source))
    if not others:
        raise TieError(where, f"source {tie.source!r} must have parameters", "none")
    if own != others and (different := sorted({*own} ^ {*others})):
        got = f"{different[0]!r} only in {(name if different[0] in own else tie.source)!r}"
        expected = f"must have the same parameters as {tie.source!r}"
        raise TieError(where, expected, got, "tie the parameters by name")
    taken = set[object]()
    for parameter in own:
        alias, source = join_names(name, parameter), join_names(tie.source, parameter)
        place = get_place(model, alias)
        if place != get_place(model, source) and place not in taken:
            taken.add(place)
            yield alias, Tie(source)


def _list_names(model: nn.Module, path: str) -> list[str]:
    """Return every name of every parameter in the module at a path."""
    module = find_module(model, path)
    return [] if module is None else list(iter_names(module))


def _is_same(model: nn.Module, first: Tie, second: Tie) -> bool:
    """Return whether two ties have the same source and transform."""
    sources = (get_place(model, tie.source) for tie in (first, second))
    return len(set(sources)) == 1 and first.transform == second.transform


def _iter_module_names(model: nn.Module) -> Iterator[str]:
    """Yield every name of every submodule."""
    yield from (name for name, _ in model.named_modules(remove_duplicate=False) if name)
