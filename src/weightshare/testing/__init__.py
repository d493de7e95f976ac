"""Tools to test layers: `check_layer`, and Hypothesis strategies in `weightshare.testing.strategies`."""

from .contract import check_layer

__all__ = ["check_layer"]
