"""`check_tied_weights` and `retie_weights`: whether declared ties hold, what broke them, and mending them."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.fx import GraphModule
from torch.nn import Linear, Module
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from ..errors import ArgumentError, TieError
from ..parameters.groups import REFERENCES
from ..parameters.modules import declared_name, joined
from ..parameters.storage import overlap, storage_of
from .declared import agree, establish, ties_of
from .find import TieGroup, find_tied_weights
from .names import Place, module_at, place_of
from .reference import reference_of
from .sharding import is_split
from .tie import Tie


@dataclass(frozen=True)
class TieWarning:
    """Something found about ties.

    Args:
        code: See `CODES`.
        names: The alias and its source, or all names that share.
        text: What it is, its likely cause and the repair.
    """

    code: str
    names: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class TieReport:
    """What `check_tied_weights` found; `str` is the audit.

    Args:
        intact: The aliases whose declared tie holds, with their ties.
        broken: Ties that do not hold: declared ones, and built-in ones without their source.
        warnings: Ties that hold and are fragile, or were never declared.
    """

    intact: tuple[tuple[str, Tie], ...]
    broken: tuple[TieWarning, ...]
    warnings: tuple[TieWarning, ...]

    @property
    def ok(self) -> bool:
        """Whether all ties hold, declared and built-in."""
        return not self.broken

    def __str__(self) -> str:
        lines = [f"ties that hold: {len(self.intact)}, broken: {len(self.broken)}"]
        for alias, tie in self.intact:
            how = f" ({tie.transform})" if tie.transform else ""
            lines.append(f"  intact  {alias} = {tie.source}{how}")
        lines += [f"  {note.code}  {note.text}" for note in (*self.broken, *self.warnings)]
        return "\n".join(lines)


#: What can be wrong with a tie, its likely cause and the repair.
CODES = {
    "BROKEN_TIE": "they are separate now, as after to_empty(), a move between kinds of devices or a replaced "
    "module; retie_weights takes the source's values, if its shape still fits",
    "ZOMBIE_TIE": "two Parameters on one memory, as after loading by assignment: an optimiser steps twice; "
    "retie_weights makes them one",
    "NORM_ON_TIED": "a parametrization such as weight_norm or spectral_norm gives one end other numbers; "
    "remove it, then retie_weights",
    "PRUNE_ON_TIED": "pruning masks one end alone, or each in another way; make it permanent by "
    "prune.remove, then retie_weights",
    "QUANT_UNTIED": "quantising replaced one end by integers of its own; untie_weights first, or "
    "leave both ends as they are",
    "SPLIT_FSDP_GROUP": "they are in different FSDP2 groups, and the weight is gathered for its own alone; "
    "shard anew: for group in fsdp_groups(model): fully_shard(group)",
    "VIEW_TIE": "two Parameters on one memory: copying, casting or an optimiser with state parts them; use "
    "tie_weights with a transform",
    "UNDECLARED_TIE": "the same Parameter, by assignment; tie_weights keeps it through loading and to_empty",
    "LOST_SOURCE": "it reads its weight from a module that is not part of this model, since the encoder was "
    "replaced or this is a decoder alone, and no checkpoint has the weight; tie it to the new encoder by "
    "tie_weights, or keep the encoder in the model",
    "OFFLOADED": "accelerate has offloaded one end, and brings it back for its own module alone; keep both "
    "on a device",
    "LAZY": "it has no shape before the first call, so no tie of it holds; call the model once, then "
    "tie_weights",
    "DEAD_PARAM": "the original of a parametrization, without a gradient while its module has others: the "
    "parametrization may ignore it; see by summary(model, x) whether nothing reads it",
    "EXPORT_LOAD_UNTIES": "torch.export.save and load make two Parameters on one memory of them, which an "
    "optimiser steps both; use tie_weights on the loaded module",
    "ONNX_LEGACY_DOUBLES": "torch.onnx.export(dynamo=False) may write it once more, transposed for a linear "
    "layer; use dynamo=True",
    "SAFETENSORS_REFUSES": "safetensors.torch.save_file takes no two names of one memory; use "
    "save_safetensors",
    "DUP_IN_OPTIMIZER": "the optimiser has it more than once and steps it as often; give it "
    "model.parameters(), which has each once",
}

#: What a format of files does to two names of one weight.
SAVING = {
    "export": "EXPORT_LOAD_UNTIES",
    "onnx": "ONNX_LEGACY_DOUBLES",
    "safetensors": "SAFETENSORS_REFUSES",
}


def check_tied_weights(
    model: Module,
    *,
    optimizer: Optimizer | None = None,
    saving: Literal["export", "onnx", "safetensors"] | None = None,
    strict: bool = False,
) -> TieReport:
    """Whether every declared tie holds; what broke it, and what other ties there are.

    Args:
        optimizer: Also whether it has any parameter twice.
        saving: Also what a file would make of the ties: "export" (`torch.export.save`), "onnx"
            (`torch.onnx.export` with `dynamo=False`) or "safetensors" (`save_file` of the state dict).
        strict: Raise if a tie is broken.

    Raises:
        ArgumentError: another word for `saving`.
        TieError: with `strict`, naming the first broken tie, its likely cause and the repair.

    Example:
        >>> import torch
        >>> from weightshare.tying import tie_weights
        >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False))
        >>> print(check_tied_weights(tie_weights(model, {"1.weight": "0.weight"})))
        ties that hold: 1, broken: 0
          intact  1.weight = 0.weight
    """
    if saving is not None and saving not in SAVING:
        expected = f"saving must be None, {', '.join(map(repr, sorted(SAVING)))}"
        raise ArgumentError("check_tied_weights", expected, repr(saving), "use one")
    declared = list(ties_of(model))
    codes = [_state(model, alias, tie) for alias, tie in declared]
    broken = [
        _warning(code, (alias, tie.source)) for (alias, tie), code in zip(declared, codes) if code is not None
    ]
    broken += _lost(model, dict(declared))
    intact = [pair for pair, code in zip(declared, codes) if code is None]
    found = find_tied_weights(model)
    warnings = [
        *_of_ties(model, dict(declared), found),
        *_of_parameters(model, optimizer),
        *_in_file(model, found, saving),
    ]
    report = TieReport(tuple(intact), tuple(broken), tuple(warnings))
    if strict and broken:
        first = broken[0]
        expected = (
            f"must be tied to {first.names[1]!r}" if first.names[1:] else "must be tied inside the model"
        )
        raise TieError(
            f"check_tied_weights: {first.names[0]!r}",
            expected,
            f"{first.code}, {CODES[first.code].partition(';')[0]}",
            CODES[first.code].partition("; ")[2],
        )
    return report


def retie_weights(model: Module) -> TieReport:
    """Re-establish the declared ties that came apart, with the source's values.

    Ends that a parametrization, pruning, quantising or offloading changed are left as they are, and reported.

    Returns:
        The report of the model as it is then.
    """
    for alias, tie in ties_of(model):
        if _state(model, alias, tie) in ("BROKEN_TIE", "ZOMBIE_TIE"):
            establish(model, alias, tie)
    return check_tied_weights(model)


def _state(model: Module, alias: str, tie: Tie) -> str | None:
    """The code of what is wrong with a declared tie; None where it holds."""
    (path, _, attribute), (source_path, _, source_attribute) = (
        name.rpartition(".") for name in (alias, tie.source)
    )
    module, source = module_at(model, path), module_at(model, source_path)
    if module is None or source is None:
        return "BROKEN_TIE"
    reference = reference_of(module, attribute)
    if reference is not None:
        if reference.module is source and reference.name == source_attribute:
            if _is_offloaded(source, source_attribute):
                return "OFFLOADED"
            unread = tie.transform is not None and _is_quantised(source, source_attribute)
            return "QUANT_UNTIED" if unread else None
        return _changed(source, source_attribute) or "BROKEN_TIE"
    own, value = _parameter(module, attribute), _parameter(source, source_attribute)
    if own is value and own is not None and tie.transform is None:
        return _differs((module, attribute), (source, source_attribute))
    for end, name in ((module, attribute), (source, source_attribute)):
        if (code := _changed(end, name)) is not None:
            return code
    if own is None or value is None:
        return "BROKEN_TIE"
    place = storage_of(own)
    return "ZOMBIE_TIE" if place is not None and place == storage_of(value) else "BROKEN_TIE"


def _differs(*ends: tuple[Module, str]) -> str | None:
    """The code of what makes other numbers of one Parameter at one of two ends."""
    first, second = (module._buffers.get(f"{name}_mask") for module, name in ends)
    if first is not None or second is not None:
        return "PRUNE_ON_TIED" if first is None or second is None or not agree(first, second) else None
    first, second = (_parametrizations(module, name) for module, name in ends)
    return None if first == second else "NORM_ON_TIED"


def _parametrizations(module: Module, name: str) -> tuple[object, ...]:
    """The classes of what works on a parameter, and whether an old norm does."""
    lists = getattr(module, "parametrizations", {})
    old = f"{name}_orig" in module._parameters
    return (old, *map(type, lists[name])) if name in lists else (old,)


def _parameter(module: Module, name: str) -> Tensor | None:
    """The Parameter of a name, also where a parametrization, an old norm or pruning works on it."""
    lists = getattr(module, "parametrizations", {})
    if name in lists:
        return lists[name]._parameters.get("original")
    own = module._parameters.get(name)
    return module._parameters.get(f"{name}_orig") if own is None else own


def _changed(module: Module, name: str) -> str | None:
    """What replaced a parameter of this name by numbers of its own."""
    if name in getattr(module, "parametrizations", ()) or f"{name}_v" in module._parameters:
        return "NORM_ON_TIED"
    if f"{name}_orig" in module._parameters:
        return "PRUNE_ON_TIED" if f"{name}_mask" in module._buffers else "NORM_ON_TIED"
    if _is_offloaded(module, name):
        return "OFFLOADED"
    quantised = type(module).__module__.startswith("torch.ao.nn.") or _is_quantised(module, name)
    return "QUANT_UNTIED" if quantised else None


def _is_offloaded(module: Module, name: str) -> bool:
    """Whether a hook of accelerate's lends the module its parameter for each call."""
    return hasattr(module, "_hf_hook") and getattr(module._parameters.get(name), "is_meta", False)


