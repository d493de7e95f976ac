"""The layers that are measured, by section, in pure Python."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Shape:
    """The shape of a layer and its input. Sizes, kernels and strides are the same on every axis.

    `scored` marks the twelve shapes that the geometric means include.
    """

    name: str
    batch: int
    channels: int
    size: int
    out: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    ndim: int = 2
    scored: bool = False

    @property
    def out_size(self) -> tuple[int, ...]:
        """Output size of a convolution. The positions of a transposed layer are `in_size` instead."""
        return ((self.size + 2 * self.padding - self.kernel) // self.stride + 1,) * self.ndim

    @property
    def in_size(self) -> tuple[int, ...]:
        return (self.size,) * self.ndim

    @property
    def positions(self) -> int:
        return self.out_size[0] ** self.ndim

    @property
    def taps(self) -> int:
        """Number of weights per output element."""
        return self.kernel**self.ndim * self.channels // self.groups

    @property
    def inputs(self) -> int:
        return self.batch * self.channels * self.size**self.ndim

    @property
    def outputs(self) -> int:
        return self.batch * self.out * self.positions

    @property
    def weights(self) -> int:
        """Number of weights of an unshared layer."""
        return self.positions * self.taps * self.out

    @property
    def flops(self) -> int:
        """Number of operations of a forward pass, including taps on padding."""
        return 2 * self.batch * self.weights

    def as_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        numbers = (self.batch, self.channels, self.size, self.out, self.kernel, self.stride, self.padding)
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.name} {numbers}{groups}"


def _at_batch_1(shape: Shape) -> Shape:
    return Shape(**{**shape.as_dict(), "name": f"{shape.name}, batch 1", "batch": 1})


DEEPFACE_4 = Shape("DeepFace L4", 32, 16, 71, 16, 9, scored=True)
ALEXNET = Shape("AlexNet conv1 unshared", 16, 3, 227, 96, 11, 4, scored=True)
YOLO = Shape("YOLOv1 local", 16, 1024, 7, 256, 3, 1, 1, scored=True)

SECTIONS: dict[str, tuple[Shape, ...]] = {
    "local": (
        Shape("generic 16 to 16", 64, 16, 32, 16, 3, scored=True),
        Shape("generic 64 to 64", 64, 64, 16, 64, 3, scored=True),
        DEEPFACE_4,
        Shape("DeepFace L5", 64, 16, 55, 16, 7, 2, scored=True),
        Shape("DeepFace L6", 64, 16, 25, 16, 5),
        ALEXNET,
        YOLO,
        Shape("cuda-convnet local3", 128, 64, 8, 64, 3, 1, 1, scored=True),
        Shape("per-pixel linear", 32, 4, 128, 2, 1, scored=True),
        Shape("generic 64 to 64, 32 x 32", 32, 64, 32, 64, 3, 1, 1),
        Shape("genomics, 1-D", 16, 4, 10000, 8, 10, ndim=1),
        _at_batch_1(DEEPFACE_4),
        _at_batch_1(ALEXNET),
        _at_batch_1(YOLO),
        Shape("one image, 32 to 32", 1, 32, 56, 32, 3, 1, 1, scored=True),
        Shape("tiny", 2, 4, 10, 4, 3),
    ),
    "grouped": (
        Shape("depthwise, 64 channels", 32, 64, 32, 64, 3, 1, 1, groups=64),
        Shape("4 groups, 64 channels", 32, 64, 32, 64, 3, 1, 1, groups=4),
        Shape("tiny, 2 groups", 2, 4, 10, 4, 3, groups=2),
    ),
    "transposed": (
        Shape("decoder 64 to 32", 32, 64, 16, 32, 4, 2, 1),
        Shape("tiny, transposed", 2, 4, 5, 4, 3),
    ),
    "partial": (
        Shape("32 channels, 32 x 32", 16, 32, 32, 32, 3, 1, 1),
        Shape("64 channels, 32 x 32", 16, 64, 32, 64, 3, 1, 1),
        Shape("32 channels, 64 x 64", 16, 32, 64, 32, 3, 1, 1),
        Shape("one image, 16 channels, 64 x 64", 1, 16, 64, 16, 3, 1, 1),
        Shape("tiny, partially shared", 2, 4, 10, 4, 3),
    ),
    "full": (
        Shape("512 channels, 7 x 7, batch 1", 1, 512, 7, 512, 3, 1, 1),
        Shape("512 channels, 7 x 7, batch 16", 16, 512, 7, 512, 3, 1, 1),
        Shape("tiny, fully shared", 2, 4, 10, 4, 3),
    ),
}
