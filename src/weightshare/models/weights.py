"""Weights from a file, in formats that run no code: safetensors, and state dicts with `weights_only=True`."""

from pathlib import Path
from textwrap import shorten

from torch import Tensor
from torch.nn import Module

from ..errors import DataError, TieError
from ..parameters.modules import check_module
from ..tying.files.loading import load_checkpoint
from ..tying.files.reading import read_checkpoint
from ..views.files import to_path


def load_weights(model: Module, path: str | Path) -> None:
    """Load a checkpoint into a model. A checkpoint that does not fit leaves the model unchanged.

    Args:
        path: A safetensors file, a state dict saved by `torch.save` (which may be inside a dictionary, as
            training scripts write it), the index of several such files, or a folder with one of these, as
            transformers writes it. The format is detected from the content, not from the file name.

    Raises:
        ArgumentError: If `model` is not a module, or `path` is neither text nor a path.
        DataError: If the file cannot be read, has another format, contains code, or does not fit the model.
        MissingExtraError: If the file is a safetensors file, and the package safetensors is not installed.
    """
    check_module("load_weights", model)
    to_path("load_weights", path)
    where = f"weights {str(path)!r}"
    if any(tensor.is_meta for tensor in model.state_dict().values() if isinstance(tensor, Tensor)):
        raise DataError(
            where, "needs a model with allocated memory", "one on the meta device", "build it on the CPU"
        )
    checkpoint = read_checkpoint(where, path)
    try:
        load_checkpoint(where, model, checkpoint)
    except TieError as error:
        raise DataError(where, error.expected, error.got, error.hint) from error
    except RuntimeError as error:
        lines = [line.strip().rstrip(".") for line in str(error).splitlines()]
        got = "; ".join(shorten(line, 300, placeholder=" ...") for line in lines[1:4] or lines)
        raise DataError(where, "must fit the model", got, "use a checkpoint of this model") from error
