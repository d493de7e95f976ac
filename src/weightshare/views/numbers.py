"""Numbers as people read them."""


def format_count(n: int | None) -> str:
    """Format a count with thousands separators; "-" for an unknown one.

    >>> format_count(34944), format_count(None)
    ('34,944', '-')
    """
    return "-" if n is None else f"{n:,}"


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction in percent, without the sign.

    >>> percent(0.9567)
    '95.7'
    """
    return f"{100 * fraction:.{digits}f}"


def percent_with(fraction: float, ci: list[float] | None) -> str:
    """A fraction in percent with half the width of its interval.

    >>> percent_with(0.95, [0.94, 0.96])
    '95.0 ± 1.0'
    """
    return percent(fraction) + ("" if ci is None else f" ± {percent((ci[1] - ci[0]) / 2)}")


def short_points(images: int) -> str:
    """What one of so many test images is worth, in points, with two digits.

    >>> short_points(449), short_points(10_000)
    ('0.22', '0.01')
    """
    return f"{100 / images:.2g}"


def short(count: float) -> str:
    """A large number with three digits and k, M or G.

    >>> short(314), short(12_345), short(4_750_000)
    ('314', '12.3k', '4.75M')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def times_as_many(ratio: float) -> str:
    """A ratio with two digits below ten and none above.

    >>> times_as_many(61.3), times_as_many(3.84)
    ('61', '3.8')
    """
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"


def format_error(error: float | None) -> str:
    """Format a relative error with two digits; "-" for an unknown one.

    >>> format_error(0.0), format_error(1.234e-3), format_error(None)
    ('0', '0.0012', '-')
    """
    return "-" if error is None else f"{error:.2g}"
