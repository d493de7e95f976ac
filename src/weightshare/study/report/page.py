"""The report as one self-contained HTML page."""

from ...views.numbers import abbreviate, format_percent
from ...views.page import make_environment
from ...views.pictures import PALETTE
from ..result import StudyResult
from ..statistics.baseline import get_balanced_accuracy
from ..statistics.questions import collect_answered
from . import charts, words
from .command import make_command, read_environment
from .findings import answer, collect_findings
from .measures import find_gap

MAX_CLASSES = 40  # in the table of classes


def render_page(result: StudyResult) -> str:
    """Return the report as an HTML page that contains all pictures. All names are escaped."""
    page = make_environment(__package__)
    scale, rows = result.scale, result.summary
    styles = charts.assign_styles(result)
    return page.get_template("report.html.jinja").render(
        result=result,
        scale=scale,
        options=result.options,
        data=result.data,
        rows=rows,
        has_matched=any(row.matches for row in rows),
        words=words,
        abbreviate=abbreviate,
        percent=format_percent,
        best=scale.choose_best(row.score for row in rows),
        gaps=[scale.format_difference(find_gap(scale, row)).removesuffix(" points") for row in rows],
        colors={name: PALETTE[color % len(PALETTE)] for name, (color, _) in styles.items()},
        findings=collect_findings(result),
        notes=words.list_notes(result),
        score_vs_parameters=charts.plot_score_vs_parameters(result),
        learning_curves=charts.plot_learning_curves(result),
        score_vs_shift=charts.plot_score_vs_shift(result) if rows[0].score_shifted else None,
        first_layers=charts.draw_first_layers(result),
        questions=[
            (answered, charts.plot_answers(result, answered), answer(result, answered))
            for answered in collect_answered(result)
        ],
        classes=choose_classes(result),
        balanced=[get_balanced_accuracy(result.data, row) for row in rows] if result.data.test_counts else [],
        environment=read_environment(result),
        command=make_command(result.options),
    )


def choose_classes(result: StudyResult) -> list[int]:
    """Return the numbers of the classes to show: all, or those with the lowest accuracy if there are many."""
    numbers = range(len(result.data.test_counts))
    if len(numbers) <= MAX_CLASSES:
        return list(numbers)
    means = [sum(row.class_scores[k] for row in result.summary) for k in numbers]
    return sorted(sorted(numbers, key=means.__getitem__)[:MAX_CLASSES])
