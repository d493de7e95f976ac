"""`tie_weights` and `untie_weights`: declare ties, and remove them."""

from collections.abc import Collection, Mapping
from typing import Literal, TypeVar

import torch
from torch.jit import ScriptModule
from torch.nn import Module, Parameter, RNNBase
from torch.nn.parameter import is_lazy

from .._args import format_size
from ..errors import ArgumentError, TieError
from ..parameters.modules import check_module, is_keras_list
from ..parameters.references import get_reference
from .derived import make_reading_class, stop_reading
from .faults import find_fault
from .find import find_tied_weights
from .fragile import list_undeclared
from .globs import expand_ties, select_aliases
from .hugging_face import find_declared, update_configs
from .linking import get_transformed_shape, link_ends
from .model_ties import Link, forget_ties, get_links, iter_ties, record_ties
from .names import Place, find_owner, get_owner, get_place
from .report import CODES
from .tie import Tie

_Module = TypeVar("_Module", bound=Module)
#: Codes of ties whose alias shares nothing with its source.
_SEPARATE = {"BROKEN_TIE", "REPLACED_END", "RESIZED_END", "REMOVED_END", "QUANT_UNTIED"}


def tie_weights(model: _Module, ties: Mapping[str, str | Tie] | Literal["auto"]) -> _Module:
    """Make parameters use the weights of other parameters, and declare these ties.

    With the same shape and no transform, the alias becomes the source's Parameter. With a transform it
    becomes a reference, which is read from the source at each use: it has no Parameter, and no entry in the
    state dict.

    If both names are those of modules, each parameter of the alias is tied to the one of the same name in the
    source. An alias may be a glob, in which `*`, `?` and `[...]` match characters other than dots:
    `{"layers.*": "layers.0"}` ties all layers to the first one, and `{"layers.*.attn": "layers.0.attn"}` only
    their attention. A glob does not match its own source. Aliases that are already tied to this source are
    left unchanged, so the same glob can be used again after layers are added.

    A tie follows its modules if they are renamed or moved inside the model. All ties are checked first, so an
    error leaves the model unchanged. Tie weights before you create the optimizer. Ties declared on a parent
    of `model` are not visible here; `check_tied_weights(parent)` reports those that a new tie breaks.

    If the output layer of a Hugging Face model becomes tied to its embedding, `tie_word_embeddings` of the
    model's config is set to True, because otherwise `from_pretrained` would not tie them.

    Args:
        ties: Mapping from the name of each alias to the name of its source, or to a `Tie`. `"auto"` declares
            the ties that a Hugging Face model lists in `_tied_weights_keys` and its config.

    Returns:
        The model itself.

    Raises:
        ArgumentError: If `model` is not a module, `ties` is not a mapping, a name is neither a parameter nor
            a module, a glob has no match, or the model for `"auto"` does not declare ties.
        TieError: If shapes or dtypes do not fit, modules have different parameters, ties form a cycle, or an
            alias is already tied or is itself the source of another tie.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(20, 8), torch.nn.Linear(8, 20))
        >>> tie_weights(model, {"1.weight": Tie("0.weight", transform="t")})[1].weight.shape
        torch.Size([20, 8])
        >>> [name for name, _ in model.named_parameters()]
        ['0.weight', '0.bias', '1.bias']
        >>> stack = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(12)))
        >>> sum(p.numel() for p in tie_weights(stack, {"*": "0"}).parameters())
        72
    """
    check_module("tie_weights", model)
    if isinstance(ties, Mapping):
        requested = expand_ties(model, ties)
    elif ties == "auto":
        requested = find_declared(model)
    else:
        expected = 'ties must map aliases to sources, or be "auto"'
        raise ArgumentError("tie_weights", expected, type(ties).__name__)
    order, known = _sort_sources_first(model, requested), _KnownTies(model)
    for alias in order:
        _check(model, alias, requested[alias], known)
    forget_ties(model, requested)  # ties that lost their module
    for alias in order:
        link_ends(model, alias, requested[alias])
    record_ties(model, {alias: requested[alias] for alias in order})
    update_configs(model, {get_place(model, alias) for alias in requested})
    return model


