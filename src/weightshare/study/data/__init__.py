"""The examples of a study: where they come from, and how they are checked, split and normalized."""

from .examples import Examples, list_steps, pad_inputs, shift_inputs
from .facts import DataFacts
from .loading import load_examples
from .split import draw

__all__ = ["DataFacts", "Examples", "draw", "list_steps", "load_examples", "pad_inputs", "shift_inputs"]
