"""Stratified random choice of images, always with a fixed seed."""

import numpy as np

#: Fractions of the data without a test set, and of the training set.
TEST_FRACTION = 0.25
VALIDATION_FRACTION = 0.2
TEST_SEED, TRAIN_IMAGES_SEED, VALIDATION_SEED, SHIFT_SEED = range(20101, 20105)


def draw(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose about `count` items, stratified by class, and return the indices of the chosen and of the rest.

    Both results are in ascending order. Every class with at least two items is in both.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    sizes = np.bincount(labels)
    quota = sizes * count / len(labels)
    take = np.floor(quota).astype(int)
    for label in np.argsort(take - quota, kind="stable")[: count - take.sum()]:
        take[label] += 1
    if count < len(labels):
        take = np.clip(take, np.minimum(1, sizes), np.maximum(sizes - 1, 0))
    chosen = np.zeros(len(labels), dtype=bool)
    for label, number in enumerate(take):
        chosen[order[labels[order] == label][:number]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def draw_any(total: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose `count` of `total` items at random; return ascending indices of the chosen and of the rest."""
    order = np.random.default_rng(seed).permutation(total)
    return np.sort(order[:count]), np.sort(order[count:])
