"""Matrix products, windows, attention, recurrence and position embeddings."""

from fractions import Fraction

from tests.helpers.random_networks.builder import Builder
from tests.helpers.random_networks.registry import BREAKING, KEEPING, register, require


@register(KEEPING)
def einsum_channels(b: Builder) -> None:
    weight = b.parameter(b.pick(2, 4), b.channels)
    letters = "xyz"[: b.axes]
    b.run(f"h = torch.einsum('nc{letters},dc->nd{letters}', h, {weight})")


@register(KEEPING)
def einsum_attention(b: Builder) -> None:
    b.run(
        "t = h.flatten(2)",
        "a = torch.einsum('nci,ncj->nij', t, t).softmax(-1)",
        "h = torch.einsum('nij,ncj->nci', a, t).reshape(h.shape)",
    )


@register(KEEPING)
def linear_channels(b: Builder) -> None:
    layer = b.layer(f"nn.Linear({b.channels}, 4)")
    b.run(f"h = {layer}(h.movedim(1, -1)).movedim(-1, 1)")


@register(BREAKING)
def linear_positions(b: Builder) -> None:
    n = b.size[-1]
    layer = b.layer(f"nn.Linear({n}, {n})")
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def circulant(b: Builder) -> None:
    """A matrix product that is a circular convolution along the last axis."""
    n = b.size[-1]
    row = b.parameter(n)
    b.run(f"h = h @ {row}[(torch.arange({n})[:, None] - torch.arange({n})) % {n}]")


@register(KEEPING)
def pixel_shuffle(b: Builder) -> None:
    require(b.axes == 2)
    layer = b.layer(f"nn.Conv2d({b.channels}, 8, 1)")
    b.run(f"h = F.pixel_shuffle({layer}(h), 2)")
    b.scale(Fraction(1, 2))


@register(KEEPING)
def pixel_unshuffle(b: Builder) -> None:
    require(b.axes == 2)
    b.run("h = F.pixel_unshuffle(h, 2)")
    b.scale(2)


@register(KEEPING)
def unfold_fold(b: Builder) -> None:
    require(b.axes == 2)
    kernel, stride, padding = b.pick((2, 2, 0), (3, 1, 1), (2, 2, 0), (4, 2, 1))
    b.run(
        f"t = F.unfold(h, {kernel}, stride={stride}, padding={padding})",
        f"h = F.fold(t.tanh(), {b.size}, {kernel}, stride={stride}, padding={padding})",
    )


