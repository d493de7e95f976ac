"""Options of the commands that take a model."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torch.nn import Module

Model = Annotated[
    str,
    typer.Argument(
        help="Model: a name such as vgg16, package.module:factory, timm:NAME or torchvision:NAME.",
    ),
]
Input = Annotated[str | None, typer.Option(help="Shape of one example, e.g. 3x224x224.")]
Weights = Annotated[
    str | None,
    typer.Option(help="Checkpoint to load first: a safetensors file, a state dict, an index or a folder."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def build_model(name: str, weights: str | None, device: str = "meta") -> Module:
    """Return the named model with the weights of a checkpoint, if one is given.

    What its code prints goes to standard error, so that standard output holds the result of the command only.
    """
    from ..models.find import find_model
    from ..models.weights import load_weights

    find_current_folder()
    with redirect_stdout(sys.stderr):
        model = find_model(name, device="cpu" if weights is not None and device == "meta" else device)
    if weights is not None:
        load_weights(model, weights)
    return model


def find_current_folder() -> None:
    """Let modules in the current folder be named, after all others, so that none hides an installed one."""
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
