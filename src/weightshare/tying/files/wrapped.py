"""Find the state dict in a checkpoint, and give its entries the names that they have in the model."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import Any

from torch import Tensor

from ...errors import DataError
from .folders import list_names

#: Parts of names that `torch.compile`, FSDP1 and activation checkpointing insert.
INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
#: Number of levels of dictionaries in which a state dict is looked for.
DEPTH = 3


def find_state_dict(
    where: str, checkpoint: object, expected: Set[str], required: Set[str], strict: bool
) -> Mapping[str, Any]:
    """Return the state dict in a checkpoint, with the names of the model.

    Parts of names that `torch.compile` and others insert are removed or added. If the checkpoint then has no
    name of the model, the state dict may be inside other dictionaries, as training scripts write it, and a
    prefix that all names of the checkpoint or of the model have is removed or added.

    Args:
        where: Function or file to name in errors.
        expected: All names of the model.
        required: The names whose values do not follow from those of other names.
        strict: Whether to raise an error if no name fits.

    Raises:
        DataError: If the checkpoint is not a dictionary, or if no state dict in it or several fit the model.
    """
    if not isinstance(checkpoint, Mapping) or not all(isinstance(name, str) for name in checkpoint):
        got = "names that are not text" if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
        expectation = "must be a state dict (a mapping from names to tensors)"
        raise DataError(where, expectation, got, "save model.state_dict()")
    if checkpoint.keys() & expected:
        return _rename(checkpoint, expected, required)
    found = dict(_iter_state_dicts(checkpoint))
    renamed = {key: _rename(state, expected, required) for key, state in found.items()}
    fitting = {key: state for key, state in renamed.items() if state.keys() & expected}
    if len(fitting) > 1:
        got = list_names([f"checkpoint{key}" for key in fitting])
        hint = (
            f"load one of them, e.g. with weightshare.tying.load_state_dict(model, checkpoint{min(fitting)})"
        )
        raise DataError(where, "must have one state dict that fits the model", got, hint)
    if fitting:
        return next(iter(fitting.values()))
    if strict and expected and checkpoint:
        raise _make_error(where, checkpoint, found, expected, required)
    return checkpoint


def _iter_state_dicts(
    content: Mapping[Any, Any], key: str = "", depth: int = DEPTH
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every dictionary from names to tensors, with the expression that leads to it."""
    has_tensors = any(isinstance(value, Tensor) for value in content.values())
    if has_tensors and all(isinstance(name, str) for name in content):
        yield key, content
    for name, value in content.items():
        if isinstance(value, Mapping) and depth > 0:
            yield from _iter_state_dicts(value, f"{key}[{name!r}]", depth - 1)


def _rename(state: Mapping[str, Any], expected: Set[str], required: Set[str]) -> Mapping[str, Any]:
    """Return a state dict with the names of the model, or the same one if it has them or none of them."""
    full = {_remove_inserted(name): name for name in expected}
    found = {name: _remove_inserted(name) for name in state}
    removed = [(prefix, "") for prefix in _list_prefixes(found.values())]
    added = [("", prefix) for prefix in _list_prefixes(map(_remove_inserted, required))]
    for old, new in (("", ""), *removed, *added):
        names = {key: new + name[len(old) :] for key, name in found.items()}
        if full.keys() & names.values():
            names = {key: full.get(name, name) for key, name in names.items()}
            if all(key == name for key, name in names.items()):
                return state
            renamed = OrderedDict((name, state[key]) for key, name in names.items())
            renamed._metadata = _rename_versions(state, old, new)  # pyright: ignore[reportAttributeAccessIssue]
            return renamed
    return state


def _rename_versions(state: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return the versions of modules, which torch attaches to a state dict by their paths."""
    versions: Mapping[str, Any] = getattr(state, "_metadata", {})
    paths = {path: _remove_inserted(f"{path}.") for path in versions}
    return {
        (new + path[len(old) :]).rstrip("."): versions[key]
        for key, path in paths.items()
        if path.startswith(old)
    }


def _remove_inserted(name: str) -> str:
    for part in INSERTED:
        name = name.replace(part, "")
    return name


def _list_prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes that all names have, the shortest first.

    >>> _list_prefixes(["module.net.0.weight", "module.net.0.bias"])
    ['module.', 'module.net.', 'module.net.0.']
    """
    prefixes: list[str] = []
    for parts in zip(*(name.split(".")[:-1] for name in names)):
        if len(set(parts)) > 1:
            break
        prefixes.append("".join(prefixes[-1:]) + parts[0] + ".")
    return prefixes


def _make_error(
    where: str,
    checkpoint: Mapping[str, Any],
    found: Mapping[str, Mapping[str, Any]],
    expected: Set[str],
    required: Set[str],
) -> DataError:
    """Return the error for a checkpoint of which no name is in the model."""
    if not found:
        got = f"a dictionary with {list_names(list(map(repr, checkpoint)))}"
        return DataError(
            where, "must be a state dict (a mapping from names to tensors)", got, "save model.state_dict()"
        )
    key, state = max(found.items(), key=lambda item: len(item[1]))
    names = {_remove_inserted(name) for name in state}
    wanted = {_remove_inserted(name) for name in required}
    inside = f" under checkpoint{key}" if key else ""
    got = f"names such as {min(names)!r}{inside}"
    if (prefix := _find_prefix(wanted, names)) is not None:
        hint = (
            f"this model is the part {prefix[:-1]!r} of the checkpoint: "
            f"keep only those names, without {prefix!r}"
        )
    elif (prefix := _find_prefix(names, {_remove_inserted(name) for name in expected})) is not None:
        hint = f"its names are those of the submodule {prefix[:-1]!r}: load it into that submodule"
    else:
        hint = "use a checkpoint of this model"
    return DataError(
        where, f"must fit the model, which has names such as {min(wanted or expected)!r}", got, hint
    )


def _find_prefix(part: Collection[str], whole: Set[str]) -> str | None:
    """Return a prefix with which all names of a part are in the whole, or None."""
    first = min(part)
    prefixes = [name.removesuffix(first) for name in sorted(whole) if name.endswith(f".{first}")]
    return next((prefix for prefix in prefixes if all(prefix + name in whole for name in part)), None)
