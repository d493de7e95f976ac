"""Sharings of all kinds, for 6 x 6 positions."""

from weightshare import Full, Local, LowRank, Mapped, Regional, SharedAlong, Tiled

SHARINGS = [
    Full(),
    Tiled(2),
    Tiled((3, 2)),
    Regional((2, 3)),
    SharedAlong(1),
    SharedAlong(()),
    Mapped([[(i + j) % 3 for j in range(6)] for i in range(6)]),
    LowRank(0),
    LowRank(2),
    LowRank(2, "free"),
    Local(),
]
