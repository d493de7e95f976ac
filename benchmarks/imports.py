"""Measures the time to import the library, in new processes."""

import statistics
import subprocess
import sys

IMPORT = """
import time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import weightshare
end = time.perf_counter()
weightshare.nn.Conv2d
print(middle - start, end - middle, time.perf_counter() - middle)
"""


def measure_imports(processes: int) -> dict[str, float]:
    """Return the seconds to import torch, then weightshare, and weightshare with its convolutions loaded."""
    command = [sys.executable, "-c", IMPORT]
    printed = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(processes)]
    columns = zip(*(map(float, each.stdout.split()) for each in printed))
    return dict(zip(("torch", "weightshare", "layers"), map(statistics.median, columns)))
