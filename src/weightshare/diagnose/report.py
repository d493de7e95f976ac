"""The sections of the report on a sharing test."""

from collections.abc import Mapping, Sequence

from ..sharing import Full
from ..views.escape import escape_controls
from ..views.numbers import format_significant
from ..views.optional import require_matplotlib
from ..views.section import Section
from .judged import Judged
from .layer import LayerResult, arrange_map
from .tie import TieResult
from .verdict import NAMES, Gain, Rule

_HEAD = ("layer", "verdict", "gain (%)", "interval (%)", "p-value", "tried", "added parameters")


def build_table(
    layers: Sequence[LayerResult],
    ties: Sequence[TieResult],
    skipped: Mapping[str, str],
    judged: int,
    rule: Rule,
) -> Section:
    """Return the table of all layers and ties, with its explanation.

    Args:
        layers: Results in the order of the model.
        ties: Results in the order of the model.
        skipped: Reasons why other convolutions and ties were not tried, by name.
        judged: Number of judged examples.
        rule: Constants of the verdict.
    """
    what, threshold = "layers and ties" if ties else "layers", f"{100 * rule.threshold:g}%"
    lines = [
        f"Gains are fractions of the loss over the best control, on {judged:,} judged examples. The "
        f"intervals hold for all {what} together ({100 * (1 - rule.level):g}%)."
    ]
    is_restricted = [layer.suggestion == Full() for layer in layers]
    if not all(is_restricted):
        lines.append(f"The verdict is to relax a layer if the interval of its gain is above {threshold}.")
    if any(is_restricted):
        lines.append(
            "The verdict is to share one kernel in a layer with several if the interval is above "
            f"-{threshold}, so that this costs less than {threshold} of the loss."
        )
    if ties:
        lines.append(
            f"The verdict is to relax a tie, that is to untie it, if the interval is above {threshold}."
        )
    if skipped:
        reasons = (f"{escape_controls(name)} ({escape_controls(why)})" for name, why in skipped.items())
        lines.append(f"Not tried: {'; '.join(reasons)}.")
    head = ("layer or tie", *_HEAD[1:]) if ties else _HEAD
    return Section("", "llrrrlr", head, tuple(map(_make_row, [*layers, *ties])), lines=tuple(lines))


def _make_row(result: LayerResult | TieResult) -> tuple[str, ...]:
    return (
        escape_controls(result.name),
        result.verdict,
        "-" if result.gain is None else f"{100 * result.gain:.2f}",
        "-" if result.interval is None else " to ".join(f"{100 * end:.2f}" for end in result.interval),
        "-" if result.p_value is None else f"{result.p_value:.2g}",
        str(result.suggestion),
        f"{result.extra_parameters:+,}",
    )


def describe_layer(layer: LayerResult, pictures: bool) -> Section:
    """Return the section of one layer; its picture needs matplotlib."""
    lines = _describe_verdict(layer)
    is_restricted = layer.suggestion == Full()
    values = ", ".join(format_significant(value, 2) for value in layer.spectrum)
    what = "differences of the kernels from the shared one" if is_restricted else "wanted changes"
    lines.append(f"Spectrum of the {what}: {values}.")
    if layer.alternatives:
        others = (f"{a.sharing} {a.share:.0%} (+{a.extra_parameters:,})" for a in layer.alternatives)
        what = "part of these changes that other sharings can express (added weights)"
        lines.append(f"Not tried: {what}: {', '.join(others)}.")
    picture = caption = ""
    if pictures:
        what = "differ from the shared one" if is_restricted else "want to differ"
        picture, caption = _draw_map(layer), f"Where kernels {what} (light: more)"
    return Section(escape_controls(layer.name), picture=picture, caption=caption, lines=tuple(lines))


def describe_tie(tie: TieResult) -> Section:
    """Return the section of one tie."""
    tied = "; ".join(" = ".join(map(escape_controls, names)) for names in tie.names)
    return Section(escape_controls(tie.name), lines=(*_describe_verdict(tie), f"Tied: {tied}."))


def _describe_verdict(result: Judged) -> list[str]:
    gains = [f"over {NAMES[name]} {_format_gain(gain)}" for name, gain in result.gains.items()]
    lines = [f"{result.verdict.capitalize()}: {result.reason}."]
    return [*lines, f"Gain {', '.join(gains)}."] if gains else lines


def _format_gain(gain: Gain) -> str:
    return f"{100 * gain.value:.2f}% ({100 * gain.low:.2f} to {100 * gain.high:.2f})"


def _draw_map(layer: LayerResult) -> str:
    with require_matplotlib("SharingTest.to_html"):
        from ..views.pictures import draw_tiles
    return draw_tiles(arrange_map(layer.map))
