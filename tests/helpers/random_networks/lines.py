"""Operations of one line."""

from tests.helpers.random_networks.builder import Builder, Operation
from tests.helpers.random_networks.registry import BREAKING, KEEPING, register, require

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
    "column_loop": "h = torch.stack([h[..., n].tanh() for n in range(h.shape[-1])], -1)",
    "row_loop": "h = torch.cat([h[:, :, n].unsqueeze(2).relu() for n in range(h.shape[2])], 2)",
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
    "buffer_setitem": (
        "b = torch.zeros_like(h); b[:, :{half}] = h[:, :{half}]; b[:, {half}:] = h[:, {half}:].tanh(); h = b"
    ),
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
    "fourier_filter": "h = torch.fft.ifft(torch.fft.fft(h) * torch.linspace(1, 0.5, h.shape[-1]).to(h)).real",
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
    "column_cell": (
        "s = h[..., 0]; o = [(s := 0.5 * s + column) for column in h.unbind(-1)]; h = torch.stack(o, -1)"
    ),
    "row_cell_backward": (
        "s = h.new_zeros(h[:, :, 0].shape); "
        "o = [(s := (s + h[:, :, n]).tanh()) for n in reversed(range(h.shape[2]))]; "
        "h = torch.stack(o[::-1], 2)"
    ),
    "border_zero": "h = h.clone(); h[:, :, 0].zero_()",
    "border_setitem": "h = h.clone(); h[..., -1] = 0",
    "corner": "h = h - h[..., :1]",
    "interior_setitem": "b = torch.zeros_like(h); b[..., 1:-1] = h[..., 1:-1]; h = b",
    "ramp": "h = h + torch.linspace(0, 1, h.shape[-1]).to(h)",
    "ramp_channel": (
        "r = torch.linspace(0, 1, h.shape[2]).to(h).view(-1, *[1] * ({d} - 1)); "
        "h = torch.cat([h, r.expand(h.shape[0], 1, *h.shape[2:])], 1)"
    ),
    "causal_mask": "h = h.tril()",
    "self_transpose": "h = h * h.transpose(2, {last})",
    "transpose": "h = h.transpose(2, {last})",
    "softmax_masked": "h = h.masked_fill(torch.arange(h.shape[-1]) > 3, float('-inf')).softmax(-1)",
    "even_columns": "h = h.clone(); h[..., ::2] *= 2",
    "alternate": "h = torch.where(torch.arange(h.shape[-1]) % 2 == 0, h, -h)",
    "even_rows_setitem": "b = torch.zeros_like(h); b[:, :, ::2] = h[:, :, ::2]; h = b",
    "diagonal": (
        "r = torch.arange(h.shape[2]).view(-1, *[1] * ({d} - 1)); "
        "h = h * (r == torch.arange(h.shape[-1])).to(h)"
    ),
    "shift_with_zeros": "h = torch.cat([h.new_zeros(*h.shape[:-1], 1), h[..., :-1]], -1)",
    "scan_loop": (
        "for n in range(1, h.shape[-1]): "
        "h = torch.cat([h[..., :n], h[..., n:n + 1] + 0.5 * h[..., n - 1:n], h[..., n + 1:]], -1)"
    ),
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
        if name == "self_transpose":
            require(None not in b.order)  # otherwise, a dimension of the product is a position or not
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
