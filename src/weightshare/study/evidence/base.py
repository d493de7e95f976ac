"""What an experiment is, and what it returns: findings that compare published with measured figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from statistics import fmean
from typing import Any

from ...views import markdown, text
from ...views.page import make_environment
from ...views.pictures import Series, draw_lines
from ...views.section import Section
from ..statistics.intervals import compare_means, compute_interval

#: Measurements of one seed, as JSON values.
Record = dict[str, Any]
#: Title of a page with several experiments.
TITLE = "Weight sharing: published and measured"
HEAD = ("quantity", "published", "measured", "95% interval", "result", "note")


@dataclass(frozen=True)
class Finding:
    """A figure or claim of a publication, and what was measured.

    Args:
        quantity: What is measured, with its unit, such as "Net-1: test accuracy (%)".
        published: Figure or claim, as the source states it; None if there is none.
        measured: Measured value, or the mean over the seeds; None if nothing was measured.
        interval: 95% confidence interval of the mean; None if there is none.
        agrees: Whether both agree; None if they are not compared, for example because the data differ.
        note: Reason for the result, or what else a reader must know, as a sentence.
        digits: Number of decimals of the measured value.
    """

    quantity: str
    published: str | None
    measured: float | None
    interval: list[float] | None = None
    agrees: bool | None = None
    note: str = ""
    digits: int = 1

    @property
    def result(self) -> str:
        """The words "agrees", "does not agree" or "not compared"; "-" if nothing is published."""
        if self.published is None:
            return "-"
        return {True: "agrees", False: "does not agree", None: "not compared"}[self.agrees]

    def to_row(self) -> tuple[str, ...]:
        """Return the cells of the finding's row in a table."""
        low_high = ("-",) if self.interval is None else map(self._format, self.interval)
        measured = "-" if self.measured is None else self._format(self.measured)
        return (
            self.quantity,
            self.published or "-",
            measured,
            " to ".join(low_high),
            self.result,
            self.note,
        )

    def _format(self, value: float) -> str:
        return f"{round(value, self.digits) + 0.0:,.{self.digits}f}"  # + 0.0 turns -0.0 into 0.0


def compare_counts(quantity: str, published: int, measured: int) -> Finding:
    """Return the finding for a count, which must be equal to the published one.

    >>> compare_counts("weights", 1068, 1068).result
    'agrees'
    """
    note = "" if measured == published else f"The difference is {measured - published:+,}."
    return Finding(quantity, f"{published:,}", measured, None, measured == published, note, digits=0)


def measure(
    quantity: str, values: Sequence[float], published: str | None = None, note: str = "", digits: int = 1
) -> Finding:
    """Return the finding for a mean over seeds that is not compared with the published figure."""
    return Finding(quantity, published, fmean(values), compute_interval(values), None, note, digits)


def measure_percent(
    quantity: str, values: Sequence[float], published: str | None = None, note: str = ""
) -> Finding:
    """Return the finding for a mean of percentages, like `measure`. Its interval ends at 0 and 100."""
    finding = measure(quantity, values, published, note)
    if finding.interval is None:
        return finding
    return replace(finding, interval=[min(max(end, 0.0), 100.0) for end in finding.interval])


def compare_order(
    quantity: str,
    published: str,
    more: Sequence[float],
    less: Sequence[float],
    note: str = "",
    digits: int = 1,
) -> Finding:
    """Return the finding for the claim that one quantity is greater than another, compared in pairs.

    The measurement is their difference. It agrees if its interval is above zero.

    Args:
        quantity: Name of the difference.
        published: The claim.
        more, less: Values with the same seeds, in the same order.
        note: Sentence to put before the reason.
        digits: Number of decimals.

    >>> compare_order("A - B (points)", "A > B", [3.0, 4.0, 5.0], [1.0, 2.1, 2.9]).result
    'agrees'
    """
    difference = compare_means(more, less)
    agrees = difference.is_clear and difference.mean > 0
    if agrees:
        reason = ""
    elif difference.is_clear:
        reason = "The difference has the opposite sign."
    elif difference.ci is None:
        reason = "There is no interval, so this shows nothing."
    else:
        reason = f"No clear difference in {len(more)} pairs."
    text = " ".join(filter(None, (note, reason)))
    return Finding(quantity, published, difference.mean, difference.ci, agrees, text, digits)


@dataclass(frozen=True)
class Plot:
    """A chart of lines with intervals.

    Args:
        title: Caption.
        xlabel, ylabel: Labels of the axes, with units.
        series: The lines.
        is_percent: Whether values are percentages, which end at 0 and 100.
    """

    title: str
    xlabel: str
    ylabel: str
    series: tuple[Series, ...]
    is_percent: bool = False


