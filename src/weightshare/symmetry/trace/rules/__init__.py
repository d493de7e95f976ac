"""Rules that find the layout of an operation's output from the layouts of its inputs.

`table` assigns a rule to each operation; the other files hold the rules, one family each; `apply` uses them.
"""

from .apply import propagate
from .operation import Kind, Operation
from .table import find_operation
from .window import get_pad_widths, is_circular_pad

__all__ = ["Kind", "Operation", "find_operation", "get_pad_widths", "is_circular_pad", "propagate"]
