"""The images of a study: where they come from, and how they are checked, split and normalised."""

from .images import Images, draw, load_images, shifted

__all__ = ["Images", "draw", "load_images", "shifted"]
