"""A worker: `python serve.py LIBRARY` reads one JSON request per line and writes one JSON reply for each."""

import gc
import json
import os
import sys
import time
import traceback
from importlib import import_module
from typing import Any

from arrays import sample
from memory import measure_extra_megabytes
from shapes import Shape

#: Module that builds the sides of each library.
MODULES = {"torch": "sides_torch", "jax": "sides_jax", "tf_keras": "sides_keras"}
#: Milliseconds above which a side is warmed up with a single call.
SLOW = 5000


class Server:
    """The requests that a worker answers; each request names a method."""

    def __init__(self, library: str):
        self.library = import_module(MODULES[library])
        self.sides: dict[str, Any] = {}

    def build(self, section: str, shape: dict) -> dict[str, Any]:
        """Build the sides of a shape, and return their names and the reasons why others are skipped."""
        self.sides = {}
        gc.collect()
        left_out = {}
        for name, make in self.library.build(section, Shape(**shape)).items():
            if isinstance(make, str):
                left_out[name] = make
                continue
            try:
                self.sides[name] = make()
            except Exception as error:
                if name == "weightshare":
                    raise
                left_out[name] = f"fails: {format_error(error)}"
        return {"sides": list(self.sides), "left_out": left_out}

    def warm(self, side: str, what: str) -> dict[str, Any]:
        """Call a side twice, or once if it is slow, and return the last time and samples of the result.

        If the side cannot be trained, return the reason as "no".
        """
        warmed = self.sides[side]
        if what == "training":
            if warmed.no_training is not None:
                return {"no": warmed.no_training}
            warmed.prepare_training()
        milliseconds = self.time(side, what, 1)
        if milliseconds < SLOW:
            milliseconds = self.time(side, what, 1)
        result = warmed.result() if what == "forward" else warmed.input_grad()
        return {"ms": milliseconds, "samples": sample(result)}

    def time(self, side: str, what: str, calls: int) -> float:
        """Return the mean milliseconds of several calls."""
        call = getattr(self.sides[side], what)
        gc.disable()
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        end = time.perf_counter()
        gc.enable()
        return 1e3 * (end - begin) / calls

    def measure_memory(self, section: str, shape: dict, small: dict, side: str) -> dict[str, float]:
        """Return the additional megabytes of a side; see `measure_extra_megabytes`."""
        make_small = self.library.build(section, Shape(**small))[side]
        return measure_extra_megabytes(make_small, self.library.build(section, Shape(**shape))[side])

    def time_short_product(self) -> float:
        return import_module("peaks").time_short_product()

    def measure_peaks(self) -> dict[str, float]:
        return import_module("peaks").measure_peaks()

    def measure_calls(self, rounds: int) -> list[dict[str, Any]]:
        return import_module("calls").measure_calls(rounds)

    def get_versions(self) -> dict[str, str]:
        return self.library.get_versions()


def format_error(error: Exception) -> str:
    """Return the type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def serve(library: str) -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that the output of a library is not taken for a reply
    server = Server(library)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"value": getattr(server, request.pop("do"))(**request)}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": format_error(error)}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
