"""Executors that run the trials of a study on several processors or machines, and replace lost workers."""

from .lost import LostWorkerError
from .processes import ProcessExecutor
from .ray import RayExecutor
from .tasks import run_tasks

__all__ = ["LostWorkerError", "ProcessExecutor", "RayExecutor", "run_tasks"]
