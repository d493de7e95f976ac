"""Types that users get from the public names. `make lint` checks this file with pyright; it is never run."""

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from typing_extensions import assert_type

import weightshare as ws


def check_layers(x: Tensor) -> None:
    layer = ws.nn.Conv2d(3, 8, 3, padding="same", sharing=ws.Tiled(2), input_size=32)
    assert_type(layer, ws.nn.Conv2d)
    assert_type(layer.weight, nn.Parameter)
    assert_type(layer.bias, nn.Parameter | None)
    assert_type(layer.sharing, ws.Sharing)
    assert_type(layer.window, ws.Window)
    assert_type(layer.stride, tuple[int, ...])
    assert_type(layer.output_size, tuple[int, ...] | None)
    assert_type(layer.forward(x), Tensor)
    assert_type(layer.kernels(), Tensor)
    assert_type(layer.assignment(), Tensor)
    assert_type(layer.plot_kernels((0, 1)), Figure)
    assert_type(ws.nn.ConvTranspose1d(3, 8, 3).forward(x), Tensor)
    assert_type(ws.nn.LocallyConnected3d(3, 8, 3, input_size=(8, 8, 8)).weight, nn.Parameter)
    assert_type(ws.nn.BlurPool2d(filter_size=3).forward(x), Tensor)
    assert_type(ws.nn.TiedLinear(nn.Linear(2, 3)).weight, Tensor)
    points = ws.pattern.generators.permutations(5)
    linear = ws.nn.SharedLinear(ws.Pattern.from_symmetry(points, points), dtype=torch.float64)
    assert_type(linear.weight, nn.Parameter)
    assert_type(linear.forward(x), Tensor)
    assert_type(ws.functional.conv2d(x, layer.weight, layer.bias, sharing=ws.Tiled(2)), Tensor)
    assert_type(ws.functional.conv_transpose3d(x, layer.weight, stride=(2, 2, 2)), Tensor)
    assert_type(ws.reference.output(layer, x), Tensor)
    ws.nn.Conv2d("3", 8, 3)  # pyright: ignore[reportArgumentType]
    ws.nn.Conv2d(3, 8, 3, sharing="local")  # pyright: ignore[reportArgumentType]
    ws.nn.Conv2d(3, 8, 3, padding_mode="zero")  # pyright: ignore[reportArgumentType]


def check_sharings() -> None:
    assert_type(ws.Full(), ws.Full)
    assert_type(ws.LowRank(2, "free").rank, int)
    assert_type(ws.Mapped([[0, 1]]).shape, tuple[int, ...])
    sharing = ws.parse_sharing("regional:4x4")
    assert_type(sharing, ws.Sharing)
    assert_type(sharing.banks((8, 8)), int)
    assert_type(sharing.labels((8, 8)), list[int])
    assert_type(sharing.refines(ws.Local(), (8, 8)), bool)
    assert_type(sharing.plot((8, 8)), Figure)
    window = ws.Window(11, stride=4, ndim=2)
    assert_type(window.output_size((227, 227)), tuple[int, ...])
    assert_type(ws.receptive_fields([window]), list[ws.ReceptiveField])
    ws.Tiled(2).period = 3  # pyright: ignore[reportAttributeAccessIssue]


def check_counts(model: nn.Module, x: Tensor) -> None:
    answer = ws.explain("Conv2d(3, 96, 11, stride=4)", (3, 227, 227))
    assert_type(answer, ws.Explanation)
    assert_type(answer.parameters, int)
    assert_type(answer.connections, int | None)
    assert_type(answer.by_sharing, dict[str, int | None])
    assert_type(answer.to_json(), str)
    summary = ws.summary(model, x)
    assert_type(summary, ws.Summary)
    assert_type(summary.totals.unique, int)
    assert_type(summary.totals.macs, int | None)
    assert_type([row.name for row in summary.rows], list[str])


def check_ties(x: Tensor) -> None:
    model = nn.Sequential(nn.Linear(20, 8), nn.Linear(8, 20))
    assert_type(ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", transform="t")}), nn.Sequential)
    assert_type(ws.untie_weights(model, "1.weight"), nn.Sequential)
    assert_type(ws.find_tied_weights(model), list[ws.tying.TieGroup])
    assert_type(ws.check_tied_weights(model), ws.tying.TieReport)
    assert_type(ws.fsdp_groups(model), list[list[nn.Module]])


def check_conversions(model: nn.Module) -> None:
    assert_type(ws.restrict(model, {"conv": ws.Full()}).error, float)
    assert_type(ws.to_dense(ws.nn.Conv1d(1, 2, 3, input_size=8)), nn.Linear)


def check_symmetry(model: nn.Module, x: Tensor) -> None:
    shift = ws.symmetry.translate((0, 1))
    assert_type(ws.equivariance_error(model, x, shift), ws.symmetry.Result)
    trace = ws.trace_equivariance(model, x, 1)
    assert_type(trace, ws.symmetry.EquivarianceTrace)
    assert_type(trace.interventions(), ws.symmetry.Interventions)
    assert_type(ws.symmetry.sensitivity_map(model, x, 2), ws.symmetry.SensitivityMap)


def check_study() -> None:
    result = ws.study.run(ws.study.StudySpec(sharings="full,local", seeds=1))
    assert_type(result, ws.study.StudyResult)
    assert_type([row.parameters for row in result.summary], list[int])


def check_errors() -> None:
    try:
        ws.nn.Conv2d(3, 8, 0)
    except ws.errors.ArgumentError as error:
        assert_type(error.where, str)
        assert_type(error.hint, str | None)


def check_backends() -> None:
    assert_type(ws.backends(), ws.Backends)
    assert_type(ws.backends().native.available, bool)
    assert_type(ws.backends().native.instruction_set, str | None)