def _is_quantised(module: Module, name: str) -> bool:
    """Whether torchao has put a tensor of its own in the place of a parameter."""
    return type(module._parameters.get(name)).__module__.startswith("torchao.")


def _lost(model: Module, ties: Mapping[str, Tie]) -> Iterator[TieWarning]:
    """References from outside of the model, other than by a declared tie."""
    inside = {id(module) for module in model.modules()}
    declared = {place_of(model, alias) for alias in ties}
    for prefix, module in model.named_modules():
        for attribute, reference in vars(module).get(REFERENCES, {}).items():
            if id(reference.module) not in inside and (id(module), attribute) not in declared:
                yield _warning("LOST_SOURCE", (joined(prefix, attribute),))


def _of_ties(model: Module, ties: Mapping[str, Tie], found: Sequence[TieGroup]) -> Iterator[TieWarning]:
    """Ties that are fragile, that nobody declared, or whose ends are too far apart."""
    for alias, tie in ties.items():
        if is_split(model, alias, tie.source):
            yield _warning("SPLIT_FSDP_GROUP", (alias, tie.source))
    sources = {place_of(model, alias): tie.source for alias, tie in ties.items()}
    for tie in found:
        names = (tie.source, tie.alias)
        first, second = (_way(model, name, sources) for name in names)
        if first & second:
            continue  # a declared one
        if tie.kind == "view":
            yield _warning("EXPORT_LOAD_UNTIES" if isinstance(model, GraphModule) else "VIEW_TIE", names)
        elif tie.kind == "same_parameter":
            yield _warning("UNDECLARED_TIE", names)