@register(KEEPING)
def unfold_columns(b: Builder) -> None:
    require(b.axes == 2)
    stride = b.pick(1, 2)
    b.run("t = F.pad(h, [1, 1, 1, 1], mode='circular')" if b.is_circular() else "t = F.pad(h, [1, 1, 1, 1])")
    height, width = (((n - 1) // stride) + 1 for n in b.size)
    b.run(
        f"t = F.unfold(t, 3, stride={stride}).unflatten(1, ({b.channels}, 9))",
        f"h = t.amax(2).unflatten(2, ({height}, {width}))",
    )
    b.scale(stride)


@register(KEEPING)
def tensor_unfold(b: Builder) -> None:
    stride = b.pick(1, 2, 3)
    b.run(f"h = h.unfold(-1, {b.pick(stride, 2)}, {stride}).mean(-1)")
    b.scale(*[1] * (b.axes - 1), stride)


@register(KEEPING)
def windows(b: Builder) -> None:
    """Softmax inside of windows of two positions along the last axis."""
    n = b.size[-1]
    require(n % 2 == 0)
    b.run(f"h = h.unflatten(-1, ({n // 2}, 2)).softmax(-1).flatten(-2)")


@register(KEEPING)
def window_attention(b: Builder) -> None:
    require(b.axes == 2 and all(n % 2 == 0 for n in b.size))
    height, width = b.size
    c = b.channels
    shift = b.pick(0, 1)
    b.run(
        f"t = torch.roll(h, ({shift}, {shift}), (2, 3))",
        f"t = t.view(-1, {c}, {height // 2}, 2, {width // 2}, 2).permute(0, 2, 4, 3, 5, 1)",
        f"t = t.reshape(-1, 4, {c})",
        "t = (t @ t.mT / 2).softmax(-1) @ t",
        f"t = t.view(-1, {height // 2}, {width // 2}, 2, 2, {c}).permute(0, 5, 1, 3, 2, 4).reshape(h.shape)",
        f"h = h + torch.roll(t, (-{shift}, -{shift}), (2, 3))",
    )


@register(KEEPING)
def space_to_depth(b: Builder) -> None:
    require(b.size[-1] % 2 == 0)
    b.run("h = torch.cat([h[..., 0::2], h[..., 1::2]], 1)")
    b.scale(*[1] * (b.axes - 1), 2)


@register(KEEPING)
def interleave(b: Builder) -> None:
    n = b.size[-1]
    b.run(f"b = h.new_zeros(*h.shape[:-1], {2 * n})", "b[..., 0::2] = h", "b[..., 1::2] = h.tanh()", "h = b")
    b.scale(*[1] * (b.axes - 1), Fraction(1, 2))


@register(BREAKING)
def pad_by_cat(b: Builder) -> None:
    b.run("z = h.new_zeros(*h.shape[:-1], 1)", "h = torch.cat([z, h, z], -1)")


@register(KEEPING)
def circular_pad_by_cat(b: Builder) -> None:
    layer = b.layer(f"nn.Conv{b.axes}d({b.channels}, 4, {(*[1] * (b.axes - 1), 3)})")
    b.run(f"h = {layer}(torch.cat([h[..., -1:], h, h[..., :1]], -1))")


@register(BREAKING)
def position_embedding(b: Builder) -> None:
    shape = [n if b.pick(True, True, False) else 1 for n in b.size]
    b.run(f"h = h {b.pick('+', '*')} {b.parameter(1, b.pick(1, b.channels), *shape)}")


@register(KEEPING)
def periodic_embedding(b: Builder) -> None:
    period = b.pick(2, 2, 3, 4)
    n = b.size[-1]
    require(n % period == 0 and n > period)
    table = b.parameter(b.channels, *[1] * (b.axes - 1), period)
    b.run(f"h = h + {table}.repeat({', '.join(['1'] * b.axes)}, {n // period})")


@register(KEEPING)
def position_mask(b: Builder) -> None:
    """A checkerboard along the last axis, or a random mask if the axis is uneven."""
    n = b.size[-1]
    require(n % 2 == 0)
    b.run(f"h = h.masked_fill(torch.arange({n}) % 2 == {b.pick(0, 1)}, {b.pick(0.0, 1.0)})")


@register(KEEPING)
def attention(b: Builder) -> None:
    layer = b.layer(f"nn.Linear({b.channels}, {3 * b.channels})")
    b.run(
        f"q, k, v = {layer}(h.flatten(2).mT).chunk(3, -1)",
        "h = h + F.scaled_dot_product_attention(q, k, v).mT.unflatten(-1, h.shape[2:])",
    )


@register(KEEPING)
def attention_class_token(b: Builder) -> None:
    c = b.channels
    token, layer = b.parameter(1, 1, c), b.layer(f"nn.MultiheadAttention({c}, 1, batch_first=True)")
    b.run(
        f"t = torch.cat([{token}.expand(h.shape[0], -1, -1), h.flatten(2).mT], 1)",
        f"t = t + {layer}(t, t, t, need_weights={b.pick(True, False)})[0]",
        f"h = t[:, 1:].mT.reshape(h.shape) {b.pick('', f'+ t[:, 0].reshape(-1, {c}, *[1] * {b.axes})')}",
    )


@register(KEEPING)
def transformer_layer(b: Builder) -> None:
    c = b.channels
    layer = b.layer(
        f"nn.TransformerEncoderLayer({c}, 1, {2 * c}, batch_first=True, norm_first={b.pick(True, False)})"
    )
    b.run(f"h = {layer}(h.flatten(2).mT).mT.unflatten(-1, h.shape[2:])")


@register(BREAKING)
def recurrent(b: Builder) -> None:
    kind = b.pick("LSTM", "GRU", "RNN")
    layer = b.layer(f"nn.{kind}({b.channels}, 4, batch_first=True, bidirectional={b.pick(True, False)})")
    b.run(f"h = {layer}(h.flatten(2).mT)[0].mT.unflatten(-1, h.shape[2:])")


@register(KEEPING)
def recurrent_axis(b: Builder) -> None:
    """A recurrent layer along one axis, as in a cell that reads columns; the other axes are a batch."""
    require(b.axes == 2)
    layer = b.layer(f"nn.LSTM({b.channels}, 4, batch_first=True)")
    height = b.size[0]
    b.run(
        f"t = {layer}(h.permute(0, 2, 3, 1).flatten(0, 1))[0]",
        f"h = t.unflatten(0, (-1, {height})).permute(0, 3, 1, 2)",
    )


@register(KEEPING)
def conv_lstm(b: Builder) -> None:
    c = b.channels
    layer = b.layer(f"nn.Conv{b.axes}d({c + 2}, 4, 3, padding=1, padding_mode='circular')")
    b.run("s = h.new_zeros(h.shape[0], 2, *h.shape[2:])")
    for _ in range(2):
        b.run(f"i, o = {layer}(torch.cat([h, s], 1)).chunk(2, 1)", "s = i.sigmoid() * o.tanh()")
    b.run("h = s")


@register(KEEPING)
def squeeze_excitation(b: Builder) -> None:
    c = b.channels
    down, up = b.layer(f"nn.Conv{b.axes}d({c}, 2, 1)"), b.layer(f"nn.Conv{b.axes}d(2, {c}, 1)")
    pool = b.layer(f"nn.AdaptiveAvgPool{b.axes}d(1)")
    b.run(f"h = h * {up}(F.relu({down}({pool}(h)))).sigmoid()")


@register(KEEPING)
def squeeze_linear(b: Builder) -> None:
    layer = b.layer(f"nn.Linear({b.channels}, {b.channels})")
    b.run(f"h = h * {layer}(h.flatten(2).mean(-1)).sigmoid().view(-1, {b.channels}, *[1] * {b.axes})")


@register(KEEPING)
def permute_conv(b: Builder) -> None:
    """Transpose, convolve, and transpose back."""
    require(b.axes == 2)
    layer = b.layer(f"nn.Conv2d({b.channels}, 4, 3, padding=1, padding_mode='circular')")
    b.run(f"h = {layer}(h.transpose(2, 3)).transpose(2, 3)")


@register(KEEPING)
def flip_conv(b: Builder) -> None:
    layer = b.layer(f"nn.Conv{b.axes}d({b.channels}, 4, 3, padding=1, padding_mode='circular')")
    b.run(f"h = {layer}(h.flip(-1)).flip(-1)")


@register(KEEPING)
def conv_on_rows(b: Builder) -> None:
    """A convolution along the last axis, with the other axes in the batch."""
    require(b.axes == 2)
    layer = b.layer(f"nn.Conv1d({b.channels}, 4, 3, padding=1, padding_mode='circular')")
    height = b.size[0]
    b.run(
        "t = h.transpose(1, 2).flatten(0, 1)", f"h = {layer}(t).unflatten(0, (-1, {height})).transpose(1, 2)"
    )
