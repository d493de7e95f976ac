"""`TieReport`: the result of checking ties, and `CODES`: the codes of all findings, with their meanings."""

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
        "no longer tied (e.g. after to_empty() or a move to another type of device)",
        "call retie_weights to use the source's values again, or retie_weights with keep='alias' to use the "
        "alias's values",
    ),
    "REPLACED_END": Code(
        "the module or Parameter at one end was replaced, moved out of the model or left on the meta device, "
        "and the parameter that now has its name is not known to belong to the tie",
        "call retie_weights with keep='source' or keep='alias' to tie it, or untie_weights to drop the tie",
    ),
    "REMOVED_END": Code(
        "one end is no longer in the model",
        "call untie_weights to drop the tie",
    ),
    "RESIZED_END": Code(
        "the ends no longer have the same shape (e.g. after resizing or replacing the module at one end)",
        "give both ends the same shape, then call retie_weights with keep='source' or keep='alias', or call "
        "untie_weights to drop the tie",
    ),
    "ZOMBIE_TIE": Code(
        "two Parameters are the same elements in memory (e.g. after load_state_dict(assign=True)), so the "
        "optimizer updates the values twice",
        "call retie_weights to make them one Parameter",
    ),
    "NORM_ON_TIED": Code(
        "a parametrization such as weight_norm or spectral_norm changes the values at one end",
        "remove it, then call retie_weights with keep='source' or keep='alias'",
    ),
    "PRUNE_ON_TIED": Code(
        "pruning masks only one end, or masks both ends differently",
        "make it permanent for both ends with prune.remove, then call retie_weights",
    ),
    "LORA_ON_TIED": Code(
        "a PEFT adapter changes only one end, and merging it would change both",
        "call untie_weights before merging, or, for a transformers model, set ensure_weight_tying=True in "
        "the adapter's config",
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
        "two Parameters share storage in different shapes, but moving, copying or a stateful optimizer will "
        "separate them",
        "use tie_weights with the transform 't' or 'reshape'",
    ),
    "SLICE_TIE": Code(
        "two Parameters share some elements in storage (e.g. one is a slice of the other), but moving, "
        "copying or a stateful optimizer will separate them",
        "register only the larger one, and read the part from it in forward",
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
        "has no gradient although other parameters of its module have one, so the parametrization may ignore "
        "this original tensor",
        "check with summary(model, x) whether the model reads it",
    ),
    "CONFIG_UNTIED": Code(
        "tied, but tie_word_embeddings of the model's config is False, so from_pretrained will give one end "
        "random values",
        "set model.config.tie_word_embeddings = True",
    ),
    "CONFIG_TIED": Code(
        "not tied, but tie_word_embeddings of the model's config is True, so from_pretrained may tie them",
        "set model.config.tie_word_embeddings = False, or call tie_weights",
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
    "STALE_IN_OPTIMIZER": Code(
        "in the optimizer but not in the model (e.g. because the weights were tied after the optimizer was "
        "created)",
        "create the optimizer again after all changes to the model",
    ),
    "NOT_IN_OPTIMIZER": Code(
        "requires a gradient, but the optimizer does not update it (e.g. because it was untied after the "
        "optimizer was created)",
        "create the optimizer again after all changes to the model, or pass all optimizers",
    ),
    "STALE_IN_EMA": Code(
        "the average does not have the parameters of the model (e.g. because the weights were tied after it "
        "was created)",
        "create the average again after all changes to the model",
    ),
    "DUP_IN_EMA": Code(
        "entries of the averaged state dict that share storage, so an in-place update is applied twice",
        "average the entries of model.named_parameters(), which lists each parameter once",
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
    """Return a finding with the text of its code. The text lists up to three names."""
    names = tuple(dict.fromkeys(names))
    listed = [*names[:2], f"{len(names) - 2} others"] if len(names) > 3 else names
    return TieWarning(code, names, f"{' and '.join(listed)}: {CODES[code].meaning}; {CODES[code].fix}")
