"""Random choice of examples, always with a fixed seed."""

import numpy as np

#: Fractions of the data without a test set, and of the training set.
TEST_FRACTION = 0.25
VALIDATION_FRACTION = 0.2
TEST_SEED, TRAIN_IMAGES_SEED, VALIDATION_SEED, SHIFT_SEED = range(20101, 20105)


def draw(targets: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose about `count` examples, and return the indices of the chosen and of the rest.

    Both results are in ascending order. If each target is a class, the choice is stratified: every class with
    at least two examples is in both.

    Args:
        targets: Classes [N], or targets with more axes, of which only the number matters.
        count: Number of examples.
        seed: Seed of the choice.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    if targets.ndim > 1:
        return np.sort(order[:count]), np.sort(order[count:])
    sizes = np.bincount(targets)
    quota = sizes * count / len(targets)
    take = np.floor(quota).astype(int)
    for label in np.argsort(take - quota, kind="stable")[: count - take.sum()]:
        take[label] += 1
    if count < len(targets):
        take = np.clip(take, np.minimum(1, sizes), np.maximum(sizes - 1, 0))
    chosen = np.zeros(len(targets), dtype=bool)
    for label, number in enumerate(take):
        chosen[order[targets[order] == label][:number]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)
