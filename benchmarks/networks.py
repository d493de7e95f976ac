"""Networks with random weights to trace: those of `transformers`, and small ones of other kinds."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn


@dataclass(frozen=True)
class Network:
    """A network to trace.

    Args:
        build: Function that builds it.
        shape: Shape of its input.
        stride: Input pixels per output position, or those that its classifier averages over.
        axes: Whether to shift each axis; all by default.
        tokens: In networks whose maps become sequences [N, T, C], the number of tokens without a position
            before the others; None for other networks.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    stride: int
    axes: tuple[bool, ...] = ()
    tokens: int | None = None

    def make_shift(self, pixels: int) -> tuple[int, ...]:
        """Return a shift by this number of pixels along the axes to shift."""
        return tuple(pixels * use for use in self.axes or (True,) * (len(self.shape) - 2))


class Head(nn.Module):
    """Returns one field of the output of a model of `transformers`.

    Args:
        model: Model.
        field: Name of the field.
        squeezes: Whether the model takes [N, T] instead of [N, 1, T].
    """

    def __init__(self, model: nn.Module, field: str = "logits", *, squeezes: bool = False):
        super().__init__()
        self.model, self.field, self.squeezes = model, field, squeezes

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.model(x.squeeze(1) if self.squeezes else x), self.field)


class ConvBlock(nn.Sequential):
    """A convolution, batch normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """A U-Net of three levels, with max pools, transposed convolutions and skip connections."""

    def __init__(self, width: int = 8):
        super().__init__()
        sizes = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(a, b), ConvBlock(b, b)) for a, b in zip([3, *sizes], sizes)
        )
        self.pool = nn.MaxPool2d(2)
        self.raise_ = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, stride=2) for n in sizes[-2::-1])
        self.up = nn.ModuleList(ConvBlock(2 * n, n) for n in sizes[-2::-1])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        for raise_, block, skip in zip(self.raise_, self.up, skips[-2::-1]):
            x = block(torch.cat([skip, raise_(x)], 1))
        return self.head(x)


class CausalNet(nn.Module):
    """A stack of dilated convolutions for audio, each with zeros before its input, and gated residuals."""

    def __init__(self, width: int = 16, dilations: tuple[int, ...] = (1, 2, 4, 8)):
        super().__init__()
        self.first = nn.Conv1d(1, width, 1)
        self.dilations = dilations
        self.filters = nn.ModuleList(nn.Conv1d(width, 2 * width, 2, dilation=d) for d in dilations)
        self.mixes = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in dilations)
        self.head = nn.Conv1d(width, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for dilation, layer, mix in zip(self.dilations, self.filters, self.mixes):
            value, gate = layer(F.pad(x, (dilation, 0))).chunk(2, 1)
            x = x + mix(torch.tanh(value) * torch.sigmoid(gate))
        return self.head(F.relu(x))


class ConvLSTM(nn.Module):
    """A convolutional LSTM over the frames of a video [N, C, T, H, W]; the output is the last state."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.width = width
        self.gates = nn.Conv2d(3 + width, 4 * width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = cell = x.new_zeros(len(x), self.width, *x.shape[3:])
        for frame in x.unbind(2):
            i, f, o, g = self.gates(torch.cat([frame, hidden], 1)).chunk(4, 1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
        return hidden


class PanoramaNet(nn.Module):
    """A network for panoramas [N, C, latitude, longitude]: circular padding along the longitude only."""

    def __init__(self, width: int = 16):
        super().__init__()
        sizes = [3, width, 2 * width, 2 * width]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3) for a, b in pairwise(sizes))
        self.head = nn.Linear(2 * width, 5)

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = F.pad(F.pad(x, (1, 1, 0, 0), mode="circular"), (0, 0, 1, 1))
            x = F.relu(layer(x))
            x = F.max_pool2d(x, 2) if number < 2 else x
        return self.head(x.mean((2, 3)))


def with_circular_padding(model: nn.Module) -> nn.Module:
    """Set the padding of all convolutions to circular."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "circular"
    return model


def build_generator(width: int = 16) -> nn.Module:
    """Build the generator of a GAN that maps a latent map to an image, with transposed convolutions."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((32, 2 * width), (2 * width, width)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh())


def _build(name: str, field: str = "logits", *, squeezes: bool = False, **config: Any) -> nn.Module:
    """Build a model of `transformers` from the class of its configuration and of the model."""
    configuration, model = (getattr(transformers, part) for part in name.split("/"))
    return Head(model(configuration(**config)), field, squeezes=squeezes)


def build_convnext() -> nn.Module:
    """Build a small ConvNeXt without the small initial scale of its layers, which would hide them."""
    sizes = {"hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 4, 2]}
    return _build(
        "ConvNextConfig/ConvNextForImageClassification", layer_scale_init_value=0.0, **sizes, **_LABELS
    )


_LABELS = {"num_labels": 10}
_RESNET = "ResNetConfig/ResNetForImageClassification"

NETWORKS = {
    "ResNet-18": Network(
        lambda: _build(
            _RESNET, layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], **_LABELS
        ),
        (1, 3, 64, 64),
        32,
    ),
    "ResNet-50": Network(lambda: _build(_RESNET, **_LABELS), (1, 3, 64, 64), 32),
    "MobileNetV2": Network(
        lambda: _build("MobileNetV2Config/MobileNetV2ForImageClassification", **_LABELS), (1, 3, 64, 64), 32
    ),
    "ConvNeXt": Network(build_convnext, (1, 3, 64, 64), 32),
    "ViT": Network(
        lambda: _build(
            "ViTConfig/ViTForImageClassification",
            image_size=64,
            patch_size=8,
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=128,
            **_LABELS,
        ),
        (1, 3, 64, 64),
        8,
        tokens=1,
    ),
    "Swin": Network(
        lambda: _build(
            "SwinConfig/SwinForImageClassification",
            image_size=64,
            patch_size=2,
            window_size=4,
            embed_dim=24,
            depths=[2, 2, 2],
            num_heads=[2, 4, 8],
            **_LABELS,
        ),
        (1, 3, 64, 64),
        32,
        tokens=0,
    ),
    "U-Net": Network(UNet, (1, 3, 64, 64), 4),
    "GAN generator": Network(build_generator, (1, 32, 8, 8), 1),
    "causal audio network": Network(CausalNet, (1, 1, 256), 1),
    "ConvLSTM": Network(ConvLSTM, (1, 3, 4, 32, 32), 1, (False, True, True)),
    "wav2vec 2.0": Network(
        lambda: _build(
            "Wav2Vec2Config/Wav2Vec2Model",
            "last_hidden_state",
            squeezes=True,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            conv_dim=[32] * 4,
            conv_stride=[5, 2, 2, 2],
            conv_kernel=[10, 3, 3, 2],
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        ),
        (1, 1, 1600),
        40,
        tokens=0,
    ),
    "panorama network": Network(PanoramaNet, (1, 3, 32, 64), 4),
    "ConvNeXt, circular padding": Network(
        lambda: with_circular_padding(build_convnext()), (1, 3, 96, 96), 32
    ),
    "U-Net, circular padding": Network(lambda: with_circular_padding(UNet()), (1, 3, 64, 64), 4),
    "ConvLSTM, circular padding": Network(
        lambda: with_circular_padding(ConvLSTM()), (1, 3, 4, 32, 32), 1, (False, True, True)
    ),
}
