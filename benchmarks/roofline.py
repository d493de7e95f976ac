"""How long a layer must take at least, from what the machine can do."""

from shapes import Shape


def floor_ms(shape: Shape, what: str, peak: dict[str, float]) -> float:
    """The longer of computing at the peak product and of moving every number once.

    Forward reads weights and input and writes the output. Training computes three times as much, moves the
    weights three times (read twice, their gradient written) and input, output and the gradients of both once.
    """
    weights, images = 4 * shape.weights, 4 * (shape.inputs + shape.outputs)
    flops, moved = shape.flops, weights + images
    if what == "training":
        flops, moved = 3 * flops, 3 * weights + 2 * images
    return max(flops / (1e6 * peak["gflops"]), moved / (1e6 * peak["gb_per_s"]))


def better(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """The larger of each figure."""
    return {key: max(first.get(key, 0.0), value) for key, value in second.items()}
