"""Train the networks that the explorer runs and write networks.json: python -m tools.explorer_networks

LeCun's zip-code network and its unshared twin start as the same function and are trained in the same way on
scikit-learn's digits, without shifted copies. A tied autoencoder and its untied counterpart do the same. The
weights are rounded to 16-bit floats or 8-bit integers, and all figures are measured with the rounded weights.
"""

import base64
import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import weightshare as ws
from weightshare.models import dense_autoencoder, zip_code_network
from weightshare.models.lecun1989 import BACKGROUND, SEEN
from weightshare.study.data import draw, shift_inputs
from weightshare.views.section import Section
from weightshare.views.text import render

from .blocks import ROOT

PATH = ROOT / "src/weightshare/explorer/data/networks.json"
SIZE = 16
TEST_IMAGES = 500
SPLIT_SEED, WEIGHT_SEED, ORDER_SEED = 1989, 1, 2
SAMPLES_PER_CLASS = 2
HIDDEN = 15
SHIFTS = (1, 2)


def build_unshared_twin(network: nn.Sequential) -> nn.Sequential:
    """Return the same function with a kernel of its own at each position: 64,660 parameters."""
    return ws.relax(network, ws.Local(), torch.zeros(1, 1, SIZE, SIZE))


def build_autoencoder(mean: Tensor) -> nn.Sequential:
    """Build a tied autoencoder for flat images with this mean."""
    autoencoder: Any = dense_autoencoder(SIZE * SIZE, HIDDEN, tied=True)
    _center(autoencoder, mean)
    return autoencoder


@torch.no_grad()
def _center(autoencoder: Any, mean: Tensor) -> None:
    """Set the biases of a tied autoencoder so that the mean image has a code of zero and is reconstructed.

    Otherwise some hidden units are zero for all images, which depends on the seed and not on the tie.
    """
    autoencoder.encoder.bias.copy_(-(autoencoder.encoder.weight @ mean))
    autoencoder.decoder.bias.copy_(mean)


def build_untied_autoencoder(autoencoder: nn.Sequential) -> nn.Sequential:
    """Return the same function with a decoder that has a weight of its own."""
    return ws.untie_weights(copy.deepcopy(autoencoder), "decoder.weight")


def build_all(mean: Tensor) -> dict[str, nn.Sequential]:
    """Build the four models with their initial weights, for flat images with this mean."""
    torch.manual_seed(WEIGHT_SEED)
    shared, tied = zip_code_network(), build_autoencoder(mean)
    return {
        "shared": shared,
        "unshared": build_unshared_twin(shared),
        "tied": tied,
        "untied": build_untied_autoencoder(tied),
    }


def load_images() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits, enlarged to 16 x 16, as bytes [N, 16, 16], and their labels [N]."""
    digits = load_digits()
    ink = torch.from_numpy(digits.images)[:, None] / 16
    large = F.interpolate(ink, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return (large[:, 0] * 255).round().to(torch.uint8), torch.from_numpy(digits.target)


def normalize(pixels: Tensor) -> Tensor:
    """Map bytes [N, 16, 16] to [N, 1, 16, 16] between -1, the background, and 1, the ink."""
    return pixels[:, None].double() / 127.5 - 1


def split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of the training and the test set, stratified by class."""
    test, train = draw(labels.numpy(), TEST_IMAGES, SPLIT_SEED)
    return torch.from_numpy(train), torch.from_numpy(test)


