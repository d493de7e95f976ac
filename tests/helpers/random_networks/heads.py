"""Branches, and the ends of random networks, which describe the positions of the output."""

from tests.helpers.random_networks.builder import Builder, Factor, OutputDim
from tests.helpers.random_networks.registry import BRANCHES, HEADS, register, require


@register(BRANCHES, BRANCHES)
def residual(b: Builder) -> None:
    _branch(b, "inner")


@register(BRANCHES)
def u_net(b: Builder) -> None:
    _branch(b, "pooled")


@register(BRANCHES)
def two_scales(b: Builder) -> None:
    _branch(b, "resized")


def _branch(b: Builder, kind: str) -> None:
    name = f"s{len(b.lines)}"
    order, strides, size, inner = b.order, b.strides, b.size, b.inner
    b.run(f"{name} = h")
    if kind == "pooled":
        b.run(f"h = F.max_pool{b.axes}d(h, 2)")
        b.scale(2)
    elif kind == "resized":
        before = b.size
        b.run("h = F.interpolate(h, scale_factor=0.5, mode='area')")
        b.scale_from(before)
    b.add(inner)
    if kind != "inner":
        before = b.size
        b.run(f"h = F.interpolate(h, size={size})")
        b.scale_from(before)
    require((b.order, b.strides) == (order, strides))
    if b.size != size:
        require(all(n <= m for n, m in zip(b.size, size)))
        crop = ", ".join(f"{(m - n) // 2}:{(m - n) // 2 + n}" for n, m in zip(b.size, size))
        b.run(f"{name} = {name}[:, :, {crop}]")
    same = b.channels == b.values[name].shape[1]
    b.run(f"h = h + {name}" if same and b.pick(True, False) else f"h = torch.cat([h, {name}], 1)")


def _fixed(n: int) -> OutputDim:
    return OutputDim((Factor(n),))


def _read_scores(b: Builder) -> None:
    b.output = tuple(_fixed(n) for n in b.h.shape)


def _read_map(b: Builder) -> None:
    b.output = (*(_fixed(n) for n in b.h.shape[:2]), *(OutputDim((factor,)) for factor in b.read_map()))


@register(HEADS, HEADS, HEADS, HEADS)
def map_(b: Builder) -> None:
    b.run("h = h.clone()")
    _read_map(b)


@register(HEADS)
def channels_last(b: Builder) -> None:
    _read_map(b)
    b.run("h = h.movedim(1, -1)")
    b.output = (b.output[0], *b.output[2:], b.output[1])


@register(HEADS, HEADS)
def pooled_scores(b: Builder) -> None:
    dims = tuple(range(2, 2 + b.axes))
    layer = b.layer(f"nn.Linear({b.channels}, 3)")
    pooled = b.pick(f"h.mean({dims})", f"h.amax({dims})", f"F.adaptive_avg_pool{b.axes}d(h, 1).flatten(1)")
    b.run(f"h = {layer}({pooled})")
    _read_scores(b)


@register(HEADS)
def flattened_scores(b: Builder) -> None:
    flat, layer = b.layer("nn.Flatten()"), b.layer(f"nn.Linear({b.h[0].numel()}, 3)")
    b.run(f"h = {layer}({flat}(h))")
    _read_scores(b)


@register(HEADS)
def attention_scores(b: Builder) -> None:
    query, layer = b.parameter(b.channels, 1), b.layer(f"nn.Linear({b.channels}, 3)")
    b.run("t = h.flatten(2).mT", f"h = {layer}(((t @ {query}).softmax(1) * t).sum(1))")
    _read_scores(b)


@register(HEADS)
def last_state(b: Builder) -> None:
    layer = b.layer(f"nn.LSTM({b.channels}, 3, batch_first=True)")
    b.run(f"h = {layer}(h.flatten(2).mT)[0][:, -1]")
    _read_scores(b)


@register(HEADS)
def tokens(b: Builder) -> None:
    b.output = (_fixed(b.h.shape[0]), OutputDim(tuple(b.read_map())), _fixed(b.channels))
    b.run("h = h.flatten(2).transpose(1, 2)")


@register(HEADS)
def class_token(b: Builder) -> None:
    token = b.parameter(1, 1, b.channels)
    b.output = (_fixed(b.h.shape[0]), OutputDim(tuple(b.read_map()), 1), _fixed(b.channels))
    b.run(
        "t = h.flatten(2).transpose(1, 2)",
        f"t = torch.cat([{token}.expand(h.shape[0], -1, -1), t], 1)",
        "h = t + (t @ t.mT).softmax(-1) @ t",
    )


@register(HEADS)
def class_token_scores(b: Builder) -> None:
    token, layer = b.parameter(1, 1, b.channels), b.layer(f"nn.Linear({b.channels}, 3)")
    b.run(
        "t = h.flatten(2).transpose(1, 2)",
        f"t = torch.cat([{token}.expand(h.shape[0], -1, -1), t], 1)",
        f"h = {layer}((t + F.scaled_dot_product_attention(t, t, t))[:, 0])",
    )
    _read_scores(b)


@register(HEADS)
def sequence(b: Builder) -> None:
    b.output = (_fixed(b.h.shape[0]), _fixed(b.channels), OutputDim(tuple(b.read_map())))
    b.run("h = h.flatten(2)")


@register(HEADS)
def one_axis(b: Builder) -> None:
    require(b.axes > 1)
    _read_map(b)
    b.run("h = h.mean(2)")
    b.output = (*b.output[:2], *b.output[3:])


@register(HEADS)
def heat_map(b: Builder) -> None:
    """A map without channels, as a segmentation with two classes returns it."""
    _read_map(b)
    b.run("h = h.amax(1)")
    b.output = (b.output[0], *b.output[2:])
