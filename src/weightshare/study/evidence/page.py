"""Evidence as one self-contained HTML page."""

from collections.abc import Sequence

from ...views.page import make_environment
from ...views.pictures import draw_lines
from .base import HEAD, Evidence

TITLE = "Weight sharing: published and measured"


def render_page(results: Sequence[Evidence]) -> str:
    """Return a page with one section per experiment. All text is escaped."""
    charts = [
        [(plot.title, draw_lines(plot.series, plot.xlabel, plot.ylabel, markers=True)) for plot in one.plots]
        for one in results
    ]
    title = results[0].title if len(results) == 1 else TITLE
    return (
        make_environment(__package__)
        .get_template("evidence.html.jinja")
        .render(title=title, head=HEAD, results=list(zip(results, charts)))
    )
