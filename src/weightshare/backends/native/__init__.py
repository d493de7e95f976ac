"""The native backend on the CPU: C code for the three maps, loaded with ctypes.

The C code needs neither torch nor Python to compile. `maps.c` is compiled once per instruction set, and
`dispatch.c` selects one at run time. The computation runs in torch's own threads, and each number is computed
in the same order for any number of threads. Without the compiled library, `portable` computes the layers.
"""

from .library import Status, force, get_status, load
from .maps import Table, check_sizes, compute, is_supported

__all__ = ["Status", "Table", "check_sizes", "compute", "force", "get_status", "is_supported", "load"]
