"""Give names of tied parameters their own copies, even if a module is registered under several names."""

import copy
from collections import Counter
from collections.abc import Collection
from typing import Any

from torch import nn

from ..parameters.modules import join_names
from .declare import untie_aliases
from .names import get_owner


def separate(model: nn.Module, names: Collection[str]) -> None:
    """Give the parameter of each name its own copy, so that it shares elements with no other name.

    A module that is registered under several names becomes a copy of its own under each of these names; its
    other parameters stay shared.

    Args:
        model: Model that is changed.
        names: Names of parameters or references, as in `find_tied_weights`.

    Raises:
        ArgumentError: If a name is not that of a parameter.
        TieError: If another name reads its values from one of the names, or one is parametrized or pruned.
    """
    for name in names:
        get_owner(model, name, "untie_weights")  # raises an error if it does not exist
        _split_modules(model, name.rpartition(".")[0])
    untie_aliases(model, names)


def _split_modules(model: nn.Module, path: str) -> None:
    """Replace each module on a path that has other names, too, by a copy with the same Parameters."""
    prefix = ""
    for part in path.split(".") if path else ():
        prefix = join_names(prefix, part)
        module = model.get_submodule(prefix)
        counts = Counter(id(other) for _, other in model.named_modules(remove_duplicate=False))
        if counts[id(module)] > 1:
            inside = set(module.modules())
            memo: dict[int, Any] = {id(other): other for other in model.modules() if other not in inside}
            memo |= {id(parameter): parameter for parameter in model.parameters()}
            model.set_submodule(prefix, copy.deepcopy(module, memo))
