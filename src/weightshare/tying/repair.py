"""`retie_weights`: repair declared ties that are broken."""

from torch import nn

from ..parameters.modules import check_module
from .check import check_tied_weights
from .faults import find_fault
from .linking import link_ends
from .model_ties import iter_ties
from .report import TieReport


def retie_weights(model: nn.Module) -> TieReport:
    """Repair the declared ties that are broken, with the values of their sources.

    Ends that were changed by a parametrization, pruning, quantization or offloading are left unchanged and
    reported.

    Returns:
        The report on the model after the repair.

    Raises:
        ArgumentError: If `model` is not a module.
    """
    check_module("retie_weights", model)
    for alias, tie in iter_ties(model):
        if find_fault(model, alias, tie) in ("BROKEN_TIE", "ZOMBIE_TIE"):
            link_ends(model, alias, tie)
    return check_tied_weights(model)