def make_series(name: str, color: int, x: Sequence[float], values: Sequence[Sequence[float]]) -> Series:
    """Return the line of the means, with the interval at each point.

    Args:
        name: Name in the legend.
        color: Index into the palette.
        x: Horizontal coordinates.
        values: Values over seeds at each coordinate.
    """
    means = [fmean(one) for one in values]
    ends = [compute_interval(one) or [mean, mean] for one, mean in zip(values, means)]
    return Series(name, color, False, list(x), means, [low for low, _ in ends], [high for _, high in ends])


def _draw(plot: Plot) -> str:
    low, high = (0.0, 100.0) if plot.is_percent else (-inf, inf)

    def clip(ends: Sequence[float] | None) -> list[float] | None:
        return None if ends is None else [min(max(end, low), high) for end in ends]

    series = [replace(one, low=clip(one.low), high=clip(one.high)) for one in plot.series]
    return draw_lines(series, plot.xlabel, plot.ylabel, markers=True, low=low, high=high)


def _plot_nothing(records: Sequence[Record]) -> tuple[Plot, ...]:
    return ()


@dataclass(frozen=True)
class Experiment:
    """A published comparison that can be rerun.

    Args:
        name: Name on the command line.
        title: Heading.
        question: What the experiment asks, as one sentence.
        source: Publication.
        seeds: Default number of seeds.
        settings: What was chosen: sizes, training, as JSON values. They are part of the identity of records.
        run_seed: Function of the name of the data and a seed that returns its measurements. It is called with
            one thread, and may seed torch's generator.
        judge: Function of all records, by seed, that returns the findings.
        plot: Function of all records that returns the charts.
        data: Description of the data that the experiment makes itself; None if it takes images.
    """

    name: str
    title: str
    question: str
    source: str
    seeds: int
    settings: Mapping[str, Any]
    run_seed: Callable[[str, int], Record]
    judge: Callable[[Sequence[Record]], Sequence[Finding]]
    plot: Callable[[Sequence[Record]], Sequence[Plot]] = _plot_nothing
    data: str | None = None


@dataclass(frozen=True)
class Evidence:
    """The findings of an experiment. `str` of it is the table.

    Args:
        name: Name of the experiment.
        title: Heading.
        question: What the experiment asks.
        source: Publication.
        data: Description of the data.
        seeds: Number of seeds.
        settings: What was chosen.
        environment: Versions and machine.
        findings: One per published figure or claim.
        plots: Charts.
    """

    name: str
    title: str
    question: str
    source: str
    data: str
    seeds: int
    settings: Mapping[str, Any]
    environment: str
    findings: tuple[Finding, ...]
    plots: tuple[Plot, ...] = ()

    @property
    def verdict(self) -> str:
        """Number of findings that agree, as a sentence."""
        compared = [finding.agrees for finding in self.findings if finding.agrees is not None]
        if not compared:
            return "Nothing is compared."
        return f"Comparisons that agree: {sum(compared)} of {len(compared)}."

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """Source, data, seeds, settings and environment, as names and values."""
        settings = tuple((name.replace("_", " "), _write(value)) for name, value in self.settings.items())
        return (
            ("source", self.source),
            ("data", self.data),
            ("seeds", str(self.seeds)),
            *settings,
            ("environment", self.environment),
        )

    def __str__(self) -> str:
        rows = tuple(finding.to_row() for finding in self.findings)
        table = Section("", "lrrrll", HEAD, rows, (self.verdict,))
        details = Section("", "ll", (), self.details)
        head = f"{self.title}\n{self.question}"
        return text.render(head, [table, details], width=140)

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as JSON values."""
        return json.loads(json.dumps({**asdict(self), "verdict": self.verdict}))

    def to_json(self) -> str:
        """Return the evidence as JSON."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def to_markdown(self) -> str:
        """Return the evidence as a section of a Markdown page."""
        table = markdown.format_table("lrrrll", HEAD, [finding.to_row() for finding in self.findings])
        details = [f"- {name}: {markdown.escape(value)}" for name, value in self.details]
        parts = [f"## {markdown.escape(self.title)}", markdown.escape(self.question), self.verdict]
        return "\n\n".join([*parts, "\n".join(table), "\n".join(details)]) + "\n"

    def to_html(self) -> str:
        """Return the evidence as a self-contained HTML page with its charts."""
        return render_page([self])


def _write(value: Any) -> str:
    """Return a setting as text, a sequence without brackets."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def render_page(results: Sequence[Evidence]) -> str:
    """Return an HTML page with one section per experiment. All text is escaped."""
    charts = [[(plot.title, _draw(plot)) for plot in one.plots] for one in results]
    title = results[0].title if len(results) == 1 else TITLE
    return (
        make_environment(__package__)
        .get_template("evidence.html.jinja")
        .render(title=title, head=HEAD, results=list(zip(results, charts)))
    )
