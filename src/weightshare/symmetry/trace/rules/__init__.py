"""Rules that find the layout of an operation's output from the layouts of its inputs.

A rule returns None if it cannot find the layout. `table` assigns a rule to each operation, `apply` applies
it, and the other files contain the rules, one family each.
"""

from .apply import Mover, propagate
from .operation import Kind, Operation
from .table import find_operation
from .window import get_pad_mode, get_pad_widths, is_circular_pad

__all__ = [
    "Kind",
    "Mover",
    "Operation",
    "find_operation",
    "get_pad_mode",
    "get_pad_widths",
    "is_circular_pad",
    "propagate",
]
