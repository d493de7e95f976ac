"""Run a check on two processes."""

import os
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing as mp


def on_two_processes(check: Callable[[int], None], folder: Path) -> None:
    """Call `check(rank)` on two gloo processes, and raise their errors.

    The function must be at the top level of a module, so that it can be pickled.
    """
    mp.spawn(_process, args=(check, str(folder / "store")), nprocs=2)


def _process(rank: int, check: Callable[[int], None], file: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    check(rank)
    dist.barrier()
    os._exit(0)  # skip the interpreter's shutdown, which gloo's threads can abort
