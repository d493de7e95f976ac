"""Executors that run the trials of a study on several processors or machines, and replace lost workers."""

from .lost import LostWorkerError
from .processes import ProcessExecutor
from .ray import RayExecutor

__all__ = ["LostWorkerError", "ProcessExecutor", "RayExecutor"]
