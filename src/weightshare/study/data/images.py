"""Load the data of a study by name alone."""

from typing import Any

from ..spec import StudySpec
from .examples import Examples
from .loading import load_examples


def load_images(data: Any, train_images: int | None = None) -> Examples:
    """Load data, split them and normalize them as a study with default options does.

    Args:
        data: As `StudySpec.data`.
        train_images: Number of examples to draw from the training set; by default all.

    Raises:
        SpecError, DataError: As `load_examples`.

    Example:
        >>> len(load_images("digits").test[1])
        449
    """
    return load_examples(StudySpec(data, train_images=train_images))
