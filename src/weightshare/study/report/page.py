"""The report of a study: one page that needs nothing else."""

import numpy as np

from ...views import pictures
from ...views.numbers import percent, percent_with, short
from ...views.page import environment
from ...views.pictures import Series
from ..first_layer import FirstLayer
from ..result import StudyResult
from ..summary import comparisons, interval
from .findings import findings

SHOWN_BELOW_TARGET = 25  # percentage points of the learning curves


def render(result: StudyResult) -> str:
    """The page as HTML, with every picture inside; all names are escaped, and nothing in them is obeyed."""
    page = environment(__package__)
    page.filters.update(percent=percent, percent_with=percent_with, short=short)
    return page.get_template("report.html.jinja").render(
        result=result,
        spec=result.spec,
        data=result.data,
        rows=result.summary,
        shifts=list(result.summary[0].accuracy_shifted),
        findings=findings(result),
        comparisons=comparisons(result.summary),
        capped=sum(row.hit_cap for row in result.summary),
        accuracy_parameters=accuracy_against_parameters(result),
        learning=learning_curves(result),
        accuracy_shift=accuracy_against_shift(result),
        kernels=kernel_pictures(result),
        colours=[pictures.PALETTE[colour % len(pictures.PALETTE)] for colour, _ in looks(result)],
    )


def looks(result: StudyResult) -> list[tuple[int, bool]]:
    """Colour and hollowness of every row: a wider full network looks like its partner, but hollow."""
    asked = [row.sharing for row in result.summary if not row.matches]
    return [(asked.index((row.matches or (row.sharing,))[0]), bool(row.matches)) for row in result.summary]


def accuracy_against_parameters(result: StudyResult) -> str:
    series = []
    for row, look in zip(result.summary, looks(result)):
        low, high = row.accuracy_ci or [row.accuracy] * 2
        series.append(
            Series(row.sharing, *look, [row.parameters], [100 * row.accuracy], [_shown(low)], [_shown(high)])
        )
    return pictures.points(series, "parameters (logarithmic)", "test accuracy (%)")


def _shown(fraction: float) -> float:
    """In percent; an interval's end beyond what an accuracy can be is cut off in pictures."""
    return 100 * min(max(fraction, 0.0), 1.0)


def learning_curves(result: StudyResult) -> str:
    series = []
    for row, look in zip(result.summary, looks(result)):
        curves = [trial.curve_accuracy for trial in result.by_row[row.sharing]]
        length = min(map(len, curves))
        mean = 100 * np.array([curve[:length] for curve in curves]).mean(0)
        series.append(Series(row.sharing, *look, range(1, length + 1), mean.tolist()))
    floor = 100 * result.target - SHOWN_BELOW_TARGET
    xlabel, ylabel = "epoch (as far as all seeds ran)", "validation accuracy (%)"
    return pictures.lines(series, xlabel, ylabel, floor=floor)


def accuracy_against_shift(result: StudyResult) -> str:
    series = []
    for row, look in zip(result.summary, looks(result)):
        trials = result.by_row[row.sharing]
        by_shift = [[t.accuracy for t in trials]]
        by_shift += [[t.accuracy_shifted[p] for t in trials] for p in row.accuracy_shifted]
        ends = [interval(values) or [float(np.mean(values))] * 2 for values in by_shift]
        series.append(
            Series(
                row.sharing,
                *look,
                [0, *map(int, row.accuracy_shifted)],
                [100 * float(np.mean(values)) for values in by_shift],
                [_shown(low) for low, _ in ends],
                [_shown(high) for _, high in ends],
            )
        )
    return pictures.lines(series, "shift of the test images (pixels)", "accuracy (%)", markers=True)


def kernel_pictures(result: StudyResult) -> list[dict[str, object]]:
    """Of every row asked for, the first layer's mean kernels, and one channel's where they differ."""
    shown = []
    for row in result.summary:
        layer = next((t.first_layer for t in result.by_row[row.sharing] if t.first_layer), None)
        if layer is not None and not row.matches:
            shown.append(
                {
                    "name": row.sharing,
                    "spread": layer.spread,
                    "channel": layer.channel,
                    "mean": mean_kernels(layer),
                    "by_position": None if layer.by_position is None else kernels_by_position(layer),
                }
            )
    return shown


def mean_kernels(layer: FirstLayer) -> str:
    kernels = np.array(layer.mean).mean(1)
    columns = min(8, len(kernels))
    rows = -(-len(kernels) // columns)
    padded = np.full((rows * columns, *kernels.shape[1:]), np.nan)
    padded[: len(kernels)] = kernels
    return pictures.tiles(padded.reshape(rows, columns, *kernels.shape[1:]))


def kernels_by_position(layer: FirstLayer) -> str:
    kernels = np.array(layer.by_position).mean(2)
    rows, columns = ([str(i) for i in indices or ()] for indices in (layer.rows, layer.columns))
    return pictures.tiles(kernels, rows, columns)
