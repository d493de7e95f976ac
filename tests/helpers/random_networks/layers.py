"""Normalization, activations, resizing, padding and subsampling."""

from fractions import Fraction

from tests.helpers.random_networks.builder import Builder
from tests.helpers.random_networks.registry import BREAKING, KEEPING, register


@register(KEEPING)
def batch_norm(b: Builder) -> None:
    layer = b.layer(f"nn.BatchNorm{b.axes}d({b.channels})")
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def instance_norm(b: Builder) -> None:
    layer = b.layer(f"nn.InstanceNorm{b.axes}d({b.channels}, affine={b.pick(True, False)})")
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def group_norm(b: Builder) -> None:
    layer = b.layer(f"nn.GroupNorm({b.pick(1, b.channels)}, {b.channels})")
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def layer_norm(b: Builder) -> None:
    kind = b.pick("LayerNorm", "RMSNorm")
    layer = b.layer(f"nn.{kind}({b.channels})")
    b.run(f"h = {layer}(h.movedim(1, -1)).movedim(-1, 1)")


@register(KEEPING)
def layer_norm_shared(b: Builder) -> None:
    b.run("h = F.layer_norm(h, h.shape[1:])")


@register(BREAKING)
def layer_norm_positions(b: Builder) -> None:
    layer = b.layer(f"nn.LayerNorm({[b.channels, *b.size]})")
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def prelu(b: Builder) -> None:
    layer = b.layer(f"nn.PReLU({b.channels})")
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def activation_module(b: Builder) -> None:
    kind = b.pick(
        "ELU()", "Hardswish()", "Mish()", "SELU(inplace=True)", "ReLU6()", "Softsign()", "Identity()"
    )
    layer = b.layer(f"nn.{kind}")
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def resize(b: Builder) -> None:
    before = b.size
    linear = ("linear", "bilinear", "trilinear")[b.axes - 1]
    mode = b.pick("nearest", "nearest-exact", linear, *(["bicubic"] if b.axes == 2 else []))
    align = "" if mode.startswith("nearest") else f", align_corners={b.pick(True, False)}"
    factor = b.pick(2, 2, 0.5, None)
    how = f"size={tuple(n + 1 for n in before)}" if factor is None else f"scale_factor={factor}"
    b.run(f"h = F.interpolate(h, {how}, mode={mode!r}{align})")
    b.scale_from(before) if factor is None else b.scale(1 / Fraction(factor))


@register(KEEPING)
def resize_module(b: Builder) -> None:
    before = b.size
    linear = ("linear", "bilinear", "trilinear")[b.axes - 1]
    layer = b.layer(f"nn.Upsample(scale_factor=2, mode={b.pick('nearest', linear)!r})")
    b.run(f"h = {layer}(h)")
    b.scale_from(before)


@register(KEEPING)
def repeat_interleave(b: Builder) -> None:
    b.run("h = h.repeat_interleave(2, -1)")
    b.scale(*[1] * (b.axes - 1), Fraction(1, 2))


@register(KEEPING)
def pad_any(b: Builder) -> None:
    """Pad or crop any sides in any mode, and then convolve or not."""
    mode = "circular" if b.is_circular() else b.pick("constant", "reflect", "replicate")
    sides = [w for _ in range(b.axes) for w in b.pick((0, 0), (1, 1), (2, 1), (0, 2))]
    if mode == "constant":
        sides = [w if b.pick(True, True, False) else -1 for w in sides]
    value = f", value={b.pick(0, 0.5)}" if mode == "constant" else ""
    b.run(f"h = F.pad(h, {sides}, {mode!r}{value})")
    if b.pick(True, True, False):
        kernel = tuple(1 + max(0, low + high) for low, high in zip(sides[-2::-2], sides[::-2]))
        layer = b.layer(f"nn.Conv{b.axes}d({b.channels}, 4, {kernel})")
        b.run(f"h = {layer}(h)")


@register(KEEPING)
def pad_module(b: Builder) -> None:
    kind = "CircularPad" if b.is_circular() else b.pick("ZeroPad", "ReflectionPad", "ReplicationPad")
    kernel = b.pick(3, 3, 5)
    pad, layer = (
        b.layer(f"nn.{kind}{b.axes}d({kernel // 2})"),
        b.layer(f"nn.Conv{b.axes}d({b.channels}, 4, {kernel})"),
    )
    b.run(f"h = {layer}({pad}(h))")


@register(KEEPING)
def causal_conv(b: Builder) -> None:
    mode = "circular" if b.is_circular() else "constant"
    layer = b.layer(f"nn.Conv{b.axes}d({b.channels}, 4, 3)")
    b.run(f"h = {layer}(F.pad(h, {[2, 0] * b.axes}, {mode!r}))")


@register(KEEPING)
def subsample(b: Builder) -> None:
    start = b.pick(0, 0, 1)
    b.run(f"h = h[..., {start}::2]")
    b.scale(*[1] * (b.axes - 1), 2)


@register(BREAKING)
def sort_axis(b: Builder) -> None:
    b.run("h = h.sort(-1).values")
    b.order = [*b.order[:-1], None]  # there are no positions any more


@register(BREAKING)
def crop(b: Builder) -> None:
    b.run(b.pick("h = h[..., 1:] - h[..., :-1]", "h = h[:, :, 1:-1]", "h = h.narrow(-1, 0, h.shape[-1] - 1)"))
