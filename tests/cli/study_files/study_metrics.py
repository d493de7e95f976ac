"""Metrics for `bad_study`, most of them faulty."""

import sys

import torch

five = 5


def fail(error):
    raise error


RESULTS = {
    "nan": lambda o, t: float("nan"),
    "infinity": lambda o, t: torch.tensor(float("inf")),
    "none": lambda o, t: None,
    "text": lambda o, t: "good",
    "text_nan": lambda o, t: "nan",
    "tensor": lambda o, t: o,
    "tuple": lambda o, t: (1.0, 2.0),
    "complex": lambda o, t: 1j,
    "empty": lambda o, t: torch.zeros(0),
    "huge": lambda o, t: 10**400,
    "raises": lambda o, t: fail(ZeroDivisionError("a\nb\x1b[31m")),
    "exits": lambda o, t: sys.exit(6),
    "one_argument": lambda o: 1.0,
    "no_arguments": lambda: 1.0,
    "generator": lambda o, t: (x for x in o),
    "spread": lambda o, t: o.std(unbiased=True).item() * float("nan"),
}


def good(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean()


def number(outputs, targets):
    return 1


class Class:
    def __init__(self, outputs):
        pass


def __getattr__(name):
    if name in RESULTS:
        return RESULTS[name]
    raise AttributeError(name)
