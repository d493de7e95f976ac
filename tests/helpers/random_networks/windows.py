"""Convolutions and pools."""

from fractions import Fraction

from tests.helpers.random_networks.builder import Builder
from tests.helpers.random_networks.registry import KEEPING, register, require


def _pad(b: Builder, width: int) -> None:
    """Pad all axes by the same width, circularly if that is drawn."""
    mode = "circular" if b.is_circular() else b.pick("constant", "reflect", "replicate")
    b.run(f"h = F.pad(h, {[width] * 2 * b.axes}, mode={mode!r})")


@register(KEEPING, KEEPING, KEEPING, KEEPING)
def conv(b: Builder) -> None:
    kernel, dilation, stride = b.pick(1, 2, 3, 3, 3, 4, 5), b.pick(1, 1, 1, 2), b.pick(1, 1, 1, 2, 2, 3)
    groups = b.pick(1, 1, 2) if b.channels % 2 == 0 else 1
    mode = "circular" if b.is_circular() else b.pick("zeros", "zeros", "reflect", "replicate")
    padding = b.pick(*[dilation * (kernel - 1) // 2] * 5, 0, 1, 2)
    padding = "'same'" if stride == 1 and b.pick(True, False, False) else padding
    out = b.pick(2, 4, 6)
    bias = b.pick(True, True, False)
    settings = f"{b.channels}, {out}, {kernel}, {stride}, {padding}, {dilation}, {groups}, {bias}, {mode!r}"
    layer = b.layer(f"nn.Conv{b.axes}d({settings})")
    b.run(f"h = {layer}(h)")
    b.scale(stride)


@register(KEEPING)
def conv_functional(b: Builder) -> None:
    out, kernel, stride = b.pick(2, 4), b.pick(2, 3), b.pick(1, 1, 2)
    weight = b.parameter(out, b.channels, *[kernel] * b.axes)
    low, high = (kernel - 1) // 2, kernel // 2
    mode = "circular" if b.is_circular() else b.pick("constant", "reflect", "replicate")
    b.run(
        f"h = F.pad(h, {[low, high] * b.axes}, mode={mode!r})",
        f"h = F.conv{b.axes}d(h, {weight}, stride={stride})",
    )
    b.scale(stride)


@register(KEEPING)
def conv_per_axis(b: Builder) -> None:
    """Circular along one axis, and zeros along the others."""
    require(b.axes > 1)
    one = b.rng.randrange(b.axes)
    kernels = [3 if d == one else 1 for d in range(b.axes)]
    strides = [b.pick(1, 2) if d == one else 1 for d in range(b.axes)]
    mode = "circular" if b.is_circular() else "zeros"
    paddings = tuple(k // 2 for k in kernels)
    settings = f"{tuple(kernels)}, {tuple(strides)}, {paddings}, padding_mode={mode!r}"
    layer = b.layer(f"nn.Conv{b.axes}d({b.channels}, 4, {settings})")
    b.run(f"h = {layer}(h)")
    b.scale(*strides)


@register(KEEPING)
def ring(b: Builder) -> None:
    """A panorama: circular padding along one axis, zeros along the others, in two calls."""
    require(b.axes > 1)
    one = b.rng.randrange(b.axes)
    around = [w for d in reversed(range(b.axes)) for w in ((1, 1) if d == one else (0, 0))]
    layer = b.layer(f"nn.Conv{b.axes}d({b.channels}, 4, 3)")
    calls = [f"h = F.pad(h, {around}, mode='circular')", f"h = F.pad(h, {[1 - w for w in around]})"]
    b.run(*calls[:: b.pick(1, -1)], f"h = {layer}(h)")


@register(KEEPING)
def depthwise(b: Builder) -> None:
    c = b.channels
    layer = b.layer(f"nn.Conv{b.axes}d({c}, {c}, 3, padding=1, groups={c}, padding_mode='circular')")
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def conv_transposed(b: Builder) -> None:
    stride = b.pick(1, 2, 2)
    kernel = stride * b.pick(1, 1, 1, 2) if b.is_circular() else b.pick(2, 3, 4)
    padding = b.pick(0, 0, 1)
    require(padding < kernel)
    settings = f"{kernel}, {stride}, {padding}, {b.pick(0, 0, stride - 1)}"
    layer = b.layer(f"nn.ConvTranspose{b.axes}d({b.channels}, 4, {settings})")
    b.run(f"h = {layer}(h)")
    b.scale(Fraction(1, stride))


@register(KEEPING)
def conv_transposed_circular(b: Builder) -> None:
    """Transposed convolution on a ring: circular padding before, a crop after."""
    kernel = b.pick(2, 3, 4)
    layer = b.layer(f"nn.ConvTranspose{b.axes}d({b.channels}, 4, {kernel}, 2)")
    crop = ", ".join(f"2:{2 + 2 * n}" for n in b.size)
    b.run(f"h = F.pad(h, {[1, 1] * b.axes}, mode='circular')", f"h = {layer}(h)[:, :, {crop}]")
    b.scale(Fraction(1, 2))


@register(KEEPING)
def shared_conv(b: Builder) -> None:
    """A convolution with weights that are shared with a period."""
    period = b.pick(1, 2, 2, 3, 4)
    layer = b.layer(
        f"ws.nn.Conv{b.axes}d({b.channels}, 4, 3, padding=1, padding_mode='circular', "
        f"input_size={b.size}, sharing=ws.Tiled({period}))"
    )
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def max_pool(b: Builder) -> None:
    kernel, stride = b.pick(2, 2, 3), b.pick(2, 2, 1, 3)
    padding = b.pick(0, 0, 0, 1)
    b.run(
        f"h = F.max_pool{b.axes}d(h, {kernel}, {stride}, {padding}, ceil_mode={b.pick(False, False, True)})"
    )
    b.scale(stride)


@register(KEEPING)
def max_pool_module(b: Builder) -> None:
    kernel = b.pick(2, 3)
    layer = b.layer(f"nn.MaxPool{b.axes}d({kernel})")
    b.run(f"h = {layer}(h)")
    b.scale(kernel)


@register(KEEPING)
def max_pool_padded(b: Builder) -> None:
    _pad(b, 1)
    b.run(f"h = F.max_pool{b.axes}d(h, 3, {(stride := b.pick(1, 2))}, dilation={b.pick(1, 1, 2)})")
    b.scale(stride)


@register(KEEPING)
def average_pool(b: Builder) -> None:
    kernel, stride = b.pick(2, 2, 3), b.pick(2, 2, 1)
    padding, include = b.pick(0, 0, 0, 1), b.pick(True, False)
    layer = b.layer(
        f"nn.AvgPool{b.axes}d({kernel}, {stride}, {padding}, {b.pick(False, False, True)}, {include})"
    )
    b.run(f"h = {layer}(h)")
    b.scale(stride)


@register(KEEPING)
def lp_pool(b: Builder) -> None:
    kernel = b.pick(2, 2, 3)
    b.run(f"h = F.lp_pool{b.axes}d(h.abs() + 0.1, 2, {kernel})")
    b.scale(kernel)


@register(KEEPING)
def blur_pool(b: Builder) -> None:
    layer = b.layer(f"ws.nn.BlurPool{b.axes}d(padding_mode={b.pick('circular', 'circular', 'reflect')!r})")
    b.run(f"h = {layer}(h)")
    b.scale(2)


@register(KEEPING)
def adaptive_average_pool(b: Builder) -> None:
    before = b.size
    size = tuple(n // 2 if n % 2 == 0 and b.pick(True, True, False) else b.rng.randint(1, n) for n in before)
    b.run(f"h = F.adaptive_avg_pool{b.axes}d(h, {size})")
    b.scale_from(before)


@register(KEEPING)
def adaptive_max_pool(b: Builder) -> None:
    before = b.size
    size = tuple(n // 2 if n % 2 == 0 else n for n in before)
    layer = b.layer(f"nn.AdaptiveMaxPool{b.axes}d({size})")
    b.run(f"h = {layer}(h)")
    b.scale_from(before)


@register(KEEPING)
def unpool(b: Builder) -> None:
    before = b.size
    b.run(
        f"h, i = F.max_pool{b.axes}d(h, 2, return_indices=True)",
        f"h = F.max_unpool{b.axes}d(h.sigmoid() + 1, i, 2, output_size={before})",
    )


@register(KEEPING)
def polyphase(b: Builder) -> None:
    """Keep the even or the odd positions, whichever have the larger norm."""
    n = b.size[-1]
    require(n % 2 == 0)
    b.run("p = torch.stack([h[..., 0::2], h[..., 1::2]])", "h = p[p.flatten(1).norm(dim=1).argmax()]")
    b.scale(*[1] * (b.axes - 1), 2)
