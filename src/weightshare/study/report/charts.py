"""Charts and kernel images of a report, each as a data URI."""

from dataclasses import dataclass

import numpy as np

from ...views import pictures
from ...views.pictures import Series
from ..first_layer import FirstLayer
from ..intervals import compute_interval
from ..result import StudyResult

POINTS_BELOW_TARGET = 25  # percentage points of the learning curves that are shown below the target


def assign_styles(result: StudyResult) -> list[tuple[int, bool]]:
    """Return the color index of each row, and whether it is hollow.

    A size-matched row has the color of the first row that it is matched to, but is hollow.
    """
    requested = [row.sharing for row in result.summary if not row.matches]
    return [
        (requested.index((row.matches or (row.sharing,))[0]), bool(row.matches)) for row in result.summary
    ]


def plot_accuracy_vs_parameters(result: StudyResult) -> str:
    """Plot the test accuracy of each row against its number of parameters, with intervals."""
    series: list[Series] = []
    for row, style in zip(result.summary, assign_styles(result)):
        low, high = row.score_ci or [row.score] * 2
        accuracy = 100 * row.score
        series.append(
            Series(row.sharing, *style, [row.parameters], [accuracy], [_to_percent(low)], [_to_percent(high)])
        )
    return pictures.draw_points(series, "parameters (log scale)", "test accuracy (%)")


def plot_learning_curves(result: StudyResult) -> str:
    """Plot the mean validation accuracy of each row against the epoch, as long as all its seeds ran."""
    series: list[Series] = []
    for row, style in zip(result.summary, assign_styles(result)):
        curves = [trial.curve_score for trial in result.by_row[row.sharing]]
        length = min(map(len, curves))
        mean = 100 * np.array([curve[:length] for curve in curves]).mean(0)
        series.append(Series(row.sharing, *style, range(1, length + 1), mean.tolist()))
    floor = 100 * result.target - POINTS_BELOW_TARGET
    return pictures.draw_lines(series, "epoch", "validation accuracy (%)", floor=floor)


def plot_accuracy_vs_shift(result: StudyResult) -> str:
    """Plot the test accuracy of each row against the shift of the test images, with intervals."""
    series: list[Series] = []
    for row, style in zip(result.summary, assign_styles(result)):
        trials = result.by_row[row.sharing]
        by_shift = [[t.score for t in trials]]
        by_shift += [[t.score_shifted[pixels] for t in trials] for pixels in row.score_shifted]
        ends = [compute_interval(values) or [float(np.mean(values))] * 2 for values in by_shift]
        series.append(
            Series(
                row.sharing,
                *style,
                [0, *map(int, row.score_shifted)],
                [100 * float(np.mean(values)) for values in by_shift],
                [_to_percent(low) for low, _ in ends],
                [_to_percent(high) for _, high in ends],
            )
        )
    return pictures.draw_lines(series, "shift (px)", "test accuracy (%)", markers=True)


@dataclass(frozen=True)
class KernelImages:
    """Images of the kernels of a row's first layer.

    Args:
        name: Name of the row.
        spread: Share of the kernels' energy that varies with position.
        channel: The output channel shown by position; None if all positions have the same kernels.
        mean: Mean kernel of each output channel.
        by_position: Kernels of that channel at several positions; None as for `channel`.
    """

    name: str
    spread: float
    channel: int | None
    mean: str
    by_position: str | None


def draw_first_layers(result: StudyResult) -> list[KernelImages]:
    """Draw the kernels of the first layer for each requested sharing."""
    drawn: list[KernelImages] = []
    for row in result.summary:
        layer = next((t.first_layer for t in result.by_row[row.sharing] if t.first_layer), None)
        if layer is not None and not row.matches:
            by_position = None if layer.by_position is None else draw_kernels_by_position(layer)
            mean = draw_mean_kernels(layer)
            drawn.append(KernelImages(row.sharing, layer.spread, layer.channel, mean, by_position))
    return drawn


def draw_mean_kernels(layer: FirstLayer) -> str:
    """Draw the mean kernel of each output channel, averaged over the input channels."""
    kernels = np.array(layer.mean).mean(1)
    columns = min(8, len(kernels))
    rows = -(-len(kernels) // columns)
    padded = np.full((rows * columns, *kernels.shape[1:]), np.nan)
    padded[: len(kernels)] = kernels
    return pictures.draw_tiles(padded.reshape(rows, columns, *kernels.shape[1:]))


def draw_kernels_by_position(layer: FirstLayer) -> str:
    """Draw one output channel's kernel at each sampled position, averaged over the input channels."""
    kernels = np.array(layer.by_position).mean(2)
    rows, columns = ([str(i) for i in indices or ()] for indices in (layer.rows, layer.columns))
    return pictures.draw_tiles(kernels, rows, columns)


def _to_percent(fraction: float) -> float:
    """Return the end of an interval in percent, clipped to possible accuracies."""
    return 100 * min(max(fraction, 0.0), 1.0)
