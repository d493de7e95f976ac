"""What tests of several processes share."""

import os
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing as mp


def on_two_processes(check: Callable[[int], None], folder: Path) -> None:
    """Call a function of the rank, of a module's own, on two gloo processes; their errors are raised here."""
    mp.spawn(_process, args=(check, str(folder / "store")), nprocs=2)


def _process(rank: int, check: Callable[[int], None], file: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    check(rank)
    dist.barrier()
    os._exit(0)  # gloo's threads may abort a process that takes itself apart while they run
