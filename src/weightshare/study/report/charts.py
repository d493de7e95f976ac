"""Charts and kernel images of a report, each as a data URI."""

from dataclasses import dataclass
from statistics import fmean

import numpy as np

from ...views import pictures
from ...views.pictures import Series
from ..result import StudyResult
from ..statistics.intervals import compute_interval
from ..statistics.questions import Answered
from ..trials.first_layer import FirstLayer
from .words import get_shift_unit

#: How far below the target learning curves are shown, relative to the best row's progress after one epoch.
CURVES_BELOW_TARGET = 0.5


def assign_styles(result: StudyResult) -> dict[str, tuple[int, bool]]:
    """Return the color index of each row, by name, and whether it is hollow.

    A size-matched row has the color of the first row that it is matched to, but is hollow.
    """
    requested = [row.sharing for row in result.summary if not row.matches]
    return {
        row.sharing: (find_color(requested, (row.matches or (row.sharing,))[0]), bool(row.matches))
        for row in result.summary
    }


def find_color(requested: list[str], name: str) -> int:
    """Return the color index of a row; rows without results have that of the first one."""
    return requested.index(name) if name in requested else 0


def plot_score_vs_parameters(result: StudyResult) -> str:
    """Plot the test score of each row against its number of parameters, with intervals."""
    series = [
        _make_series(result, row.sharing, [row.parameters], [[t.score for t in result.by_row[row.sharing]]])
        for row in result.summary
    ]
    low, high = result.scale.limits
    return pictures.draw_points(
        series, "parameters (log scale)", f"test {result.scale.heading}", low=low, high=high
    )


def plot_learning_curves(result: StudyResult) -> str:
    """Plot the mean validation score of each row against the epoch, as long as all its seeds ran.

    Values far on the bad side of the target are cut off, but not in the second half of a curve.
    """
    scale = result.scale
    styles = assign_styles(result)
    series: list[Series] = []
    first: list[float] = []
    best: list[float] = []
    late: list[float] = []
    for row in result.summary:
        curves = [trial.curve_score for trial in result.by_row[row.sharing]]
        length = min(map(len, curves))
        mean = scale.factor * np.array([curve[:length] for curve in curves]).mean(0)
        series.append(Series(row.sharing, *styles[row.sharing], range(1, length + 1), mean.tolist()))
        first.append(mean[0])
        best.append(scale.choose_best(mean))
        late += mean[length // 2 :].tolist()
    reach = CURVES_BELOW_TARGET * abs(scale.choose_best(best) - scale.choose_best(first)) or 1
    cut = scale.factor * result.target - scale.sign * reach
    low, high = scale.limits
    if scale.lower_is_better:
        high = min(high, max(cut, *late))
    else:
        low = max(low, min(cut, *late))
    return pictures.draw_lines(series, "epoch", f"validation {scale.heading}", low=low, high=high)


def plot_score_vs_shift(result: StudyResult) -> str:
    """Plot the test score of each row against the shift of the test inputs, with intervals."""
    series: list[Series] = []
    for row in result.summary:
        trials = result.by_row[row.sharing]
        values = [[t.score for t in trials]]
        values += [[t.score_shifted[amount] for t in trials] for amount in row.score_shifted]
        series.append(_make_series(result, row.sharing, [0, *map(int, row.score_shifted)], values))
    xlabel = f"shift ({get_shift_unit(result.data)})"
    return _draw_scores(result, series, xlabel)


def plot_answers(result: StudyResult, answered: Answered) -> str | None:
    """Plot the test score of each row against the settings of a question; None if these are not numbers."""
    if answered.question.option == "layers":
        return None
    series: list[Series] = []
    for name, rows in answered.rows.items():
        present = [(x, row) for x, row in zip(answered.values, rows) if row is not None]
        values = [[t.score for t in result.by_row[row.sharing]] for _, row in present]
        series.append(_make_series(result, name, [x for x, _ in present], values))
    log = answered.question.is_log
    return _draw_scores(result, series, answered.question.axis + (" (log scale)" if log else ""), log=log)


def _draw_scores(result: StudyResult, series: list[Series], xlabel: str, *, log: bool = False) -> str:
    """Draw test scores as lines with markers."""
    low, high = result.scale.limits
    ylabel = f"test {result.scale.heading}"
    return pictures.draw_lines(series, xlabel, ylabel, markers=True, low=low, high=high, log=log)


def _make_series(result: StudyResult, name: str, x: list[int], values: list[list[float]]) -> Series:
    """Return the means of the values at each x, with their intervals."""
    factor = result.scale.factor
    means = [fmean(some) for some in values]
    ends = [compute_interval(some) or [mean] * 2 for some, mean in zip(values, means)]
    possible = result.scale.limits
    low, high = (np.clip([factor * end[side] for end in ends], *possible).tolist() for side in (0, 1))
    return Series(name, *assign_styles(result)[name], x, [factor * mean for mean in means], low, high)


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
