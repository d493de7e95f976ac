"""The report as one self-contained HTML page."""

from ...views.numbers import abbreviate, format_percent, format_percent_interval, format_points_per_image
from ...views.page import make_environment
from ...views.pictures import PALETTE
from ..comparisons import describe_comparisons
from ..result import StudyResult
from ..table import describe_limit
from . import charts
from .findings import collect_findings


def render_page(result: StudyResult) -> str:
    """Return the report as an HTML page that contains all pictures. All names are escaped."""
    page = make_environment(__package__)
    page.filters.update(
        percent=format_percent,
        percent_interval=format_percent_interval,  # pyright: ignore[reportArgumentType]
        abbreviate=abbreviate,
    )
    styles = charts.assign_styles(result)
    return page.get_template("report.html.jinja").render(
        result=result,
        spec=result.spec,
        data=result.data,
        rows=result.summary,
        shifts=list(result.summary[0].score_shifted),
        findings=collect_findings(result),
        point=format_points_per_image(result.data.test),
        comparisons=describe_comparisons(result.summary),
        limit=describe_limit(result.spec, result.summary),
        accuracy_vs_parameters=charts.plot_accuracy_vs_parameters(result),
        learning_curves=charts.plot_learning_curves(result),
        accuracy_vs_shift=charts.plot_accuracy_vs_shift(result),
        first_layers=charts.draw_first_layers(result),
        colors=[PALETTE[color % len(PALETTE)] for color, _ in styles],
    )