def untie_weights(model: _Module, name: str) -> _Module:
    """Give an alias its own Parameter with the current values, and remove its tie.

    A tie that was made by assignment is removed, too. A tie that does not hold, for example because the
    module at one end was removed, is only removed. Create the optimizer after untying.

    Args:
        name: Current name of the alias, or, if its module was removed, its last name. The name of a module or
            a glob as in `tie_weights` stands for all aliases in the module or modules.

    Returns:
        The model itself.

    Raises:
        ArgumentError: If `model` is not a module, or the name is neither a parameter nor an alias.
        TieError: If the parameter is not an alias, is the source of another tie, or is parametrized or
            pruned. The model is then unchanged.
    """
    check_module("untie_weights", model)
    links = get_links(model)
    ties = {alias: link.tie for alias, link in links.items()}
    undeclared = {tie.alias for tie in list_undeclared(model, ties, find_tied_weights(model))}
    known = [*links, *sorted(undeclared - links.keys())]
    aliases = dict.fromkeys(select_aliases(model, name, known))
    if not aliases:
        get_owner(model, name, "untie_weights")
        others = f"use one of {', '.join(map(repr, known))}" if known else "this module has no ties"
        hint = f"{others}; if the source is outside of this module, call untie_weights on a parent module"
        raise TieError("untie_weights", "name must be an alias", repr(name), hint)
    untie_aliases(model, aliases)
    return model


@torch.no_grad()
def untie_aliases(model: Module, aliases: Collection[str]) -> None:
    """Give each of these aliases its own Parameter with the current values, and remove its tie.

    Raises:
        TieError: If an alias is the source of a tie that remains, or is parametrized or pruned. The model is
            then unchanged.
    """
    links = get_links(model)
    kept = [link for link in links.values() if link.is_known and link.alias not in aliases]
    remaining = {link.tie.source: link.alias for link in kept}
    for alias in aliases:
        if alias in remaining and (alias not in links or links[alias].is_known):
            got = f"the source of {remaining[alias]!r}"
            raise TieError(f"untie_weights: {alias!r}", "must not be a source", got, "untie it first")
    owners = [
        _find_shared(model, links[alias]) if alias in links else find_owner(model, alias) for alias in aliases
    ]
    for owner in owners:
        if owner is not None:
            _make_own(*owner)
    forget_ties(model, aliases)
    update_configs(model, {get_place(model, alias) for alias in aliases})


def _find_shared(model: Module, link: Link) -> tuple[Module, str] | None:
    """Return the owner of an alias that shares its weight, or None if it is already separate.

    Raises:
        TieError: If the alias is parametrized or pruned.
    """
    alias, where = link.alias, f"untie_weights: {link.alias!r}"
    code, owner = find_fault(model, link), find_owner(model, alias)
    if owner is None and code in ("NORM_ON_TIED", "PRUNE_ON_TIED"):
        got, hint = f"{code}: {CODES[code].meaning}", "remove the parametrization or pruning first"
        raise TieError(where, "must not be parametrized or pruned", got, hint)
    if owner is not None and get_reference(*owner) is not None:
        make_reading_class(type(owner[0]), ())  # raises an error if the class does not allow it
        return owner
    return None if code in _SEPARATE else owner


def _make_own(module: Module, attribute: str) -> None:
    """Give an alias its own Parameter with the current values."""
    with torch.enable_grad():  # a value that is computed from parameters, as in weight normalization
        value = getattr(module, attribute)
    own = Parameter(value.detach().clone(memory_format=torch.contiguous_format), value.requires_grad)
    if get_reference(module, attribute) is not None:
        stop_reading(module, attribute)
    if isinstance(module, ScriptModule):
        setattr(module, attribute, own)
    else:  # a new dictionary, because a shallow copy of the module shares the current one
        module._parameters = {**module._parameters, attribute: own}