def train(
    model: nn.Module, inputs: Tensor, targets: Tensor, loss: Callable[..., Tensor], epochs: int, lr: float
) -> None:
    """Train with Adam, batches of 32 and a learning rate that falls to zero along a cosine."""
    generator = torch.Generator().manual_seed(ORDER_SEED)
    optimizer = torch.optim.Adam(model.parameters(), lr, foreach=False)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs), generator=generator).split(32):
            optimizer.zero_grad()
            loss(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
        schedule.step()


@torch.no_grad()
def measure_accuracy(model: nn.Module, images: Tensor, labels: Tensor, shift: int = 0) -> float:
    """Return the accuracy in percent on images shifted up, down, left and right by `shift` pixels."""
    background = torch.tensor([BACKGROUND])
    moves = [(shift, 0), (-shift, 0), (0, shift), (0, -shift)] if shift else [(0, 0)]
    shifted = torch.cat([shift_inputs(images, (dy, dx), background) for dy, dx in moves])
    correct = (model(shifted).argmax(1) == labels.repeat(len(moves))).double().mean()
    return round(100 * float(correct), 2)


@torch.no_grad()
def measure_error(model: nn.Module, images: Tensor) -> float:
    """Return the mean squared error per pixel of the reconstructions of images between -1 and 1."""
    flat = images.flatten(1)
    return round(float((model(flat) - flat).square().mean()), 5)


def encode_array(values: Tensor, dtype: str) -> dict[str, Any]:
    """Return a tensor as base64 text of little-endian float16 or int8, the latter with its scale."""
    array = values.detach().numpy()
    if dtype == "float16":
        return {"dtype": dtype, "shape": list(array.shape), "data": _to_base64(array.astype("<f2"))}
    scale = float(np.abs(array).max()) / 127
    stored = np.rint(array / scale).astype("i1")
    return {"dtype": dtype, "shape": list(array.shape), "scale": scale, "data": _to_base64(stored)}


def decode_array(stored: dict[str, Any]) -> Tensor:
    """Return a stored array as a float64 tensor."""
    dtype = {"float16": "<f2", "int8": "i1"}[stored["dtype"]]
    array = np.frombuffer(base64.b64decode(stored["data"]), dtype).astype("f8")
    return torch.from_numpy(array * stored.get("scale", 1.0)).reshape(stored["shape"])


def _to_base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def describe_network(model: Any, dtype: str) -> list[dict[str, Any]]:
    """Return the layers of a zip-code network or its twin as data, with their weights."""
    layers: list[dict[str, Any]] = []
    for name, in_shape, maps in (("h1", (1, 16, 16), [(0,)] * 12), ("h2", (12, 8, 8), SEEN)):
        layer = model.get_submodule(name)
        layers.append(
            {
                "name": name,
                "type": "conv",
                "inShape": in_shape,
                "outShape": (layer.out_channels, *layer.output_size),
                "kernelSize": layer.kernel_size,
                "stride": layer.stride,
                "padding": (2, 2),
                "background": BACKGROUND,
                "seen": maps,
                "sharing": "full" if layer.sharing == ws.Full() else "local",
                "activation": "scaledTanh",
                "weight": encode_array(layer.kernels(), dtype),
                "bias": encode_array(layer.bias, dtype),
            }
        )
    for name, activation in (("h3", "scaledTanh"), ("output", "linear")):
        layers.append(_describe_dense(name, model.get_submodule(name), activation, dtype))
    return layers


def describe_autoencoder(model: Any) -> list[dict[str, Any]]:
    """Return the layers of an autoencoder as data. A tied decoder names its source instead of a weight."""
    encoder = _describe_dense("encoder", model.encoder, "relu", "int8")
    decoder = _describe_dense("decoder", model.decoder, "linear", "int8")
    if isinstance(model.decoder, ws.nn.TiedLinear) and not _owns_weight(model.decoder):
        decoder["weight"] = {"transposeOf": "encoder"}
    return [encoder, decoder]


def _owns_weight(layer: nn.Module) -> bool:
    return any(name == "weight" for name, _ in layer.named_parameters())


def _describe_dense(name: str, layer: Any, activation: str, dtype: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "dense",
        "inShape": (layer.in_features,),
        "outShape": (layer.out_features,),
        "activation": activation,
        "weight": encode_array(layer.weight, dtype),
        "bias": encode_array(layer.bias, dtype),
    }


@torch.no_grad()
def load_layers(model: Any, layers: Sequence[dict[str, Any]]) -> Any:
    """Return a float64 copy of a model with the stored weights."""
    loaded = copy.deepcopy(model).double().eval()
    for stored in layers:
        layer = loaded.get_submodule(stored["name"])
        if "transposeOf" not in stored["weight"]:
            target = layer.kernels() if stored["type"] == "conv" else layer.weight
            target.copy_(decode_array(stored["weight"]))
        layer.bias.copy_(decode_array(stored["bias"]))
    return loaded


def choose_samples(labels: Tensor, test: Tensor) -> Tensor:
    """Return the indices of the first images of each class in the test set, in the order 0 to 9, 0 to 9."""
    by_class = [[int(i) for i in test if labels[i] == digit][:SAMPLES_PER_CLASS] for digit in range(10)]
    return torch.tensor(by_class).T.flatten()


def make_document(models: dict[str, nn.Sequential]) -> dict[str, Any]:
    """Return the content of the file for trained models."""
    pixels, labels = load_images()
    images, (train_set, test_set) = normalize(pixels), split(labels)
    networks: dict[str, Any] = {}
    for name, dtype in (("shared", "float16"), ("unshared", "int8")):
        layers = describe_network(models[name], dtype)
        loaded = load_layers(models[name], layers)
        test = images[test_set], labels[test_set]
        networks[name] = {
            "parameters": ws.summary(loaded).totals.unique,
            "accuracy": {
                "train": measure_accuracy(loaded, images[train_set], labels[train_set]),
                "test": measure_accuracy(loaded, *test),
                "shifted": {str(shift): measure_accuracy(loaded, *test, shift) for shift in SHIFTS},
            },
            "layers": layers,
        }
    autoencoders: dict[str, Any] = {}
    for name in ("tied", "untied"):
        layers = describe_autoencoder(models[name])
        loaded = load_layers(models[name], layers)
        autoencoders[name] = {
            "parameters": ws.summary(loaded).totals.unique,
            "error": {
                "train": measure_error(loaded, images[train_set]),
                "test": measure_error(loaded, images[test_set]),
            },
            "layers": layers,
        }
    samples = choose_samples(labels, test_set)
    return {
        "image": {
            "size": [SIZE, SIZE],
            "background": BACKGROUND,
            "meanInk": round(float(pixels[train_set].double().mean()) / 255, 4),
            "trainImages": len(train_set),
            "testImages": len(test_set),
        },
        "networks": networks,
        "autoencoders": autoencoders,
        "samples": {"labels": labels[samples].tolist(), "pixels": _to_base64(pixels[samples].numpy())},
    }


def train_all() -> dict[str, nn.Sequential]:
    """Build and train the four models."""
    pixels, labels = load_images()
    chosen = split(labels)[0]
    images, labels = normalize(pixels)[chosen].float(), labels[chosen]
    flat = images.flatten(1)
    models = build_all(flat.mean(0))
    for name in ("shared", "unshared"):
        train(models[name], images, labels, F.cross_entropy, epochs=40, lr=2e-3)
    for name in ("tied", "untied"):
        train(models[name], flat, flat, F.mse_loss, epochs=100, lr=2e-3)
    return models


def format_figures(document: dict[str, Any]) -> str:
    """Return the figures of the file as text tables."""
    head = ("network", "parameters", "train (%)", "test (%)", *[f"test, shift {s} px (%)" for s in SHIFTS])
    rows = [
        (
            name,
            f"{network['parameters']:,}",
            *(f"{network['accuracy'][part]:.1f}" for part in ("train", "test")),
            *(f"{network['accuracy']['shifted'][str(shift)]:.1f}" for shift in SHIFTS),
        )
        for name, network in document["networks"].items()
    ]
    error_head = ("autoencoder", "parameters", "train error", "test error")
    error_rows = [
        (name, f"{model['parameters']:,}", *(f"{model['error'][part]:.4f}" for part in ("train", "test")))
        for name, model in document["autoencoders"].items()
    ]
    sections = [
        Section("Accuracy with the stored weights", "lrrrrr", head, tuple(rows)),
        Section(
            "Mean squared error per pixel, images between -1 and 1", "lrrr", error_head, tuple(error_rows)
        ),
    ]
    return render("Networks of the explorer", sections)


def main(path: Path = PATH) -> None:
    """Train the networks, write the file and print the figures."""
    torch.set_num_threads(1)  # the same sums in the same order in each run
    document = make_document(train_all())
    text = json.dumps(document, separators=(",", ":")) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(format_figures(document))
    print(f"\n{len(text):,} bytes in {path}")


if __name__ == "__main__":
    main()