def _way(model: Module, name: str, sources: Mapping[Place, str]) -> set[Place]:
    """Where the ties lead to from a name, itself included; modules put in other places may close a circle."""
    way: set[Place] = set()
    for place in (place_of(model, name), place_of(model, declared_name(name))):
        while place not in way:
            way.add(place)
            place = place_of(model, sources[place]) if place in sources else place
    return way


def _of_parameters(model: Module, optimizer: Optimizer | None) -> Iterator[TieWarning]:
    """Those without a shape, originals that nothing may read, and those that an optimiser has twice."""
    parameters = dict(model.named_parameters())
    groups = [] if optimizer is None else optimizer.param_groups
    stepped = Counter(id(p) for group in groups for p in group["params"])
    for name, parameter in parameters.items():
        if is_lazy(parameter):
            yield _warning("LAZY", (name,))
        if parameter.requires_grad and parameter.grad is None and _others_have_one(model, name):
            yield _warning("DEAD_PARAM", (name,))
        if stepped[id(parameter)] > 1:
            yield _warning("DUP_IN_OPTIMIZER", (name,))


def _others_have_one(model: Module, name: str) -> bool:
    """Whether a name is the original of a parametrization, in a module with gradients elsewhere."""
    path, _, attribute = declared_name(name).rpartition(".")
    module = module_at(model, path)
    if module is None or attribute not in getattr(module, "parametrizations", ()):
        return False
    return any(p.grad is not None for p in module.parameters())


def _in_file(model: Module, found: Sequence[TieGroup], saving: str | None) -> Iterator[TieWarning]:
    """What a format makes of two names of one weight."""
    kinds = {"same_parameter", "same_module", *(["view"] if saving == "safetensors" else [])}
    for tie in found:
        names = (tie.source, tie.alias)
        if saving is None or tie.kind not in kinds:
            continue
        linear = {isinstance(module_at(model, name.rpartition(".")[0]), Linear) for name in names}
        if saving != "onnx" or len(linear) > 1:
            yield _warning(SAVING[saving], names)
    if saving == "safetensors":
        yield from _shared_buffers(model)


def _shared_buffers(model: Module) -> Iterator[TieWarning]:
    """Entries of the state dict that share elements, one of them a buffer."""
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    met: dict[Hashable, list[tuple[str, Tensor]]] = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor) or (place := storage_of(value)) is None:
            continue
        for other, held in met.setdefault(place, []):
            if {name, other} & buffers and overlap(value, held):
                yield _warning("SAFETENSORS_REFUSES", (other, name))
                break
        met[place].append((name, value))


def _warning(code: str, names: tuple[str, ...]) -> TieWarning:
    return TieWarning(code, names, f"{' and '.join(names)}: {CODES[code]}")
