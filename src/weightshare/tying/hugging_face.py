"""Ties that Hugging Face models declare, and configs that disagree with the model."""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from torch import nn

from ..errors import ArgumentError, TieError
from ..parameters.modules import join_names
from .linking import has_equal_values
from .model_ties import iter_ties
from .names import Place, find_owner, get_owner, get_place
from .report import TieWarning, make_warning
from .tie import Tie

#: Attribute of a model class that lists its ties: names of aliases, or a mapping from aliases to sources.
_KEYS = "_tied_weights_keys"


@dataclass(frozen=True)
class Head:
    """The output layer of a language model and its input embedding.

    Args:
        model: Model that contains both.
        output: Name of the weight of the output layer.
        input: Name of the weight of the embedding.
        is_tied: Whether both are one Parameter.
    """

    model: Any
    output: str
    input: str
    is_tied: bool


def find_declared(model: nn.Module) -> dict[str, Tie]:
    """Return the ties that a Hugging Face model and its submodels declare, except those known already.

    Raises:
        ArgumentError: If there is no such model.
        TieError: If the model declared a tie, but loaded a checkpoint in which the ends differ.
    """
    declared: dict[str, str] = {}
    found = False
    for prefix, module in model.named_modules():
        if hasattr(type(module), _KEYS) or _get_embeddings(module) is not None:
            found = True
            ties = _read_keys(module)
            _check_loaded(module, ties)
            declared |= {join_names(prefix, alias): join_names(prefix, ties[alias]) for alias in ties}
    if not found:
        hint = "pass a dictionary {alias: source}"
        expected = '"auto" needs a model that declares its ties, such as a transformers model'
        raise ArgumentError("tie_weights", expected, type(model).__name__, hint)
    known = {get_place(model, alias) for alias, _ in iter_ties(model)}
    return {
        alias: Tie(source)
        for alias, source in declared.items()
        if (place := get_place(model, alias)) not in known and place != get_place(model, source)
    }


def find_heads(model: nn.Module) -> Iterator[Head]:
    """Yield the output layers and embeddings of the language models inside a model."""
    names = {id(module): name for name, module in model.named_modules()}
    seen = set[int]()
    for module in model.modules():
        embeddings = _get_embeddings(module)
        if embeddings is None or id(embeddings[0]) in seen or not {*map(id, embeddings)} <= names.keys():
            continue
        seen.add(id(embeddings[0]))
        output, source = (join_names(names[id(end)], "weight") for end in embeddings)
        yield Head(module, output, source, embeddings[0].weight is embeddings[1].weight)


def warn_of_configs(model: nn.Module) -> Iterator[TieWarning]:
    """Yield the output layers that are tied or untied against the config of their model."""
    for head in find_heads(model):
        says_tied = bool(head.model.config.tie_word_embeddings)
        if head.is_tied and not says_tied:
            yield make_warning("CONFIG_UNTIED", (head.output, head.input))
        if says_tied and not head.is_tied and getattr(type(head.model), _KEYS, None):
            yield make_warning("CONFIG_TIED", (head.output, head.input))


def update_configs(model: nn.Module, changed: Container[Place]) -> None:
    """Set `tie_word_embeddings` of the configs of output layers that were tied or untied.

    Args:
        changed: Aliases that were tied or untied.
    """
    for head in find_heads(model):
        if get_place(model, head.output) in changed or get_place(model, head.input) in changed:
            head.model.config.tie_word_embeddings = head.is_tied


def _get_embeddings(module: Any) -> tuple[Any, Any] | None:
    """Return the output layer and the input embedding of a Hugging Face model, or None if it has none.

    Layers inside adapters are ignored, because their weights are computed.
    """
    config = vars(module).get("config")
    if not hasattr(config, "tie_word_embeddings") or not hasattr(type(module), "get_output_embeddings"):
        return None
    try:
        embeddings = module.get_output_embeddings(), module.get_input_embeddings()
    except NotImplementedError:
        return None
    has_weights = all(
        isinstance(end, nn.Module) and find_owner(end, "weight") is not None for end in embeddings
    )
    return embeddings if has_weights else None


def _read_keys(module: Any) -> dict[str, str]:
    """Return the ties that one Hugging Face model declares, in the format of transformers 4 or 5."""
    keys = getattr(module, _KEYS, None) or []
    if not getattr(getattr(module, "config", None), "tie_word_embeddings", True):
        return {}
    names = sorted(name for name, _ in module.named_parameters(remove_duplicate=False))
    if hasattr(module, "get_expanded_tied_weights_keys"):
        ties = module.get_expanded_tied_weights_keys(all_submodels=False)
        return {alias: source for alias, source in ties.items() if find_owner(module, alias) is not None}
    if isinstance(keys, Mapping):
        ends = [[[n for n in names if re.match(key, n)] for key in pair] for pair in keys.items()]
        return {alias: source for aliases, sources in ends for alias, source in zip(aliases, cycle(sources))}
    return {**_find_sources(module, keys), **_read_head(module)}


def _find_sources(module: nn.Module, keys: Any) -> dict[str, str]:
    """Return the first other name of each Parameter that is listed as an alias."""
    named = list(module.named_parameters(remove_duplicate=False))
    listed = {name for name, _ in named if any(re.search(key, name) for key in keys)}
    sources = {id(parameter): name for name, parameter in reversed(named) if name not in listed}
    return {name: sources[id(p)] for name, p in named if name in listed and id(p) in sources}


def _read_head(module: nn.Module) -> dict[str, str]:
    """Return the tie of the model's own output layer to its embedding."""
    return {head.output: head.input for head in find_heads(module) if head.model is module}


def _check_loaded(module: Any, ties: Mapping[str, str]) -> None:
    """Raise an error if transformers found different values at both ends when it loaded the model."""
    tied = getattr(module, "all_tied_weights_keys", ties)
    for alias, source in ties.items():
        (first, name), (second, other) = (get_owner(module, end, "tie_weights") for end in (alias, source))
        if alias not in tied and not has_equal_values(getattr(first, name), getattr(second, other)):
            expected = f"must have the values of {source!r}, because the model declares this tie"
            hint = "pass {alias: source} to use the source's values, or set tie_word_embeddings to False"
            raise TieError(f"tie_weights: {alias!r}", expected, "different values", hint)
