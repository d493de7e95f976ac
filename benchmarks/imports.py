"""What importing the library costs beyond torch, in fresh processes."""

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


def seconds(processes: int) -> dict[str, float]:
    """Seconds of `import torch`, of `import weightshare` after it, and of that with the layers loaded."""
    command = [sys.executable, "-c", IMPORT]
    printed = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(processes)]
    columns = zip(*(map(float, each.stdout.split()) for each in printed))
    return dict(zip(("torch", "weightshare", "layers"), map(statistics.median, columns)))
