"""`TieReport`: the result of checking ties, and `CODES`: everything that a report can contain, in words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .find import TieGroup
from .tie import Tie


class Code(NamedTuple):
    """The meaning of a code in a report, and what to do about it.

    Args:
        meaning: What is wrong with the ends of the tie, and its likely cause.
        fix: How to repair or avoid it.
    """

    meaning: str
    fix: str


CODES = {
    "BROKEN_TIE": Code(
        "no longer tied (e.g. after to_empty(), a move to another type of device, or replacing a module)",
        "call retie_weights to use the source's values again, if its shape still fits",
    ),
    "ZOMBIE_TIE": Code(
        "two Parameters share storage (e.g. after assigning each name separately), so the optimizer updates "
        "the values twice",
        "call retie_weights to make them one Parameter",
    ),
    "NORM_ON_TIED": Code(
        "a parametrization such as weight_norm or spectral_norm changes the values at one end",
        "remove it, then call retie_weights",
    ),
    "PRUNE_ON_TIED": Code(
        "pruning masks only one end, or masks both ends differently",
        "make it permanent with prune.remove, then call retie_weights",
    ),
    "QUANT_UNTIED": Code(
        "quantization replaced one end with integers",
        "call untie_weights before quantizing, or exclude both ends from quantization",
    ),
    "SPLIT_FSDP_GROUP": Code(
        "the ends are in different FSDP2 groups, and a group gathers its weights only for its own modules",
        "shard the model again: for group in fsdp_groups(model): fully_shard(group)",
    ),
    "VIEW_TIE": Code(
        "two Parameters share storage, but moving, copying or a stateful optimizer will separate them",
        "use tie_weights with a transform",
    ),
    "UNDECLARED_TIE": Code(
        "the same Parameter, tied by assignment",
        "declare it with tie_weights to keep it through loading and to_empty()",
    ),
    "LOST_SOURCE": Code(
        "read from a module outside this model (the encoder was replaced, or this is a decoder alone), so no "
        "checkpoint of the model contains it",
        "tie it to the new encoder with tie_weights, or keep the encoder in the model",
    ),
    "OFFLOADED": Code(
        "accelerate offloaded one end, and loads it back only for the module that owns it",
        "keep both ends on a device",
    ),
    "LAZY": Code(
        "no shape before the first call, so its ties do not hold",
        "call the model once, then call tie_weights",
    ),
    "DEAD_PARAM": Code(
        "original tensor of a parametrization, without a gradient although its module has others, so the "
        "parametrization may ignore it",
        "check with summary(model, x) whether the model reads it",
    ),
    "EXPORT_LOAD_UNTIES": Code(
        "two Parameters that share storage after torch.export.save and load, so an optimizer updates the "
        "values twice",
        "call tie_weights on the loaded module",
    ),
    "ONNX_LEGACY_DOUBLES": Code(
        "torch.onnx.export(dynamo=False) may write a second copy, transposed for a linear layer",
        "use dynamo=True",
    ),
    "SAFETENSORS_REFUSES": Code(
        "safetensors.torch.save_file refuses tensors that share storage",
        "use save_safetensors",
    ),
    "DUP_IN_OPTIMIZER": Code(
        "listed more than once in the optimizer, so it is updated more than once per step",
        "pass model.parameters(), which lists each parameter once",
    ),
}


@dataclass(frozen=True)
class TieWarning:
    """A finding about a tie or parameter.

    Args:
        code: Key of `CODES`.
        names: Alias and source of the tie, or all names concerned.
        text: Names, meaning and fix in words.
    """

    code: str
    names: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class TieReport:
    """A report on the ties of a model; `str` lists them with all findings.

    Args:
        intact: Alias and tie of each declared or built-in tie that holds.
        broken: Declared ties that do not hold, and built-in ties whose source is not part of the model.
        warnings: Ties that hold but are fragile or undeclared, and other findings.
        undeclared: Ties that exist without a declaration, e.g. after `a.weight = b.weight`.
    """

    intact: tuple[tuple[str, Tie], ...]
    broken: tuple[TieWarning, ...]
    warnings: tuple[TieWarning, ...]
    undeclared: tuple[TieGroup, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all declared and built-in ties hold."""
        return not self.broken

    def __str__(self) -> str:
        lines = [self._head]
        for alias, tie in self.intact:
            transform = f" ({tie.transform})" if tie.transform else ""
            lines.append(f"  intact  {alias} = {tie.source}{transform}")
        lines += [f"  {note.code}  {note.text}" for note in (*self.broken, *self.warnings)]
        return "\n".join(lines)

    @property
    def _head(self) -> str:
        intact, broken, undeclared = map(len, (self.intact, self.broken, self.undeclared))
        total = intact + broken + undeclared
        if not total:
            return "0 ties"
        noun = "tie" if total == 1 else "ties"
        return f"{total} {noun}: {intact} declared and intact, {broken} broken, {undeclared} undeclared"


def make_warning(code: str, names: Iterable[str]) -> TieWarning:
    """Return a finding with the text of its code."""
    names = tuple(names)
    return TieWarning(code, names, f"{' and '.join(names)}: {CODES[code].meaning}; {CODES[code].fix}")
