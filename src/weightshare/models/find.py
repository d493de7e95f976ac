"""Models by name: one of the zoo, package.module:factory, timm:NAME or torchvision:NAME."""

import importlib
import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn import Module

from .._args import did_you_mean
from ..errors import ArgumentError, MissingExtraError, SpecError, WeightshareError, describe_exception
from .autoencoders import conv_autoencoder, dense_autoencoder
from .classics import alexnet, lenet5, vgg16
from .lecun1989 import zip_code_network
from .resnet import resnet18
from .unshared import deepface_head, yolov1_head

#: The zoo: for each name, the function that builds the model and the shape of one example.
EXAMPLES: dict[str, tuple[Callable[..., Module], tuple[int, ...]]] = {
    "lenet5": (lenet5, (1, 28, 28)),
    "alexnet": (alexnet, (3, 224, 224)),
    "vgg16": (vgg16, (3, 224, 224)),
    "resnet18": (resnet18, (3, 224, 224)),
    "deepface_head": (deepface_head, (16, 63, 63)),
    "yolov1_head": (yolov1_head, (1024, 7, 7)),
    "conv_autoencoder": (conv_autoencoder, (1, 28, 28)),
    "zip_code_network": (zip_code_network, (1, 16, 16)),
    "dense_autoencoder": (dense_autoencoder, (784,)),
}


def find_model(name: str, device: str | None = None) -> Module:
    """Return the named model, built by calling its factory without arguments.

    Args:
        name: Name in the zoo (a key of `EXAMPLES`), `package.module:factory`, `timm:NAME` or
            `torchvision:NAME`.
        device: Device to build the model on; "meta" allocates no memory. If a factory cannot run on the meta
            device, the model is built on the default device.

    Raises:
        ArgumentError: If torch cannot use the device here.
        SpecError: If no model has this name, its factory raises an error, or timm or torchvision cannot be
            imported.
        MissingExtraError: If the name needs timm or torchvision, and it is not installed.

    Example:
        >>> sum(p.numel() for p in find_model("resnet18", device="meta").parameters())
        11689512
    """
    _check_device(device)
    factory = _find_factory(str(name))
    try:
        model = _build(factory, device)
    except WeightshareError:
        raise
    except (Exception, SystemExit) as error:  # a factory can raise any exception
        expected = "must build a model when called without arguments"
        hint = "name a function that needs none" if isinstance(error, TypeError) else None
        raise SpecError(repr(name), expected, describe_exception(error), hint) from error
    if not isinstance(model, Module):
        raise SpecError(repr(name), "must build a torch.nn.Module", type(model).__name__)
    return model


def _check_device(device: str | None) -> None:
    try:
        torch.empty(0, device=device)
    except Exception as error:  # its type depends on the device
        got = f"{device!r} ({describe_exception(error)})"
        raise ArgumentError(
            "find_model", "device must be available here", got, "use 'cpu' or 'meta'"
        ) from error


def _build(factory: Callable[[], Any], device: str | None) -> Any:
    try:
        with nullcontext() if device is None else torch.device(device):
            return factory()
    except (NotImplementedError, RuntimeError):
        if device != "meta":
            raise
        return factory()  # the factory uses the values of its tensors


def get_example_shape(name: str) -> tuple[int, ...] | None:
    """Return the shape of one example for a model in the zoo, or None for any other name."""
    return EXAMPLES[name][1] if name in EXAMPLES else None


def _find_factory(name: str) -> Callable[[], Any]:
    library, colon, rest = name.partition(":")
    if not colon:
        if name in EXAMPLES:
            return EXAMPLES[name][0]
        hint = did_you_mean(name, EXAMPLES, f"use one of {', '.join(EXAMPLES)}")
        raise SpecError("model", "must be a model of the zoo or package.module:factory", repr(name), hint)
    if library in ("timm", "torchvision"):
        return _find_in_library(library, rest)
    if not all(part.isidentifier() for part in library.split(".")):
        got, hint = "text that is not the name of a module", "use package.module:factory instead of a path"
        raise SpecError(repr(name), f"needs the module {library!r}", got, hint)
    try:
        found: Any = importlib.import_module(library)
        for part in rest.split("."):
            found = getattr(found, part, None)
    except (Exception, SystemExit) as error:  # a module can raise any exception
        got = describe_exception(error)
        hint = "leave out .py" if library.endswith(".py") else None
        raise SpecError(repr(name), f"needs the module {library!r}", got, hint) from error
    if not callable(found):
        got = "a name that does not exist" if found is None else type(found).__name__
        file = getattr(sys.modules[library], "__file__", None) or "a module without a file"
        raise SpecError(repr(name), "must name a class or a function", f"{got} in {file}")
    return found


def _find_in_library(library: str, name: str) -> Callable[[], Any]:
    where = f"{library}:{name}"
    try:
        module: Any = importlib.import_module(library)
        module = module if library == "timm" else importlib.import_module(f"{library}.models")
        known = list(module.list_models())
    except ModuleNotFoundError as error:
        if error.name != library:
            raise _make_import_error(where, library, error) from error
        raise MissingExtraError.for_package(where, library) from error
    except (Exception, SystemExit) as error:  # a module can raise any exception
        raise _make_import_error(where, library, error) from error
    if name not in known:
        hint = did_you_mean(name, known, f"list the names with {library}'s list_models()")
        raise SpecError(where, f"must be a model of {library}", repr(name), hint)
    if library == "timm":
        return lambda: module.create_model(name)
    # Detection and segmentation models also load weights of a part, from `weights_backbone`.
    options = inspect.signature(module.get_model_builder(name)).parameters
    config = {option: None for option in options if option == "weights" or option.startswith("weights_")}
    return lambda: module.get_model(name, **config)


def _make_import_error(where: str, library: str, error: BaseException) -> SpecError:
    """Return the error for a library that is installed and cannot be imported."""
    hint = f"install the release of {library} that was made for torch {torch.__version__}"
    return SpecError(where, f"needs {library}, which must be importable", describe_exception(error), hint)
