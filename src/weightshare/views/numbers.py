"""Numbers as text."""

from math import floor, log10


def format_count(n: int | None) -> str:
    """Return a count with thousands separators; "-" for an unknown one.

    >>> format_count(34944), format_count(None)
    ('34,944', '-')
    """
    return "-" if n is None else f"{n:,}"


def format_percent(fraction: float, digits: int = 1) -> str:
    """Return a fraction in percent, without the percent sign.

    >>> format_percent(0.9567), format_percent(-0.0001)
    ('95.7', '0.0')
    """
    return f"{round(100 * fraction, digits) + 0.0:.{digits}f}"  # + 0.0 turns -0.0 into 0.0


def format_percent_interval(fraction: float, ci: list[float] | None) -> str:
    """Return a fraction in percent with the half-width of its confidence interval, if there is one.

    A half-width below 0.05 has one significant digit, so that it is never shown as zero.

    >>> format_percent_interval(0.95, [0.94, 0.96]), format_percent_interval(0.95, [0.9498, 0.9502])
    ('95.0 ± 1.0', '95.0 ± 0.02')
    """
    if ci is None:
        return format_percent(fraction)
    half = 50 * (ci[1] - ci[0])
    return (
        f"{format_percent(fraction)} ± {half:.1f}"
        if half >= 0.05
        else f"{format_percent(fraction)} ± {half:.1g}"
    )


def format_significant(value: float, digits: int = 4) -> str:
    """Return a number with this many significant digits.

    >>> format_significant(0.123456), format_significant(1234.56), format_significant(1.5e-9)
    ('0.1235', '1,235', '1.500e-09')
    """
    if value == 0:
        return "0"
    exponent = floor(log10(abs(value)))
    if not -5 <= exponent < 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def format_points_per_image(images: int) -> str:
    """Return the contribution of one test image to the accuracy, in percentage points with two digits.

    >>> format_points_per_image(449), format_points_per_image(10_000)
    ('0.22', '0.01')
    """
    return f"{100 / images:.2g}"


def abbreviate(count: float) -> str:
    """Return a count with three digits and a unit of k, M or G.

    >>> abbreviate(314), abbreviate(12_345), abbreviate(4_750_000)
    ('314', '12.3k', '4.75M')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def format_ratio(ratio: float) -> str:
    """Return a ratio with one decimal, or without decimals if it is at least 10.

    >>> format_ratio(61.3), format_ratio(3.84)
    ('61', '3.8')
    """
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"


def format_error(error: float | None) -> str:
    """Return a relative error with two digits; "-" for an unknown one.

    >>> format_error(0.0), format_error(1.234e-3), format_error(None)
    ('0', '0.0012', '-')
    """
    return "-" if error is None else f"{error:.2g}"
