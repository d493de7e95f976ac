"""The program of a worker, `python serve.py LIBRARY`: a JSON request a line in, a JSON reply a line out."""

import gc
import json
import os
import sys
import time
import traceback
from importlib import import_module
from typing import Any

from arrays import samples
from memory import extra_megabytes
from shapes import Shape

#: Library and the module of its sides.
MODULES = {"torch": "sides_torch", "jax": "sides_jax", "tf_keras": "sides_keras"}
#: Milliseconds above which one call must do to warm up.
SLOW = 5000


class Server:
    """What a worker can be asked, by method name."""

    def __init__(self, library: str):
        self.library = import_module(MODULES[library])
        self.sides: dict[str, Any] = {}

    def build(self, section: str, shape: dict) -> dict[str, Any]:
        """Make the sides of a shape, in place of those before: their names, and reasons of those left out."""
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
                if name == "ours":
                    raise
                left_out[name] = f"fails: {first_line(error)}"
        return {"sides": list(self.sides), "left_out": left_out}

    def warm(self, side: str, what: str) -> dict[str, Any]:
        """Two calls, one where it is slow: milliseconds of the last, and numbers of its results.

        Instead, why there is `no` training.
        """
        it = self.sides[side]
        if what == "training":
            if it.no_training is not None:
                return {"no": it.no_training}
            it.prepare_training()
        milliseconds = self.time(side, what, 1)
        if milliseconds < SLOW:
            milliseconds = self.time(side, what, 1)
        result = it.result() if what == "forward" else it.input_grad()
        return {"ms": milliseconds, "samples": samples(result)}

    def time(self, side: str, what: str, calls: int) -> float:
        """Milliseconds of one of so many calls."""
        call = getattr(self.sides[side], what)
        gc.disable()
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        end = time.perf_counter()
        gc.enable()
        return 1e3 * (end - begin) / calls

    def memory(self, section: str, shape: dict, small: dict, side: str) -> dict[str, float]:
        """Megabytes beyond operands and results; see `memory`."""
        make_small = self.library.build(section, Shape(**small))[side]
        return extra_megabytes(make_small, self.library.build(section, Shape(**shape))[side])

    def calibrate(self) -> float:
        return import_module("peaks").calibrate()

    def peaks(self) -> dict[str, float]:
        return import_module("peaks").peaks()

    def overhead(self, rounds: int) -> list[dict[str, Any]]:
        return import_module("calls").calls(rounds)

    def versions(self) -> dict[str, str]:
        return self.library.versions()


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def serve(library: str) -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no reply
    server = Server(library)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"value": getattr(server, request.pop("do"))(**request)}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": first_line(error)}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