def _sort_sources_first(model: Module, ties: Mapping[str, Tie]) -> list[str]:
    """Return the aliases in an order in which each one follows its source.

    Raises:
        TieError: If an alias is given under two names, or ties form a cycle.
    """
    alias_at: dict[Place, str] = {}
    for alias in ties:
        if (other := alias_at.setdefault(_get_existing_place(model, alias), alias)) != alias:
            got = f"{other!r} and {alias!r}, two names of one parameter"
            raise TieError("tie_weights", "each alias must be given once", got)
    order: dict[str, None] = {}
    for first in ties:
        chain: list[str] = []
        name: str | None = first
        while name is not None and name not in order:
            if name in chain:
                cycle = " -> ".join([*chain[chain.index(name) :], name])
                got = f"a tie to itself: {name}" if chain[-1] == name else f"a cycle: {cycle}"
                raise TieError("tie_weights", "ties must lead to a parameter that is not an alias", got)
            chain.append(name)
            name = alias_at.get(_get_existing_place(model, ties[name].source))
        order |= dict.fromkeys(reversed(chain))
    return list(order)


def _get_existing_place(model: Module, name: str) -> Place:
    """Return the same key for all names of a parameter, or raise `ArgumentError` if it does not exist."""
    module, attribute = get_owner(model, name, "tie_weights")
    return id(module), attribute


class _KnownTies:
    """The ties that a model has, and the references that are about to be made."""

    def __init__(self, model: Module):
        ties = [
            (find_owner(model, alias), find_owner(model, tie.source), alias, tie)
            for alias, tie in iter_ties(model)
        ]
        #: Name of the source of each alias.
        self.source_of = {owner: tie.source for owner, _, _, tie in ties}
        #: Name of one alias of each source.
        self.alias_of = {source: alias for _, source, alias, _ in ties}
        #: Aliases that were checked and will become references.
        self.future_references: set[tuple[Module, str]] = set()


def _check(model: Module, alias: str, tie: Tie, known: _KnownTies) -> None:
    """Raise an error if a tie cannot be made."""
    module, attribute = get_owner(model, alias, "tie_weights")
    source, source_attribute = get_owner(model, tie.source, "tie_weights")
    where = f"tie_weights: {alias!r}"
    if isinstance(module, ScriptModule) or isinstance(source, ScriptModule):
        raise TieError(
            where, "must not belong to a scripted module", "one", "tie the weights before scripting"
        )
    for name in (alias, tie.source):
        if is_keras_list(name):
            got, hint = f"{name!r}, which the layer does not read", "use the same layer at both places"
            raise TieError(where, "both ends must not belong to a Keras layer", got, hint)
    if (module, attribute) in known.source_of:
        got = f"an alias of {known.source_of[module, attribute]!r}"
        raise TieError(where, "must not be tied already", got, "untie it first")
    if (module, attribute) in known.alias_of:
        other = known.alias_of[module, attribute]
        got, hint = f"the source of {other!r}", f"tie {tie.source!r} to it instead, or untie {other!r}"
        raise TieError(where, "must not be the source of another tie", got, hint)
    if tie.transform is not None and isinstance(module, RNNBase):
        expected = "must belong to a module that reads its weights at each call"
        raise TieError(where, expected, type(module).__name__, "tie it without a transform")
    source_is_reference = (
        get_reference(source, source_attribute) is not None
        or (source, source_attribute) in known.future_references
    )
    if tie.transform is not None or source_is_reference:
        known.future_references.add((module, attribute))
        if get_reference(module, attribute) is None:
            make_reading_class(type(module), (attribute,))  # raises an error if the class does not allow it
    own, value = getattr(module, attribute), getattr(source, source_attribute)
    if is_lazy(own) or is_lazy(value):
        raise TieError(where, "both ends must have a shape", "a lazy parameter", "call the model once first")
    shape = get_transformed_shape(tie.transform, value, own)
    if shape != own.shape:
        after = "" if tie.transform is None else f" after transform {tie.transform!r}"
        raise TieError(
            where,
            f"source {tie.source!r} of shape {format_size(value.shape)} must have the alias's shape "
            f"{format_size(own.shape)}{after}",
            "a shape that does not allow the transform" if shape is None else format_size(shape),
            "use another transform ('t', 'flip', 'reshape'), or tie other weights",
        )
    if (own.dtype, own.device) != (value.dtype, value.device):
        raise TieError(
            where,
            f"must be {value.dtype} on {value.device} like its source",
            f"{own.dtype} on {own.device}",
            "convert one of them with .to()",
        )
