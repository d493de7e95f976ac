"""
Locally connected layers in PyTorch
===================================

Create a locally connected layer, load a convolution into it, and compare degrees of sharing.
"""

import torch

import weightshare as ws

# A locally connected layer has one kernel for each of the 26 x 26 output positions.
layer = ws.nn.LocallyConnected2d(1, 4, kernel_size=3, input_size=28)
print(layer)
print("weight", tuple(layer.weight.shape), "kernels", tuple(layer.kernels().shape))

# The weights of a trained convolution load into a layer with any sharing; the outputs are the same.
convolution = torch.nn.Conv2d(1, 4, kernel_size=3)
layer.load_state_dict(convolution.state_dict())
images = torch.randn(8, 1, 28, 28)
print("largest difference", (layer(images) - convolution(images)).abs().max().item())

# Other sharings lie between the two. Positions with the same letter share a kernel.
for sharing in (ws.Full(), ws.Tiled(2), ws.Regional(2), ws.SharedAlong(1), ws.LowRank(2), ws.Local()):
    conv = ws.nn.Conv2d(1, 4, kernel_size=3, sharing=sharing, input_size=28)
    print(f"\n{sharing!r}: {sum(p.numel() for p in conv.parameters()):,} parameters")
    print(sharing.draw((3, 6)))

# The receptive field after the layer, a pooling layer and another 3 x 3 layer:
stack = [layer, ws.Window((2, 2), stride=2), ws.Window((3, 3))]
print("\n", ws.receptive_fields(stack)[-1])
