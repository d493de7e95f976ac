"""Every layer exports to ONNX: onnxruntime computes the same, and the file contains each weight once."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from weightshare import Full, Local, LowRank, Mapped, Regional, SharedAlong, Tiled, nn

CONVOLUTIONS = [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
LOCALLY_CONNECTED = [nn.LocallyConnected1d, nn.LocallyConnected2d, nn.LocallyConnected3d]
#: Input size by number of axes; with kernel 3 and padding 1, also the number of positions per axis.
SIZE = {1: 9, 2: 6, 3: 4}


def sharings(ndim):
    labels = torch.arange(SIZE[ndim] ** ndim).view(*[SIZE[ndim]] * ndim) % 3
    some = [Full(), Tiled(2), Regional(2), SharedAlong(0), Mapped(labels)]
    return [*some, LowRank(2), LowRank(2, "free"), Local()]


def named(value):
    return value.__name__ if isinstance(value, type) else str(value).partition("-")[0]


def cases():
    """Yield all layers; 1-D and 3-D layers are marked as long, except one per backend."""
    for kind in CONVOLUTIONS:
        for sharing in sharings(kind._ndim):
            quick = kind._ndim == 2 or isinstance(sharing, Tiled | Mapped | Local)
            yield pytest.param(kind, sharing, marks=[] if quick else pytest.mark.long)
    yield from ((kind, None) for kind in LOCALLY_CONNECTED)


def build(kind, sharing, channels=4, **arguments):
    torch.manual_seed(0)
    usual = {"kernel_size": 3, "padding": 1, "sharing": sharing, "input_size": SIZE[kind._ndim]}
    layer = kind(channels, arguments.pop("out_channels", channels), **usual | arguments).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def export(model, example, path):
    """Export a model with a dynamic batch size, and check that it uses only standard operators."""
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.onnx.export(model, (example,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    program.save(path, external_data=False)
    nodes = onnx.load(path).graph.node
    assert {node.domain for node in nodes} == {""}, "the file must use only standard ONNX operators"


def run(path, input):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: input.numpy()})
    return torch.from_numpy(output)


@torch.no_grad()
def check(layer, path):
    """Check the outputs of onnxruntime, for batch sizes other than the exported one."""
    example = torch.randn(2, layer.in_channels, *layer.input_size)
    export(layer, example, path)
    for batch in (1, 3):
        x = torch.randn(batch, *example.shape[1:])
        expected = layer(x)
        scale = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(run(path, x), expected, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize(("kind", "sharing"), list(cases()), ids=named)
def test_layer(kind, sharing, tmp_path):
    check(build(kind, sharing), tmp_path / "layer.onnx")


GEOMETRIES = [
    (nn.Conv2d, Local(), {"kernel_size": (2, 3), "stride": (1, 2), "groups": 2}),
    (nn.Conv2d, Local(), {"dilation": 2, "groups": 4, "padding_mode": "replicate"}),
    (nn.Conv2d, Tiled((2, 3)), {"stride": 2, "input_size": 11, "groups": 4}),
    (nn.Conv2d, Tiled(2), {"dilation": 2, "padding_mode": "circular", "padding": 2, "bias": False}),
    (nn.Conv2d, Regional((2, 1)), {"stride": (2, 1), "padding_mode": "reflect", "groups": 2}),
    (nn.Conv2d, Regional(3), {"kernel_size": 2, "padding": "same", "bias_sharing": Full()}),
    (nn.Conv2d, LowRank(1), {"stride": 2, "groups": 2, "padding_mode": "circular", "bias_sharing": Local()}),
    (nn.Conv2d, Full(), {"bias_sharing": Local(), "padding_mode": "reflect"}),
    (nn.ConvTranspose2d, Local(), {"stride": 2, "output_padding": 1, "groups": 2, "bias_sharing": Local()}),
    (nn.ConvTranspose2d, Local(), {"dilation": 2, "groups": 4, "padding": 0}),
    (nn.ConvTranspose2d, Tiled(2), {"stride": 3, "kernel_size": 2, "groups": 2, "bias_sharing": Tiled(2)}),
    (nn.ConvTranspose2d, Regional((3, 2)), {"stride": (1, 2), "dilation": (2, 1), "output_padding": 1}),
    (nn.ConvTranspose2d, LowRank(2), {"stride": 2, "output_padding": 1, "groups": 4, "bias": False}),
]


@pytest.mark.parametrize(("kind", "sharing", "geometry"), GEOMETRIES, ids=named)
def test_geometry(kind, sharing, geometry, tmp_path):
    check(build(kind, sharing, **geometry), tmp_path / "layer.onnx")


def test_a_model_with_several_layers(tmp_path):
    model = torch.nn.Sequential(
        nn.Conv2d(3, 8, 4, 2, 1, sharing=Regional(4), input_size=16),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        nn.LocallyConnected2d(8, 8, 3, padding=1, input_size=8),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, sharing=Local(), input_size=8),
    ).eval()
    export(model, torch.randn(2, 3, 16, 16), tmp_path / "model.onnx")
    x = torch.randn(5, 3, 16, 16)
    torch.testing.assert_close(run(tmp_path / "model.onnx", x), model(x), rtol=1e-4, atol=1e-4)


STRIPES = Mapped([[(i // 5 + j) % 3 for j in range(16)] for i in range(16)])
LARGE = [
    (nn.Conv2d, Local(), 24, 32),
    (nn.Conv2d, Tiled(2), 128, 256),
    (nn.Conv2d, Regional(4), 64, 128),
    (nn.Conv2d, SharedAlong(1), 64, 128),
    (nn.Conv2d, STRIPES, 192, 256),
    (nn.Conv2d, LowRank(3), 128, 256),
    (nn.ConvTranspose2d, Local(), 24, 32),
    (nn.ConvTranspose2d, Tiled(2), 128, 256),
    (nn.ConvTranspose2d, Regional(4), 64, 128),
    (nn.ConvTranspose2d, STRIPES, 192, 256),
    (nn.ConvTranspose2d, LowRank(3), 128, 256),
]


@pytest.mark.parametrize(("kind", "sharing", "channels", "out"), LARGE, ids=named)
def test_the_file_contains_each_weight_once(kind, sharing, channels, out, tmp_path):
    layer = build(kind, sharing, channels, out_channels=out, input_size=16, bias_sharing=Full())
    if sharing.one_hot:
        layer = build(kind, sharing, channels, out_channels=out, input_size=16, bias_sharing=sharing)
    weights = sum(parameter.nbytes for parameter in layer.parameters())
    assert weights >= 4 * 2**20
    check(layer, tmp_path / "layer.onnx")
    assert (tmp_path / "layer.onnx").stat().st_size < 1.05 * weights


@pytest.mark.parametrize("sharing", [Tiled(2), STRIPES, LowRank(2)], ids=named)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d], ids=named)
def test_the_file_contains_no_values_expanded_to_all_positions(kind, sharing, tmp_path):
    bias_sharing = sharing if sharing.one_hot else Tiled(2)
    layer = build(kind, sharing, 16, input_size=16, bias_sharing=bias_sharing)
    export(layer, torch.randn(2, 16, 16, 16), tmp_path / "layer.onnx")
    stored = {int(np.prod(array.dims)) for array in onnx.load(tmp_path / "layer.onnx").graph.initializer}
    own = {parameter.numel() for parameter in layer.parameters()}
    assert {number for number in stored if number > 16} <= own | TABLE_SIZES


#: Sizes of index tables: the bank of each position, and the place of each tap.
TABLE_SIZES = {16 * 16, 9 * 9}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sharing", [Tiled(2), Regional((3, 2)), LowRank(2), Local(), STRIPES], ids=str)
def test_traced_exports_take_any_batch(sharing, tmp_path):
    """The exporter based on `torch.jit.trace` does not fix the batch size of a transposed layer."""
    size = 16 if sharing == STRIPES else 6
    layer = nn.ConvTranspose2d(2, 4, 3, 2, groups=2, sharing=sharing, input_size=size).eval()
    path = str(tmp_path / "layer.onnx")
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    torch.onnx.export(layer, (torch.zeros(3, 2, size, size),), path, dynamo=False, **names)
    for batch in (1, 4):
        x = torch.randn(batch, 2, size, size)
        (got,) = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), layer(x).detach(), rtol=1e-4, atol=1e-4)
