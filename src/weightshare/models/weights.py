"""Weights from a file, in formats that run no code: safetensors, and state dicts with `weights_only=True`."""

import copy
import struct
import warnings
from errno import EINVAL
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from ..errors import DataError, TieError, describe_exception
from ..parameters.modules import check_module
from ..tying import load_safetensors, load_state_dict
from ..views.files import to_path

#: A safetensors file begins with the length of its JSON header, which is at most this.
LONGEST_HEADER = 100_000_000


def load_weights(model: Module, path: str | Path) -> None:
    """Load a checkpoint into a model. A checkpoint that does not fit leaves the model unchanged.

    Args:
        path: A safetensors file, or a state dict saved by `torch.save`. The format is detected from the
            content, not from the file name.

    Raises:
        ArgumentError: If `model` is not a module, or `path` is neither text nor a path.
        DataError: If the file cannot be read, has another format, contains code, or does not fit the model.
        MissingExtraError: If the file is a safetensors file, and the package safetensors is not installed.
    """
    check_module("load_weights", model)
    file = to_path("load_weights", path)
    where = f"weights {str(path)!r}"
    if any(tensor.is_meta for tensor in model.state_dict().values() if isinstance(tensor, Tensor)):
        raise DataError(
            where, "needs a model with allocated memory", "one on the meta device", "build it on the CPU"
        )
    before = copy.deepcopy(model.state_dict())
    try:
        if _is_safetensors(where, file):
            load_safetensors(model, file)
        else:
            load_state_dict(model, _read_state_dict(where, file))
    except (RuntimeError, TieError) as error:
        model.load_state_dict(before)
        lines = [line.strip().rstrip(".") for line in str(error).splitlines()]
        got = "; ".join(shorten(line, 300, placeholder=" ...") for line in lines[1:4] or lines)
        raise DataError(where, "must fit the model", got, "use a checkpoint of this model") from error


def _is_safetensors(where: str, path: Path) -> bool:
    """Return whether the file begins with the length of a JSON object and its opening brace."""
    try:
        if path.exists() and not path.is_file():  # reading from a pipe would wait for its writer
            raise OSError(EINVAL, "something that is not a regular file")
        with path.open("rb") as file:
            start = file.read(9)
    except (OSError, ValueError) as error:  # the latter for a name with a null character
        raise DataError(where, "must be a readable file", describe_exception(error)) from error
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] <= LONGEST_HEADER


def _read_state_dict(where: str, path: Path) -> dict[str, Any]:
    try:
        # given a path, torch.load would look at its suffix
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on other files the reader can raise any exception
        raise DataError(
            where,
            "must be a safetensors file, or a state dict that torch.load(weights_only=True) can read",
            describe_exception(error).partition(". ")[0],
            "if you trust the file, load it elsewhere and save it with safetensors.torch.save_model",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        got = "names that are not text" if isinstance(state, dict) else type(state).__name__
        raise DataError(
            where,
            "must be a state dict (a mapping from names to tensors)",
            got,
            "save model.state_dict()",
        )
    return state
