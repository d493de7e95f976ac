"""A locally connected layer in PyTorch: what it looks like, what it costs, and what lies between."""

import torch

import weightshare as ws

# one kernel for each of the 26 x 26 output positions
layer = ws.nn.LocallyConnected2d(1, 4, kernel_size=3, input_size=28)
print(layer)
print("weight", tuple(layer.weight.shape), "kernels", tuple(layer.kernels().shape))

# a trained convolution's weights load into any sharing as the same function
convolution = torch.nn.Conv2d(1, 4, kernel_size=3)
layer.load_state_dict(convolution.state_dict())
images = torch.randn(8, 1, 28, 28)
print("largest difference", (layer(images) - convolution(images)).abs().max().item())

# between the two: what each sharing looks like, and how many parameters it has
for sharing in (ws.Full(), ws.Tiled(2), ws.Regional(2), ws.SharedAlong(1), ws.LowRank(2), ws.Local()):
    conv = ws.nn.Conv2d(1, 4, kernel_size=3, sharing=sharing, input_size=28)
    print(f"\n{sharing!r}: {sum(p.numel() for p in conv.parameters()):,} parameters")
    print(sharing.draw((3, 6)))

# what a position of a stack sees of the image
stack = [conv, ws.Window((2, 2), stride=2), ws.Window((3, 3))]
print("\n", ws.receptive_fields(stack)[-1])
