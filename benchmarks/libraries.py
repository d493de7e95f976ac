"""The models of timm, torchvision and transformers, and the counts that these libraries publish."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from weightshare.models.find import find_model

#: Operators that the import of torchvision needs, and their arguments.
OPERATORS = ("nms", "qnms"), "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@dataclass(frozen=True)
class Published:
    """A published count.

    Args:
        weights: What is counted: the name of weights, or of the library's own function that counts.
        number: Published number of parameters.
        build: Function that builds the model of these weights where it differs from the default one.
        reason: How it differs.
    """

    weights: str
    number: int
    build: Callable[[], nn.Module] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Case:
    """A model to count.

    Args:
        name: Name of the model.
        build: Function that builds it on the meta device.
        publish: Function that returns the published counts of the model that was built.
        shape: Function that returns the shape of an image for the model that was built; None if unknown.
    """

    name: str
    build: Callable[[], nn.Module]
    publish: Callable[[nn.Module], list[Published]] = lambda model: []
    shape: Callable[[Any], tuple[int, ...]] | None = None


def iter_timm() -> Iterator[Case]:
    """Yield all models of timm. The package contains no published counts."""
    import_torchvision()  # timm imports it
    import timm

    for name in timm.list_models():
        yield Case(
            name,
            lambda name=name: find_model(f"timm:{name}", device="meta"),
            shape=lambda model: model.default_cfg["input_size"],
        )


def iter_torchvision() -> Iterator[Case]:
    """Yield all models of torchvision, with the `num_params` of their weights."""
    library = import_torchvision().models

    def publish(name: str) -> list[Published]:
        return [
            Published(weights.name, weights.meta["num_params"], *_find_variant(name, weights.meta))
            for weights in library.get_model_weights(name)
        ]

    for name in library.list_models():
        yield Case(
            name,
            lambda name=name: find_model(f"torchvision:{name}", device="meta"),
            lambda model, name=name: publish(name),
        )


def iter_transformers() -> Iterator[Case]:
    """Yield the models of transformers that have a class for pretraining or causal language modeling.

    They have the default configuration of their type. The published count is that of `num_parameters`.
    """
    import_torchvision()  # some models import it
    import transformers
    from transformers.models.auto import modeling_auto

    def build(name: str, cls: str) -> nn.Module:
        with torch.device("meta"):
            return getattr(transformers, cls)(transformers.AutoConfig.for_model(name))

    classes = {
        **modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        **modeling_auto.MODEL_FOR_PRETRAINING_MAPPING_NAMES,
    }
    for name, found in sorted(classes.items()):
        cls = found if isinstance(found, str) else found[0]
        yield Case(
            f"{name} ({cls})",
            lambda name=name, cls=cls: build(name, cls),
            lambda model: [Published("num_parameters", model.num_parameters())],
        )


#: For each library, the function that yields its models.
LIBRARIES: dict[str, Callable[[], Iterator[Case]]] = {
    "timm": iter_timm,
    "torchvision": iter_torchvision,
    "transformers": iter_transformers,
}


def import_torchvision() -> Any:
    """Import torchvision; if it was made for another build of torch, define the operators that it lacks."""
    try:
        import torchvision
    except RuntimeError:
        names, arguments = OPERATORS
        for name in names:
            torch.library.define(f"torchvision::{name}", arguments)
        import torchvision
    return torchvision


def _find_variant(name: str, meta: dict[str, Any]) -> tuple[Callable[[], nn.Module] | None, str]:
    """Return a function that builds a model as torchvision does for its weights, and how it differs."""
    if re.fullmatch(r"(deeplabv3|fcn)_.*", name):
        return lambda: _build(
            name, aux_loss=True, weights_backbone=None
        ), "the weights include the auxiliary head (`aux_loss=True`)"
    if re.fullmatch(r"(quantized_)?googlenet", name):
        return (
            lambda: _build(name, aux_logits=False),
            "the count leaves out the auxiliary heads (`aux_logits=False`)",
        )
    if re.fullmatch(r"(faster|mask|keypoint)rcnn_.*|(fcos|retinanet)_.*", name):
        reason = "with weights, the builder uses `FrozenBatchNorm2d`, which has buffers and no parameters"
        return lambda: _freeze(_build(name, weights_backbone=None)), reason
    if re.fullmatch(r"vit_.*", name) and meta["min_size"] != (224, 224):
        size = meta["min_size"][0]
        return (
            lambda: _build(name, image_size=size),
            f"the weights have positions for larger images (`image_size={size}`)",
        )
    return None, ""


def _build(name: str, **config: Any) -> nn.Module:
    """Build a model of torchvision on the meta device, without weights."""
    from torchvision import models

    with torch.device("meta"):
        return models.get_model(name, weights=None, **config)


def _freeze(model: Any) -> nn.Module:
    """Replace the batch norms of the backbone's body by frozen ones."""
    from torchvision.ops import FrozenBatchNorm2d

    body = model.backbone.body
    for path, module in list(body.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            body.set_submodule(path, FrozenBatchNorm2d(module.num_features))
    return model
