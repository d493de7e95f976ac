"""The sections of the report on a sharing test."""

from collections.abc import Mapping, Sequence

from ..views.escape import escape_controls
from ..views.numbers import format_count, format_significant
from ..views.optional import require_matplotlib
from ..views.section import Section
from .alternatives import Alternative
from .layer import LayerResult, arrange_map
from .verdict import NAMES, Gain, Rule

_SHARINGS = ("sharing", "added parameters", "gain (%)", "interval (%)", "part of changes (%)")
_HEAD = ("layer", "verdict", "gain (%)", "interval (%)", "p-value", "suggestion", "added parameters")


def build_table(
    layers: Sequence[LayerResult], skipped: Mapping[str, str], judged: int, rule: Rule
) -> Section:
    """Return the table of all layers, with its explanation.

    Args:
        layers: Results in the order of the model.
        skipped: Reasons why other convolutions were not tried, by name.
        judged: Number of judged examples.
        rule: Constants of the verdict.
    """
    lines = [
        f"Gains from relaxing a layer are fractions of the loss over the best control, on {judged:,} judged "
        f"examples. The intervals hold for all layers together ({100 * (1 - rule.level):g}%).",
        f"The verdict is to relax a layer if the interval of its gain is above {100 * rule.threshold:g}%.",
    ]
    if skipped:
        reasons = (f"{escape_controls(name)} ({escape_controls(why)})" for name, why in skipped.items())
        lines.append(f"Not tried: {'; '.join(reasons)}.")
    return Section("", "llrrrlr", _HEAD, tuple(map(_make_row, layers)), lines=tuple(lines))


def _make_row(layer: LayerResult) -> tuple[str, ...]:
    return (
        escape_controls(layer.name),
        layer.verdict,
        "-" if layer.gain is None else _format_percent(layer.gain),
        "-" if layer.interval is None else " to ".join(map(_format_percent, layer.interval)),
        "-" if layer.p_value is None else _format_p_value(layer.p_value),
        str(layer.suggestion) if layer.verdict == "relax" else "-",
        f"+{format_count(layer.extra_parameters)}" if layer.verdict == "relax" else "-",
    )


def describe_layer(layer: LayerResult, pictures: bool) -> Section:
    """Return the section of one layer; its picture needs matplotlib."""
    gains = [f"over {NAMES[name]} {_format_gain(gain)}" for name, gain in layer.gains.items()]
    lines = [f"{layer.verdict.capitalize()}: {layer.reason}."]
    if gains:
        lines.append(f"{layer.tried} gains {', '.join(gains)}.")
    values = ", ".join(format_significant(value, 2) for value in layer.spectrum)
    lines.append(f"Spectrum of the wanted changes: {values}.")
    picture = caption = ""
    if pictures:
        picture, caption = _draw_map(layer), "Where kernels want to differ (light: more)"
    title = escape_controls(layer.name)
    if not layer.alternatives:
        return Section(title, picture=picture, caption=caption, lines=tuple(lines))
    lines.append(
        "The table shows gains over the best control, and which part of the wanted changes can be expressed."
    )
    rows = tuple(map(_make_alternative_row, layer.alternatives))
    return Section(title, "lrrrr", _SHARINGS, rows, tuple(lines), picture, caption)


def _make_alternative_row(one: Alternative) -> tuple[str, ...]:
    gain = interval = "not tried"
    if one.gain is not None:
        gain = _format_percent(one.gain.value)
        interval = f"{_format_percent(one.gain.low)} to {_format_percent(one.gain.high)}"
    share = "-" if one.share is None else f"{100 * one.share:.0f}"
    return str(one.sharing), f"+{format_count(one.extra_parameters)}", gain, interval, share


def _format_percent(value: float) -> str:
    """Return a fraction in percent, without the sign of a rounded zero."""
    return f"{round(100 * value, 2) + 0.0:.2f}"


def _format_p_value(value: float) -> str:
    """Return a p-value; those below the precision of the normal distribution are bounds.

    >>> _format_p_value(0.0123), _format_p_value(0.0)
    ('0.012', '< 1e-100')
    """
    return f"{value:.2g}" if value >= 1e-100 else "< 1e-100"


def _format_gain(gain: Gain) -> str:
    interval = f"{_format_percent(gain.low)} to {_format_percent(gain.high)}"
    return f"{_format_percent(gain.value)}% ({interval})"


def _draw_map(layer: LayerResult) -> str:
    with require_matplotlib("SharingTest.to_html"):
        from ..views.pictures import draw_tiles
    return draw_tiles(arrange_map(layer.map))
