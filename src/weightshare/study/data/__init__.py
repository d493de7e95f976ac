"""Images of a study: where they come from, and how they are checked, split and normalized."""

from .facts import DataFacts
from .images import Images, shift_images
from .loading import load_images
from .split import draw

__all__ = ["DataFacts", "Images", "draw", "load_images", "shift_images"]
