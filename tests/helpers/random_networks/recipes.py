"""Draws recipes of random networks, and shrinks those that show a fault."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.helpers.random_networks.builder import Block, Recipe
from tests.helpers.random_networks.registry import BRANCHES, BREAKING, HEADS, KEEPING


def draw(seed: int) -> Recipe:
    """Draw a recipe."""
    rng = random.Random(seed)
    axes = rng.choice((1, 2, 2, 2, 3))
    sizes = ((5, 6, 7, 8, 9, 12, 16), (4, 5, 6, 7, 8, 8, 8), (4, 4, 5, 6))[axes - 1]
    size = [rng.choice(sizes)] * axes if rng.random() < 0.5 else [rng.choice(sizes) for _ in range(axes)]
    share_breaking = rng.choice((0, 0, 0.2, 0.5))

    def draw_block(depth: int = 0) -> Block:
        names = BREAKING if rng.random() < share_breaking else KEEPING
        name = rng.choice(BRANCHES if depth < 2 and rng.random() < 0.15 else names)
        inner = [draw_block(depth + 1) for _ in range(rng.randint(1, 2))] if name in BRANCHES else ()
        return Block(name, rng.randrange(10**6), tuple(inner))

    shift = [min(rng.choice((1, 1, 1, 2, 2, 3, 4)), *(n - 1 for n in size))] * axes
    if axes > 1 and rng.random() < 0.3:
        shift = [rng.choice((0, 1, 2)) for _ in range(axes)]
        shift = shift if any(shift) else [1] * axes
    return Recipe(
        seed=seed,
        shape=(rng.choice((1, 1, 2)), rng.choice((1, 2, 3, 4)), *size),
        picture=rng.choice(("normal", "normal", "normal", "positive", "large", "margin", "constant")),
        dtype=rng.choice(("float64", "float64", "float32")),
        shift=tuple(shift),
        share_circular=rng.choice((1.0, 1.0, 0.9, 0.5)),
        blocks=tuple(draw_block() for _ in range(rng.randint(1, 6))),
        head=Block(rng.choice(HEADS), rng.randrange(10**6)),
    )


def shrink(recipe: Recipe, is_faulty: Callable[[Recipe], bool]) -> Recipe:
    """Remove blocks from a recipe as long as it stays faulty."""
    while True:
        smaller = next((r for r in _list_smaller(recipe) if is_faulty(r)), None)
        if smaller is None:
            return recipe
        recipe = smaller


def _list_smaller(recipe: Recipe) -> Iterator[Recipe]:
    for blocks in _list_shorter(recipe.blocks):
        yield replace(recipe, blocks=blocks)
    if recipe.picture != "normal":
        yield replace(recipe, picture="normal")
    if recipe.dtype != "float64":
        yield replace(recipe, dtype="float64")
    if recipe.shape[0] > 1:
        yield replace(recipe, shape=(1, *recipe.shape[1:]))
    if recipe.head.name != "map":
        yield replace(recipe, head=Block("map", 0))


def _list_shorter(blocks: tuple[Block, ...]) -> Iterator[tuple[Block, ...]]:
    for n, block in enumerate(blocks):
        yield (*blocks[:n], *blocks[n + 1 :])
        yield from ((*blocks[:n], *block.inner, *blocks[n + 1 :]) for _ in block.inner[:1])
        for inner in _list_shorter(block.inner):
            yield (*blocks[:n], replace(block, inner=inner), *blocks[n + 1 :])
