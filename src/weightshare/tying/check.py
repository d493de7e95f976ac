"""`check_tied_weights`: check that declared ties hold, and report broken, fragile and undeclared ties."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

from .._args import is_sequence
from ..errors import ArgumentError, TieError
from ..parameters.modules import check_module
from .faults import find_fault, find_lost_references
from .find import find_tied_weights
from .fragile import (
    SAVING,
    list_undeclared,
    warn_of_adapters,
    warn_of_parameters,
    warn_of_saving,
    warn_of_split_groups,
    warn_of_undeclared,
)
from .hugging_face import warn_of_configs
from .model_ties import get_links
from .report import CODES, TieReport, TieWarning, make_warning
from .tie import Tie
from .training import warn_of_ema, warn_of_optimizers


def check_tied_weights(
    model: nn.Module,
    *,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    ema: nn.Module | Mapping[str, Any] | None = None,
    saving: Literal["export", "onnx", "safetensors"] | None = None,
    strict: bool = False,
) -> TieReport:
    """Check that every declared tie holds, and report what broke and which ties are fragile or undeclared.

    Args:
        optimizer: Optimizer to check for parameters that it lists twice, that the model does not have, or
            that it does not update. Pass a list if several optimizers train the model.
        ema: Exponential moving average of the weights, which is checked in a similar way: an averaged model
            such as `torch.optim.swa_utils.AveragedModel`, or an averaged state dict.
        saving: File format to check the ties for: "export" (`torch.export.save`), "onnx" (`torch.onnx.export`
            with `dynamo=False`) or "safetensors" (`save_file` of the state dict).
        strict: Whether to raise an error if a tie is broken.

    Raises:
        ArgumentError: If `model` is not a module, `optimizer` is not an optimizer, or the
            format is unknown.
        TieError: If `strict` is true and a tie is broken. The error names the first one, its likely cause and
            the repair.

    Example:
        >>> import torch
        >>> from weightshare.tying import tie_weights
        >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False))
        >>> print(check_tied_weights(tie_weights(model, {"1.weight": "0.weight"})))
        1 tie: 1 declared and intact, 0 broken, 0 undeclared
          intact  1.weight = 0.weight
    """
    check_module("check_tied_weights", model)
    if saving is not None and saving not in SAVING:
        known = ", ".join(map(repr, sorted(SAVING)))
        raise ArgumentError("check_tied_weights", f"saving must be one of None, {known}", repr(saving))
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else [] if optimizer is None else optimizer
    if not is_sequence(optimizers) or not all(isinstance(one, Optimizer) for one in optimizers):
        got = type(optimizer).__name__
        raise ArgumentError(
            "check_tied_weights", "optimizer must be a torch.optim.Optimizer or a list of them", got
        )
    if not isinstance(ema, nn.Module | Mapping | None):
        got = type(ema).__name__
        raise ArgumentError("check_tied_weights", "ema must be a torch.nn.Module or a state dict", got)
    intact: list[tuple[str, Tie]] = []
    broken: list[TieWarning] = []
    links, found = get_links(model), find_tied_weights(model)
    for alias, link in links.items():
        code = find_fault(model, link)
        if code is None:
            intact.append((alias, link.tie))
        else:
            broken.append(make_warning(code, (alias, link.tie.source)))
    broken += find_lost_references(model, links)
    ties = {alias: link.tie for alias, link in links.items()}
    undeclared = list_undeclared(model, ties, found)
    assigned = [(tie.alias, tie.source) for tie in undeclared]
    warnings = [
        *warn_of_split_groups(model, ties),
        *warn_of_adapters(model, [*((alias, tie.source) for alias, tie in intact), *assigned]),
        *warn_of_undeclared(model, undeclared),
        *warn_of_parameters(model),
        *warn_of_configs(model),
        *warn_of_optimizers(model, optimizers),
        *([] if ema is None else warn_of_ema(model, ema, dict(intact))),
        *warn_of_saving(model, found, saving),
    ]
    if strict and broken:
        raise _make_error(broken[0])
    return TieReport(tuple(intact), tuple(broken), tuple(warnings), tuple(undeclared))


def _make_error(broken: TieWarning) -> TieError:
    """Return the error for a broken tie."""
    alias, *source = broken.names
    expected = f"must be tied to {source[0]!r}" if source else "must be tied to a weight of this model"
    code = CODES[broken.code]
    got = f"{broken.code}: {code.meaning}"
    return TieError(f"check_tied_weights: {alias!r}", expected, got, code.fix)
