"""Keep ties in `load_state_dict`, also with `assign=True`, and raise an error if the two ends differ."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .._args import format_size
from ..errors import TieError
from ..parameters.references import get_declared_ties, get_reference
from .linking import get_transformed_shape, has_equal_values, is_replaced, link_ends, share_parameter
from .names import find_ends
from .tie import apply_transform

#: Attribute of a module while it loads: aliases that the state dict contains without their source.
_ALONE = "_aliases_alone"
#: Attribute of a module while it loads: aliases to leave separate, because one end was replaced.
_REPLACED = "_aliases_replaced"


def keep_ties_when_loading(holder: nn.Module) -> None:
    """Register the hooks that keep the ties declared on a module."""
    holder.register_load_state_dict_pre_hook(_before_loading)
    holder.register_load_state_dict_post_hook(_after_loading)


def make_conflict_error(alias: str, source: str, values: tuple[Tensor, Tensor]) -> TieError:
    """Return the error for a state dict in which the two ends of a tie differ."""
    shapes = [format_size(value.shape) for value in values]
    if shapes[0] != shapes[1]:
        expected, got = f"{alias} and {source} must have fitting shapes, because they are tied", "{} and {}"
        hint = "use a checkpoint in which both were resized, or untie the model first"
        return TieError("load_state_dict", expected, got.format(*shapes), hint)
    return TieError(
        "load_state_dict",
        f"{alias} and {source} must have equal values, because they are tied",
        "different values",
        "set on_conflict in weightshare.tying.load_state_dict or load_safetensors to 'source', 'alias' or "
        "'mean', or untie the model first",
    )


def _before_loading(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Raise `TieError` if the ends of a tie differ, and move an entry for a reference to its source.

    Such entries come from untied models. Ends that are parametrized or pruned are left to torch.
    """
    for attribute in (_ALONE, _REPLACED):
        vars(module).pop(attribute, None)  # a previous load may have failed and left it
    for alias, tie in reversed(get_declared_ties(module).items()):  # in a chain, the last alias comes first
        ends = find_ends(module, alias, tie.source)
        alias_key, source_key = prefix + alias, prefix + tie.source
        if ends is None:
            continue
        _add_own(state, {alias_key: ends[0], source_key: ends[1]})
        is_given = [_is_given(state, key, end) for key, end in zip((alias_key, source_key), ends)]
        if not all(is_given) and is_replaced(*ends):
            vars(module).setdefault(_REPLACED, set()).add(alias)
        if not is_given[0]:
            continue
        source, is_reference = getattr(*ends[1]), get_reference(*ends[0]) is not None
        has_source = source_key in state if is_reference else is_given[1]
        if not has_source and not is_reference:
            vars(module).setdefault(_ALONE, set()).add(alias)
        if get_transformed_shape(tie.transform, state[alias_key], source) is None:
            continue  # torch reports the wrong shape
        value = apply_transform(tie.transform, state[alias_key], source.shape)
        if has_source and not has_equal_values(value, state[source_key]):
            raise make_conflict_error(alias_key, source_key, (value, state[source_key]))
        if is_reference:
            del state[alias_key]
            state.setdefault(source_key, value)


def _is_given(state: Mapping[str, Any], key: str, owner: tuple[nn.Module, str]) -> bool:
    """Return whether a state dict has a value for a parameter.

    For names that a state dict lacks, `torch.distributed.checkpoint` adds the parameter itself.
    """
    return isinstance(value := state.get(key), Tensor) and value is not _get_own(owner)


def _add_own(state: dict[str, Any], ends: Mapping[str, tuple[nn.Module, str]]) -> None:
    """Add the other end of a tie if a state dict has the parameter itself for one end.

    To broadcast a state dict, `torch.distributed.checkpoint` writes into the parameters that it names, and
    adds only these.
    """
    alias, source = map(_get_own, ends.values())
    if alias is source and alias is not None and any(state.get(key) is alias for key in ends):
        for key in ends:
            state.setdefault(key, alias)


def _get_own(owner: tuple[nn.Module, str]) -> nn.Parameter | None:
    module, attribute = owner
    return module._parameters.get(attribute)


def _after_loading(module: nn.Module, incompatible: Any) -> None:
    """Tie both ends again, because loading with `assign=True` gives each one its own Parameter."""
    alone, replaced = (vars(module).pop(attribute, set()) for attribute in (_ALONE, _REPLACED))
    for alias, tie in get_declared_ties(module).items():
        ends = find_ends(module, alias, tie.source)
        if ends is None or alias in replaced or get_reference(*ends[0]) is not None:
            continue
        if alias in alone:  # only the alias was loaded, so its value is used
            share_parameter(*ends)
        else:
            link_ends(module, alias, tie)
