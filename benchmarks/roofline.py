"""Computes the minimum time of a layer from the peak performance of the machine (roofline model)."""

from shapes import Shape


def compute_floor_ms(shape: Shape, what: str, peak: dict[str, float]) -> float:
    """Return the larger of the time to compute at peak performance and the time to move all data once.

    A forward pass reads weights and input and writes the output. A training step computes three times as
    much. It moves the weights three times (two reads and their gradient), and input, output and their
    gradients once.
    """
    weights, images = 4 * shape.weights, 4 * (shape.inputs + shape.outputs)
    flops, moved = shape.flops, weights + images
    if what == "training":
        flops, moved = 3 * flops, 3 * weights + 2 * images
    return max(flops / (1e6 * peak["gflops"]), moved / (1e6 * peak["gb_per_s"]))


def merge_peaks(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """Return the larger value of each peak."""
    return {key: max(first.get(key, 0.0), value) for key, value in second.items()}
