"""A model by what a user types: a name of the zoo, package.module:factory, timm:NAME or torchvision:NAME."""

import importlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn import Module

from .._args import did_you_mean
from ..errors import MissingExtraError, SpecError, WeightshareError
from .autoencoders import conv_autoencoder, dense_autoencoder
from .classics import alexnet, lenet5, vgg16
from .resnet import resnet18
from .unshared import deepface_head, yolov1_head

#: The zoo: every model by name, and the shape of one example.
EXAMPLES: dict[str, tuple[Callable[..., Module], tuple[int, ...]]] = {
    "lenet5": (lenet5, (1, 28, 28)),
    "alexnet": (alexnet, (3, 224, 224)),
    "vgg16": (vgg16, (3, 224, 224)),
    "resnet18": (resnet18, (3, 224, 224)),
    "deepface_head": (deepface_head, (16, 63, 63)),
    "yolov1_head": (yolov1_head, (1024, 7, 7)),
    "conv_autoencoder": (conv_autoencoder, (1, 28, 28)),
    "dense_autoencoder": (dense_autoencoder, (784,)),
}


def find_model(name: str, device: str | None = None) -> Module:
    """The model that a name stands for, built by calling its factory without arguments.

    Args:
        name: One of the zoo (`EXAMPLES`), `package.module:factory`, `timm:NAME` or `torchvision:NAME`.
        device: To build it on; "meta" takes no memory. A factory that needs real numbers is called again
            on the CPU.

    Raises:
        SpecError: a name that stands for no model, or a factory that fails.
        MissingExtraError: timm or torchvision where it is not installed.

    Example:
        >>> sum(p.numel() for p in find_model("resnet18", device="meta").parameters())
        11689512
    """
    factory = _factory(str(name))
    try:
        model = _built(factory, device)
    except WeightshareError:
        raise
    except Exception as error:  # whatever a factory raises
        text = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        hint = "name a function that needs no arguments"
        raise SpecError(repr(name), "must build a model when called without arguments", text, hint) from error
    if not isinstance(model, Module):
        raise SpecError(repr(name), "must build a torch.nn.Module", type(model).__name__)
    return model


def _built(factory: Callable[[], Any], device: str | None) -> Any:
    try:
        with nullcontext() if device is None else torch.device(device):
            return factory()
    except (NotImplementedError, RuntimeError):
        if device != "meta":
            raise
        return factory()  # it reads numbers of its own while it is built


def shape_of(name: str) -> tuple[int, ...] | None:
    """The shape of one example of a model of the zoo; None for any other."""
    return EXAMPLES[name][1] if name in EXAMPLES else None


def _factory(name: str) -> Callable[[], Any]:
    library, colon, rest = name.partition(":")
    if not colon:
        if name in EXAMPLES:
            return EXAMPLES[name][0]
        hint = did_you_mean(name, EXAMPLES, f"use one of {', '.join(EXAMPLES)}")
        raise SpecError("model", "must be one of the zoo, or package.module:factory", repr(name), hint)
    if library in ("timm", "torchvision"):
        return _from_library(library, rest)
    try:
        found: Any = importlib.import_module(library)
    except (ImportError, ValueError, TypeError) as error:  # the latter two for names such as "" and ".a"
        raise SpecError(
            repr(name), f"needs the module {library!r}", f"{type(error).__name__}: {error}"
        ) from error
    for part in rest.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        got = "nothing of that name" if found is None else type(found).__name__
        raise SpecError(repr(name), "must name a class or a function", got, "use package.module:factory")
    return found


def _from_library(library: str, name: str) -> Callable[[], Any]:
    try:
        module = importlib.import_module(library if library == "timm" else f"{library}.models")
    except ImportError as error:
        raise MissingExtraError.for_package(f"{library}:{name}", library) from error
    known = list(module.list_models())
    if name not in known:
        hint = did_you_mean(name, known, f"list the names with {library}'s list_models()")
        raise SpecError(f"{library}:{name}", f"must be a model of {library}", repr(name), hint)
    if library == "timm":
        return lambda: module.create_model(name)
    return lambda: module.get_model(name, weights=None)
