"""`check_tied_weights`: check that declared ties hold, and report broken, fragile and undeclared ties."""

from typing import Literal

from torch import nn
from torch.optim import Optimizer

from ..errors import ArgumentError, TieError
from ..parameters.modules import check_module
from .faults import find_fault, find_lost_references
from .find import find_tied_weights
from .fragile import (
    SAVING,
    list_undeclared,
    warn_of_parameters,
    warn_of_saving,
    warn_of_split_groups,
    warn_of_undeclared,
)
from .model_ties import iter_ties
from .report import CODES, TieReport, TieWarning, make_warning
from .tie import Tie


def check_tied_weights(
    model: nn.Module,
    *,
    optimizer: Optimizer | None = None,
    saving: Literal["export", "onnx", "safetensors"] | None = None,
    strict: bool = False,
) -> TieReport:
    """Check that every declared tie holds, and report what broke and which ties are fragile or undeclared.

    Args:
        optimizer: Optimizer to check for parameters that it lists twice.
        saving: File format to check the ties for: "export" (`torch.export.save`), "onnx" (`torch.onnx.export`
            with `dynamo=False`) or "safetensors" (`save_file` of the state dict).
        strict: Whether to raise an error if a tie is broken.

    Raises:
        ArgumentError: If `model` is not a module, `optimizer` is not an optimizer, or there is no such
            format.
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
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        got = type(optimizer).__name__
        raise ArgumentError("check_tied_weights", "optimizer must be a torch.optim.Optimizer", got)
    intact: list[tuple[str, Tie]] = []
    broken: list[TieWarning] = []
    declared = list(iter_ties(model))
    for alias, tie in declared:
        code = find_fault(model, alias, tie)
        if code is None:
            intact.append((alias, tie))
        else:
            broken.append(make_warning(code, (alias, tie.source)))
    ties, found = dict(declared), find_tied_weights(model)
    broken += find_lost_references(model, ties)
    undeclared = list_undeclared(model, ties, found)
    warnings = [
        *warn_of_split_groups(model, ties),
        *warn_of_undeclared(model, undeclared),
        *warn_of_parameters(model, optimizer),
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
