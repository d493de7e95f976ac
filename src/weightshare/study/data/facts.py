"""Facts about the data of a study: its name, digest, image size, classes and split sizes."""

from dataclasses import dataclass

from ...views.escape import escape_controls
from .images import Images


@dataclass(frozen=True)
class DataFacts:
    """Facts about the data of a study, as results and report show them. All names are safe to print.

    Args:
        name: Name of the data.
        digest: Digest of the images, labels and splits.
        channels: Number of channels of an image.
        size: Height and width of an image in pixels.
        class_names: One name per label.
        train, validation, test: Number of images in each split.
    """

    name: str
    digest: str
    channels: int
    size: tuple[int, int]
    class_names: tuple[str, ...]
    train: int
    validation: int
    test: int

    @classmethod
    def from_images(cls, images: Images) -> "DataFacts":
        """Return the facts about these images."""
        return cls(
            name=escape_controls(images.name),
            digest=images.digest,
            channels=images.channels,
            size=images.size,
            class_names=tuple(map(escape_controls, images.class_names)),
            train=len(images.train[1]),
            validation=len(images.validation[1]),
            test=len(images.test[1]),
        )
