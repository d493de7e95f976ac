"""Ties between parameters: declared, kept through copying, loading and wrapping, checked, and mended."""

from .check import TieReport, TieWarning, check_tied_weights, retie_weights
from .declare import tie_weights, untie_weights
from .files import load_safetensors, load_state_dict, save_safetensors
from .find import TieGroup, find_tied_weights
from .sharding import fsdp_groups
from .tie import Tie

__all__ = [
    "Tie",
    "TieGroup",
    "TieReport",
    "TieWarning",
    "check_tied_weights",
    "find_tied_weights",
    "fsdp_groups",
    "load_safetensors",
    "load_state_dict",
    "retie_weights",
    "save_safetensors",
    "tie_weights",
    "untie_weights",
]
