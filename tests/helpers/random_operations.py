"""Operations of random networks. Each continues the map `h` and records what it does to its strides."""

from fractions import Fraction

from tests.helpers.random_networks import Builder, DoesNotFitError, Factor, Operation, OutputDim

KEEPING: list[str] = []  # operations that keep some shifts, or may keep them
BREAKING: list[str] = []  # operations that break all
BRANCHES: list[str] = []  # operations that contain others
HEADS: list[str] = []
OPERATIONS: dict[str, Operation] = {}


def register(*lists: list[str]):
    def decorate(operation: Operation) -> Operation:
        name = operation.__name__.strip("_")
        OPERATIONS[name] = operation
        for names in lists:
            names.append(name)
        return operation

    return decorate


def require(condition: bool) -> None:
    if not condition:
        raise DoesNotFitError


# Lines that change no stride. {c} channels, {half} half of them, {d} number of axes, {size} the spatial size,
# {one} one spatial dimension, {last} the last one, {pad} a list of widths for F.pad.
_KEEPING_LINES = {
    "relu": "h = F.relu(h)",
    "relu_in_place": "h = F.relu(h, inplace=True)",
    "gelu": "h = F.gelu(h)",
    "silu": "h = F.silu(h)",
    "tanh": "h = h.tanh()",
    "softplus": "h = F.softplus(h)",
    "leaky_relu": "h = F.leaky_relu(h, 0.2)",
    "glu": "h = F.glu(h, 1)",
    "abs_": "h = h.clone().abs_()",
    "clamp": "h = h.clamp(-1, 1)",
    "dropout": "h = F.dropout(h, 0.5, self.training)",
    "local_response_norm": "h = F.local_response_norm(h, 2)",
    "normalize": "h = F.normalize(h, dim=1)",
    "softmax_channels": "h = h.softmax(1)",
    "softmax_positions": "h = h.flatten(2).softmax(-1).unflatten(-1, {size})",
    "log_softmax_axis": "h = h - h.logsumexp({one}, keepdim=True)",
    "cumsum_channels": "h = h.cumsum(1)",
    "sort_channels": "h = h.sort(1).values",
    "topk_channels": "h = h.topk({half}, 1).values",
    "max_channels": "h = torch.cat([h, h.max(1, keepdim=True).values], 1)",
    "max_dim": "h = h + h.max({one}, keepdim=True)[0]",
    "argmax_channels": "h = h * F.one_hot(h.argmax(1), {c}).movedim(-1, 1)",
    "global_mean": "h = h - h.mean({dims}, keepdim=True)",
    "global_std": "h = h / (h.std({dims}, keepdim=True) + 1)",
    "global_amax": "h = h / (1 + h.amax({dims}, keepdim=True).abs())",
    "axis_mean": "h = h + h.mean({one}, keepdim=True)",
    "adaptive_gate": "h = h * F.adaptive_avg_pool{d}d(h, 1).sigmoid()",
    "chunk": "a, b = h.chunk(2, 1); h = a * b.sigmoid()",
    "split": "a, b = h.split([1, {c} - 1], 1); h = torch.cat([b, a.tanh()], 1)",
    "unbind_stack": "h = torch.stack([p * (n + 1) for n, p in enumerate(h.unbind(1))], 1)",
    "stack_max": "h = torch.stack([h, -h], 0).amax(0)",
    "select_channel": "h = torch.cat([h, h[:, 0].unsqueeze(1)], 1)",
    "flip_channels": "h = h.flip(1)",
    "index_channels": "h = h[:, [0, {c} - 1]]",
    "index_select": "h = h.index_select(1, torch.tensor([{c} - 1, 0]))",
    "gather_channels": "h = h.gather(1, h.argsort(1))",
    "roll": "h = torch.roll(h, 1, {one})",
    "roll_difference": "h = h - torch.roll(h, (1, -2), ({one}, {last}))",
    "flip_and_back": "h = F.relu(h.flip({one})).flip({one})",
    "where": "h = torch.where(h > h.mean(), h, 0.1 * h)",
    "masked_fill": "h = h.masked_fill(h < 0, -0.5)",
    "masked_softmax": "h = h.masked_fill(h < h.amax(1, keepdim=True) - 1, float('-inf')).softmax(1)",
    "pad_of_width_zero": "h = F.pad(h, [0] * {twice})",
    "crop_of_width_zero": "h = h[..., 0:h.shape[-1]]",
    "pad_and_crop": "h = F.pad(h, [1, 2] + [0] * ({twice} - 2))[..., 1:-2]",
    "buffer_setitem": "b = torch.zeros_like(h); b[:, :{half}] = h[:, :{half}]; b[:, {half}:] = h[:, {half}:].tanh(); h = b",
    "buffer_new_empty": "b = h.new_empty(h.shape); b[:] = h * 0.5; h = b",
    "buffer_cat": "h = torch.cat([h, h.new_zeros(h.shape[0], 1, *h.shape[2:])], 1)",
    "buffer_add": "b = h.new_zeros(h.shape); b += h; b[:, 0] += h[:, -1]; h = b",
    "view_write": "h = h.clone(); v = h[:, 0]; v.mul_(2)",
    "view_write_flat": "h = h.clone(); h.view(h.shape[0], h.shape[1], -1)[:, -1].tanh_()",
    "view_copy": "h = h.clone(); h[:, :1].copy_(h[:, -1:].sigmoid())",
    "in_place_chain": "h = h.clone().mul_(0.5).add_(1).relu_()",
    "out_argument": "b = torch.empty_like(h); torch.add(h, 1, out=b); h = b",
    "scalar_branch": "h = h * 2 if h.mean() > 0 else h - 1",
    "scalar_item": "h = h / (1 + h.abs().max().item())",
    "python_loop": "for n in range({c}): h = h + h[:, n:n + 1].tanh()",
    "fourier_filter": "h = torch.fft.ifft(torch.fft.fft(h) * torch.linspace(1, 0, h.shape[-1]).to(h)).real",
    "fourier_real": "h = torch.fft.irfft(torch.fft.rfft(h)[..., :2], n=h.shape[-1])",
    "addcmul": "h = torch.addcmul(h, h, h.sigmoid(), value=0.5)",
    "lerp": "h = torch.lerp(h, h.tanh(), 0.3)",
    "expand_add": "h = h + h.mean({dims}, keepdim=True).expand_as(h)",
    "channel_shuffle": "h = h.unflatten(1, (2, {half})).transpose(1, 2).flatten(1, 2)",
    "nothing": "h = h.contiguous()",
    "no_effect": "h = h + 0 * h.cumsum(-1)",
    "batched": "h = h.flatten(0, 1).unsqueeze(1).tanh().squeeze(1).unflatten(0, (-1, {c}))",
    "double_transpose": "h = h.transpose(1, {last}).tanh().transpose(1, {last})",
    "gram": "g = h.flatten(2); h = h + ((g @ g.mT / g.shape[-1]).tanh() @ g).view_as(h)",
    "cosine_map": "h = h * F.cosine_similarity(h, h.mean({dims}, keepdim=True), 1).unsqueeze(1)",
    "stop_mean": "h = h - h.detach().median()",
}
_BREAKING_LINES = {
    "cumsum": "h = h.cumsum({one})",
    "flip": "h = h.flip({one})",
    "flip_add": "h = h + h.flip({one})",
    "border_zero": "h = h.clone(); h[:, :, 0].zero_()",
    "border_setitem": "h = h.clone(); h[..., -1] = 0",
    "corner": "h = h - h[..., :1]",
    "interior_setitem": "b = torch.zeros_like(h); b[..., 1:-1] = h[..., 1:-1]; h = b",
    "ramp": "h = h + torch.linspace(0, 1, h.shape[-1]).to(h)",
    "ramp_channel": "h = torch.cat([h, torch.linspace(0, 1, h.shape[2]).to(h).view(-1, *[1] * ({d} - 1)).expand(h.shape[0], 1, *h.shape[2:])], 1)",
    "causal_mask": "h = h.tril()",
    "self_transpose": "h = h * h.transpose(2, {last})",
    "transpose": "h = h.transpose(2, {last})",
    "softmax_masked": "h = h.masked_fill(torch.arange(h.shape[-1]) > 3, float('-inf')).softmax(-1)",
    "even_columns": "h = h.clone(); h[..., ::2] *= 2",
    "alternate": "h = torch.where(torch.arange(h.shape[-1]) % 2 == 0, h, -h)",
    "even_rows_setitem": "b = torch.zeros_like(h); b[:, :, ::2] = h[:, :, ::2]; h = b",
    "diagonal": "n = h.shape[-1]; h = h * (torch.arange(h.shape[2]).view(-1, *[1] * ({d} - 1)) == torch.arange(n)).to(h)",
    "shift_with_zeros": "h = torch.cat([h.new_zeros(*h.shape[:-1], 1), h[..., :-1]], -1)",
    "scan_loop": "for n in range(1, h.shape[-1]): h = torch.cat([h[..., :n], h[..., n:n + 1] + 0.5 * h[..., n - 1:n], h[..., n + 1:]], -1)",
}


