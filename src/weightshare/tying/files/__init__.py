"""Save and load tied models: each weight is stored once, and checkpoints of untied models can be loaded."""

from .loading import load_safetensors, load_state_dict
from .saving import save_safetensors

__all__ = ["load_safetensors", "load_state_dict", "save_safetensors"]
