"""Random networks whose positions are known, printed as short programs.

A network is built from a recipe: an input, a list of blocks with a seed each, and a head. What the blocks do
to the positions of the input is recorded by hand with each operation, independently of `weightshare`.
"""

from tests.helpers.random_networks.builder import Recipe
from tests.helpers.random_networks.network import Network, build, draw_weights
from tests.helpers.random_networks.recipes import draw, shrink

__all__ = ["Network", "Recipe", "build", "draw", "draw_weights", "shrink"]
