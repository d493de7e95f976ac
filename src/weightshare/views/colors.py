"""Colors of figures: distinguishable with all common kinds of color vision, on light and on dark pages.

The fills are lighter variants of published hues, moved apart until their smallest difference under simulated
color blindness was large; letters tell them apart, too. Text and lines use `INK`, `ACCENT` or `WARNING`,
which have a contrast of at least 3 both to white and to the background of dark pages.

Source of the hues: Okabe and Ito, "Color Universal Design", 2008.
"""

# the types of matplotlib are incomplete
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb

INK = "#7a7a7a"  # contrast 4.3 to both backgrounds
ACCENT = "#0072B2"
WARNING = "#D55E00"

#: Fills of up to eight banks. With more banks, `color_banks` uses a ramp.
FILLS = ("#9BACF7", "#F7BA55", "#59C98F", "#BCA6C1", "#726B8C", "#DF694C", "#EDF7A8", "#5C6FC0")
#: A map for signed values whose lightness grows with the value, so that the sign is visible in grayscale.
SIGNED = LinearSegmentedColormap.from_list(
    "weightshare", ["#2A0A52", "#5E3C99", "#8F8F8F", "#EBA642", "#FFE7BD"]
)


def color_banks(count: int) -> np.ndarray:
    """Return one color per bank [count, 3]: distinct hues for up to eight banks, else a ramp.

    The lightness of the ramp grows with the number of the bank.
    """
    if count <= len(FILLS):
        return np.array([to_rgb(fill) for fill in FILLS[: max(count, 1)]])
    return 0.2 + 0.8 * matplotlib.colormaps["viridis"](np.linspace(0.08, 1, count))[:, :3]


def choose_ink(fill: np.ndarray) -> str:
    """Return black or white, whichever has the higher contrast to the fill; it is at least 4.5.

    >>> choose_ink(np.array([1, 1, 0])), choose_ink(np.array([0, 0, 0.5]))
    ('#000000', '#ffffff')
    """
    return max("#000000", "#ffffff", key=lambda ink: compute_contrast(ink, fill))


def compute_contrast(first: str | np.ndarray, second: str | np.ndarray) -> float:
    """Return the contrast ratio of two colors, from 1 to 21.

    >>> compute_contrast("#000000", "#ffffff")
    21.0

    Source: WCAG 2.2, "contrast ratio".
    """
    low, high = sorted((_compute_luminance(first), _compute_luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _compute_luminance(color: str | np.ndarray) -> float:
    values = np.array(to_rgb(color if isinstance(color, str) else tuple(color)))
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