def _make_line(name: str, line: str) -> Operation:
    def operation(b: Builder) -> None:
        half = max(1, b.channels // 2)
        text = line.format(
            c=b.channels,
            half=half,
            d=b.axes,
            twice=2 * b.axes,
            size=b.size,
            one=b.rng.randrange(2, 2 + b.axes),
            last=1 + b.axes,
            dims=tuple(range(2, 2 + b.axes)),
        )
        require("half" not in line or b.channels % 2 == 0)
        if name in ("transpose", "self_transpose"):
            require(b.axes > 1)
        b.run(*text.split("; ")) if not text.startswith("for") else b.run(text)
        if name == "transpose":
            b.order = [b.order[-1], *b.order[1:-1], b.order[0]]
            b.strides = [b.strides[-1], *b.strides[1:-1], b.strides[0]]

    operation.__name__ = name
    return operation


for _name, _line in _KEEPING_LINES.items():
    register(KEEPING)(_make_line(_name, _line))
for _name, _line in _BREAKING_LINES.items():
    register(BREAKING)(_make_line(_name, _line))


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
    layer = b.layer(
        f"nn.Conv{b.axes}d({b.channels}, {out}, {kernel}, {stride}, {padding}, {dilation}, {groups}, {bias}, {mode!r})"
    )
    b.run(f"h = {layer}(h)")
    b.scale(stride)


@register(KEEPING)
def conv_functional(b: Builder) -> None:
    out, kernel, stride = b.pick(2, 4), b.pick(2, 3), b.pick(1, 1, 2)
    weight = b.parameter(out, b.channels, *[kernel] * b.axes)
    low, high = (kernel - 1) // 2, kernel // 2
    mode = "circular" if b.is_circular() else b.pick("constant", "reflect", "replicate")
    b.run(f"h = F.pad(h, {[low, high] * b.axes}, mode={mode!r})", f"h = F.conv{b.axes}d(h, {weight}, stride={stride})")
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
    layer = b.layer(
        f"nn.Conv{b.axes}d({b.channels}, 4, {tuple(kernels)}, {tuple(strides)}, {paddings}, padding_mode={mode!r})"
    )
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
    layer = b.layer(
        f"nn.Conv{b.axes}d({b.channels}, {b.channels}, 3, padding=1, groups={b.channels}, padding_mode='circular')"
    )
    b.run(f"h = {layer}(h)")


@register(KEEPING)
def conv_transposed(b: Builder) -> None:
    stride = b.pick(1, 2, 2)
    kernel = stride * b.pick(1, 1, 1, 2) if b.is_circular() else b.pick(2, 3, 4)
    padding = b.pick(0, 0, 1)
    require(padding < kernel)
    layer = b.layer(
        f"nn.ConvTranspose{b.axes}d({b.channels}, 4, {kernel}, {stride}, {padding}, {b.pick(0, 0, stride - 1)})"
    )
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
    b.run(f"h = F.max_pool{b.axes}d(h, {kernel}, {stride}, {padding}, ceil_mode={b.pick(False, False, True)})")
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
    kind = b.pick("ELU()", "Hardswish()", "Mish()", "SELU(inplace=True)", "ReLU6()", "Softsign()", "Identity()")
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
        layer = b.layer(f"nn.Conv{b.axes}d({b.channels}, 4, {tuple(1 + a + c if a + c > 0 else 1 for a, c in zip(sides[-2::-2], sides[::-2]))})")
        b.run(f"h = {layer}(h)")


@register(KEEPING)
def pad_module(b: Builder) -> None:
    kind = "CircularPad" if b.is_circular() else b.pick("ZeroPad", "ReflectionPad", "ReplicationPad")
    kernel = b.pick(3, 3, 5)
    pad, layer = b.layer(f"nn.{kind}{b.axes}d({kernel // 2})"), b.layer(f"nn.Conv{b.axes}d({b.channels}, 4, {kernel})")
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
        f"t = t.view(-1, {c}, {height // 2}, 2, {width // 2}, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, {c})",
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
    layer = b.layer(f"nn.TransformerEncoderLayer({c}, 1, {2 * c}, batch_first=True, norm_first={b.pick(True, False)})")
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
        b.run(f"h = F.interpolate(h, scale_factor=0.5, mode='area')")
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


OPERATIONS["map"] = map_


@register(HEADS)
def channels_last(b: Builder) -> None:
    _read_map(b)
    b.run("h = h.movedim(1, -1)")
    b.output = (b.output[0], *b.output[2:], b.output[1])


@register(HEADS, HEADS)
def pooled_scores(b: Builder) -> None:
    dims = tuple(range(2, 2 + b.axes))
    layer = b.layer(f"nn.Linear({b.channels}, 3)")
    b.run(f"h = {layer}({b.pick(f'h.mean({dims})', f'h.amax({dims})', f'F.adaptive_avg_pool{b.axes}d(h, 1).flatten(1)')})")
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
