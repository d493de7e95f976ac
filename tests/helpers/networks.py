"""Networks with known symmetries, and inputs for them."""

import torch
from torch import nn

import weightshare as ws


def picture(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


X = picture(2, 3, 16, 16)


def net(padding_mode, down):
    """Return a network of three convolutions, two downsampling layers, global pooling and a linear layer."""
    torch.manual_seed(0)

    def conv(inputs, outputs, stride=1):
        return nn.Conv2d(inputs, outputs, 3, stride, padding=1, padding_mode=padding_mode)

    def downsample():
        kinds = {"none": nn.Identity, "pool": lambda: nn.MaxPool2d(2), "stride": lambda: conv(8, 8, 2)}
        blur = {"blur": lambda: ws.nn.BlurPool2d(padding_mode="circular")}
        return (kinds | blur)[down]()

    layers = [conv(3, 8), nn.ReLU(), downsample(), conv(8, 8), nn.ReLU(), downsample(), conv(8, 8), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).double().eval()
