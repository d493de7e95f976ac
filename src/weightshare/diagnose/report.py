"""The sections of the report on a sharing test."""

from collections.abc import Mapping, Sequence

from ..sharing import Full
from ..views.escape import escape_controls
from ..views.numbers import format_significant
from ..views.optional import require_matplotlib
from ..views.section import Section
from .alternatives import Alternative
from .judged import Judged
from .layer import LayerResult, arrange_map
from .tie import TieResult
from .verdict import NAMES, Gain, Rule

_SHARINGS = ("sharing", "added parameters", "gain (%)", "interval (%)", "part of changes (%)")
_HEAD = ("layer", "verdict", "gain (%)", "interval (%)", "p-value", "suggestion", "added parameters")


def build_table(
    layers: Sequence[LayerResult],
    ties: Sequence[TieResult],
    skipped: Mapping[str, str],
    judged: int,
    saved: float | None,
    rule: Rule,
) -> Section:
    """Return the table of all layers and ties, with its explanation.

    Args:
        layers: Results in the order of the model.
        ties: Results in the order of the model.
        skipped: Reasons why other convolutions and ties were not tried, by name.
        judged: Number of judged examples.
        saved: What training further saves; None if it is undefined.
        rule: Constants of the verdict.
    """
    what, threshold = "layers and ties" if ties else "layers", f"{100 * rule.threshold:g}%"
    lines = [
        f"Gains are fractions of the loss over the best control, on {judged:,} judged examples. The "
        f"intervals hold for all {what} together ({100 * (1 - rule.level):g}%)."
    ]
    if saved is not None:
        lines.append(f"Training the model further, as it is, saves {_format_percent(saved)}% of the loss.")
    is_restricted = [layer.tried == Full() for layer in layers]
    if not all(is_restricted):
        lines.append(
            f"The verdict is to relax a layer if the interval of its gain is above {threshold}, unless "
            f"training the model further saves more than {rule.most_saved:g} times as much."
        )
    if any(is_restricted):
        lines.append(
            "The verdict is to share one kernel in a layer with several if the interval is above "
            f"-{threshold}, that is, if sharing costs less than {threshold} of the loss."
        )
    if ties:
        lines.append(
            f"The verdict is to relax a tie, that is, to untie it, if the interval is above {threshold}."
        )
    if skipped:
        reasons = (f"{escape_controls(name)} ({escape_controls(why)})" for name, why in skipped.items())
        lines.append(f"Not tried: {'; '.join(reasons)}.")
    head = ("layer or tie", *_HEAD[1:]) if ties else _HEAD
    return Section("", "llrrrlr", head, tuple(map(_make_row, [*layers, *ties])), lines=tuple(lines))


def _make_row(result: LayerResult | TieResult) -> tuple[str, ...]:
    is_changed = result.verdict in ("relax", "share")
    return (
        escape_controls(result.name),
        result.verdict,
        "-" if result.gain is None else _format_percent(result.gain),
        "-" if result.interval is None else " to ".join(map(_format_percent, result.interval)),
        "-" if result.p_value is None else _format_p_value(result.p_value),
        str(result.suggestion) if is_changed else "-",
        f"{result.extra_parameters:+,}" if is_changed else "-",
    )


def describe_layer(layer: LayerResult, pictures: bool) -> Section:
    """Return the section of one layer; its picture needs matplotlib."""
    is_restricted = layer.tried == Full()
    lines = _describe_verdict(layer, str(layer.tried))
    values = ", ".join(format_significant(value, 2) for value in layer.spectrum)
    what = "differences of the kernels from the shared one" if is_restricted else "wanted changes"
    lines.append(f"Spectrum of the {what}: {values}.")
    picture = caption = ""
    if pictures:
        what = "differ from the shared one" if is_restricted else "want to differ"
        picture, caption = _draw_map(layer), f"Where kernels {what} (light: more)"
    title = escape_controls(layer.name)
    if not layer.alternatives:
        return Section(title, picture=picture, caption=caption, lines=tuple(lines))
    lines.append(
        "The table shows gains over the best control, and the part of the wanted changes that a sharing can "
        "express."
    )
    rows = tuple(map(_make_alternative_row, layer.alternatives))
    return Section(title, "lrrrr", _SHARINGS, rows, tuple(lines), picture, caption)


def _make_alternative_row(one: Alternative) -> tuple[str, ...]:
    gain = interval = "not tried"
    if one.gain is not None:
        gain = _format_percent(one.gain.value)
        interval = f"{_format_percent(one.gain.low)} to {_format_percent(one.gain.high)}"
    share = "-" if one.share is None else f"{100 * one.share:.0f}"
    return str(one.sharing), f"{one.extra_parameters:+,}", gain, interval, share


def _format_percent(value: float) -> str:
    """Return a fraction in percent, without the sign of a rounded zero."""
    return f"{round(100 * value, 2) + 0.0:.2f}"


def _format_p_value(value: float) -> str:
    """Return a p-value; those below the precision of the normal distribution are bounds.

    >>> _format_p_value(0.0123), _format_p_value(0.0)
    ('0.012', '< 1e-100')
    """
    return f"{value:.2g}" if value >= 1e-100 else "< 1e-100"


def describe_tie(tie: TieResult) -> Section:
    """Return the section of one tie."""
    tied = "; ".join(" = ".join(map(escape_controls, names)) for names in tie.names)
    return Section(escape_controls(tie.name), lines=(*_describe_verdict(tie, "Untying"), f"Tied: {tied}."))


def _describe_verdict(result: Judged, tried: str) -> list[str]:
    gains = [f"over {NAMES[name]} {_format_gain(gain)}" for name, gain in result.gains.items()]
    lines = [f"{result.verdict.capitalize()}: {result.reason}."]
    return [*lines, f"{tried} gains {', '.join(gains)}."] if gains else lines


def _format_gain(gain: Gain) -> str:
    interval = f"{_format_percent(gain.low)} to {_format_percent(gain.high)}"
    return f"{_format_percent(gain.value)}% ({interval})"


def _draw_map(layer: LayerResult) -> str:
    with require_matplotlib("SharingTest.to_html"):
        from ..views.pictures import draw_tiles
    return draw_tiles(arrange_map(layer.map))
