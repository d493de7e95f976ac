"""Weight tying: declare ties that survive copying and loading, and find, check and repair them."""

from .check import check_tied_weights
from .declare import tie_weights, untie_weights
from .files import load_safetensors, load_state_dict, save_safetensors
from .find import TieGroup, find_tied_weights
from .repair import retie_weights
from .report import TieReport, TieWarning
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
