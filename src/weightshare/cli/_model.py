"""The options of all commands that take a model, and printing what contains names from outside."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..views.escape import visible

if TYPE_CHECKING:
    from torch.nn import Module

Model = Annotated[str, typer.Argument(help="vgg16, package.module:factory, timm:NAME or torchvision:NAME.")]
Input = Annotated[str | None, typer.Option(help="Shape of one example, e.g. 3x224x224.")]
Weights = Annotated[str | None, typer.Option(help="Checkpoint to load first (.safetensors or a state dict).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def build_model(name: str, weights: str | None, device: str = "meta") -> Module:
    """Build the named model, also from a module in the current folder, and load its weights."""
    from ..models.find import find_model
    from ..models.weights import load_weights

    sys.path.insert(0, os.getcwd())  # as `python -m` does
    model = find_model(name, device="cpu" if weights is not None and device == "meta" else device)
    if weights is not None:
        load_weights(model, weights)
    return model


def print_visible(text: str) -> None:
    """Print text with the control characters of names and messages written out."""
    print("\n".join(map(visible, text.split("\n"))))
