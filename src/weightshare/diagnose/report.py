"""The sections of the report on a sharing test."""

from collections.abc import Mapping, Sequence

from ..views.escape import escape_controls
from ..views.numbers import format_count, format_significant
from ..views.optional import require_matplotlib
from ..views.section import Section
from .layer import LayerResult, arrange_map
from .verdict import NAMES, Gain, Rule

_HEAD = ("layer", "verdict", "gain (%)", "interval (%)", "p-value", "tried", "added parameters")


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
        "-" if layer.gain is None else f"{100 * layer.gain:.2f}",
        "-" if layer.interval is None else " to ".join(f"{100 * end:.2f}" for end in layer.interval),
        "-" if layer.p_value is None else f"{layer.p_value:.2g}",
        str(layer.suggestion),
        f"+{format_count(layer.extra_parameters)}",
    )


def describe_layer(layer: LayerResult, pictures: bool) -> Section:
    """Return the section of one layer; its picture needs matplotlib."""
    gains = [f"over {NAMES[name]} {_format_gain(gain)}" for name, gain in layer.gains.items()]
    lines = [f"{layer.verdict.capitalize()}: {layer.reason}."]
    if gains:
        lines.append(f"Gain {', '.join(gains)}.")
    values = ", ".join(format_significant(value, 2) for value in layer.spectrum)
    lines.append(f"Spectrum of the wanted changes: {values}.")
    if layer.alternatives:
        others = (f"{a.sharing} {a.share:.0%} (+{a.extra_parameters:,})" for a in layer.alternatives)
        what = "part of these changes that other sharings can express (added weights)"
        lines.append(f"Not tried: {what}: {', '.join(others)}.")
    picture = caption = ""
    if pictures:
        picture, caption = _draw_map(layer), "Where kernels want to differ (light: more)"
    return Section(escape_controls(layer.name), picture=picture, caption=caption, lines=tuple(lines))


def _format_gain(gain: Gain) -> str:
    return f"{100 * gain.value:.2f}% ({100 * gain.low:.2f} to {100 * gain.high:.2f})"


def _draw_map(layer: LayerResult) -> str:
    with require_matplotlib("SharingTest.to_html"):
        from ..views.pictures import draw_tiles
    return draw_tiles(arrange_map(layer.map))
