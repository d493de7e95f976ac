"""Networks from the literature, with `sharing=` for their convolutions, and models by name."""

from .autoencoders import conv_autoencoder, dense_autoencoder
from .classics import alexnet, lenet5, vgg16
from .find import EXAMPLES, find_model
from .lecun1989 import digit_network, zip_code_network
from .resnet import resnet18
from .unshared import deepface_head, yolov1_head

__all__ = [
    "EXAMPLES",
    "alexnet",
    "conv_autoencoder",
    "deepface_head",
    "dense_autoencoder",
    "digit_network",
    "find_model",
    "lenet5",
    "resnet18",
    "vgg16",
    "yolov1_head",
    "zip_code_network",
]
