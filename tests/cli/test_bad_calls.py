"""Every call with one bad argument raises an error of the package that names it, and writes nothing."""

import os
import time

import numpy as np
import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare.models.weights import load_weights
from weightshare.tying import load_state_dict


def model():
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2))


NAMES = {
    "load_state_dict": load_state_dict,
    "load_weights": load_weights,
    "model": model,
    "nan": float("nan"),
    "nn": nn,
    "np": np,
    "torch": torch,
    "ws": ws,
}

#: Calls, and the beginning or a part of the error.
CALLS = [
    ("ws.explain(None)", "explain: layer must be a convolution, transposed convolution, locally"),
    ("ws.explain(5)", "explain: layer must be a convolution, transposed convolution, locally"),
    (
        'ws.explain(b"Conv2d(3, 8, 3)")',
        "explain: layer must be a convolution, transposed convolution, locally",
    ),
    ("ws.explain(conv, None, 5)", "Conv2d: sharing must be a sharing or text"),
    ("ws.explain(conv, 1.5)", "Conv2d: input_size must be an integer"),
    ("ws.explain(conv, nan)", "Conv2d: input_size must be an integer"),
    ("ws.explain(conv, True)", "Conv2d: input_size must be an integer"),
    ("ws.explain(conv, ())", "Conv2d: input_size must have length 2 (the spatial size) or 3"),
    ("ws.explain(conv, (None, 8))", "Conv2d: input_size[0] must be an integer"),
    ("ws.explain(conv, {8, 9})", "Conv2d: input_size must be an integer"),
    ("ws.explain(conv, -8)", "Conv2d: input_size must be at least 1"),
    ("ws.explain(conv, 10**40)", "Conv2d: input_size must be at most 1,000,000,000"),
    ('ws.explain(conv, b"8x8")', "Conv2d: input_size must be an integer"),
    ("ws.explain(conv, np.array([8.0, 8.0]))", "Conv2d: input_size must be an integer"),
    ("ws.explain(conv, np.array([8, 8]))", "Conv2d: input_size must be an integer"),
    ("ws.explain(conv, torch.tensor([8, 8]))", "Conv2d: input_size must be an integer"),
    ("ws.explain(nn.ReLU())", "explain: layer must be a convolution, transposed convolution, locally"),
    ("ws.explain(nn.Conv2d)", "explain: layer must be a convolution, transposed convolution, locally"),
    ('ws.explain(conv, "8x8\\0")', 'input size: must be integers joined by "x"'),
    ("ws.explain(conv, 8, nn.ReLU())", "Conv2d: sharing must be a sharing or text"),
    ('ws.explain(conv, 8, "mapped:a\\0b")', "sharing 'mapped:a\x00b': must name a readable .npy file"),
    ("ws.explain(conv, 8, ws.Mapped([[0]]))", "Conv2d: sharing=Mapped(<1 x 1 labels, 1 banks, digest"),
    ("ws.explain(conv, 8).to_html(None)", "page: path must be text or a pathlib.Path"),
    ("ws.explain(conv, 8).to_html(5)", "page: path must be text or a pathlib.Path"),
    ('ws.explain(conv, 8).to_html("")', "page: path must be a writable file"),
    ('ws.explain(conv, 8).to_html("a\\0b")', "page: path must be a writable file"),
    ('ws.explain(conv, 8).to_html(b"a/b/c")', "page: path must be text or a pathlib.Path"),
    ("ws.parse_sharing(None)", "sharing: must be text of at most 4096 characters"),
    ('ws.parse_sharing(b"full")', "sharing: must be text of at most 4096 characters"),
    ("ws.parse_sharing(5)", "sharing: must be text of at most 4096 characters"),
    ("ws.parse_sharing(ws.Full())", "sharing: must be text of at most 4096 characters"),
    ('ws.parse_sharing("tiled:\\0")', "sharing: must be one of full, local, tiled:2, tiled:2x3, regional:4,"),
    ('ws.Tiled("2")', "Tiled: period must be an integer"),
    ("ws.Tiled(2.0)", "Tiled: period must be an integer"),
    ("ws.Tiled(True)", "Tiled: period must be an integer"),
    ("ws.Tiled(None)", "Tiled: period must be an integer"),
    ("ws.Tiled(())", "Tiled: period must have one entry per spatial axis"),
    ("ws.Tiled(nan)", "Tiled: period must be an integer"),
    ("ws.Tiled({2})", "Tiled: period must be an integer"),
    ("ws.Tiled((2, None))", "Tiled: period[1] must be an integer"),
    ("ws.Tiled(0)", "Tiled: period must be at least 1"),
    ("ws.Tiled(np.array([2, 2]))", "Tiled: period must be an integer"),
    ("ws.Regional(-1)", "Regional: grid must be at least 1"),
    ("ws.Regional((2, 2.5))", "Regional: grid[1] must be an integer"),
    ('ws.SharedAlong("0")', "SharedAlong: axes must be an integer"),
    ("ws.SharedAlong(1.0)", "SharedAlong: axes must be an integer"),
    ("ws.SharedAlong(None)", "SharedAlong: axes must be an integer"),
    ("ws.SharedAlong((0, 0))", "SharedAlong: axes must be distinct"),
    ("ws.Mapped(None)", "Mapped: labels must be a grid with one entry per position"),
    ("ws.Mapped([])", "Mapped: labels must not be empty"),
    ("ws.Mapped([[0, 1], [0]])", "Mapped: labels must be rectangular"),
    ("ws.Mapped([[0, 1.5]])", "Mapped: labels must be integers"),
    ('ws.Mapped([["a"]])', "Mapped: labels must be integers"),
    ('ws.Mapped("abc")', "Mapped: labels must be a grid with one entry per position"),
    ("ws.Mapped([[True]])", "Mapped: labels must be integers"),
    ("ws.Mapped([[[[[0]]]]])", "Mapped: labels must have at most 3 axes (one per spatial axis)"),
    ("ws.Mapped(np.zeros((2, 2)))", "Mapped: labels must be integers"),
    ("ws.Mapped(torch.zeros(2, 2))", "Mapped: labels must be integers"),
    ("ws.Mapped({0: 1})", "Mapped: labels must be a grid with one entry per position"),
    ("ws.Mapped([[0, 10**30]])", "Mapped: labels must be 0 to K - 1, each used at least once"),
    ("ws.LowRank(-1)", "LowRank: rank must be at least 0"),
    ("ws.LowRank(1.5)", "LowRank: rank must be an integer"),
    ("ws.LowRank(None)", "LowRank: rank must be an integer"),
    ("ws.LowRank(True)", "LowRank: rank must be an integer"),
    ('ws.LowRank(2, "half")', "LowRank: coefficients must be 'factorized' or 'free'"),
    ("ws.LowRank(2, None)", "LowRank: coefficients must be 'factorized' or 'free'"),
    ("ws.Full().plot(5)", "Full.plot: out_size must be a tuple with 1 to 3 entries (one per"),
    ("ws.Full().plot((9999,))", "Full.plot: out_size must have at most 512 positions per axis and"),
    ("ws.nn.Conv2d(3, 8, 0)", "Conv2d: kernel_size must be at least 1"),
    ("ws.nn.Conv2d(3, 8, None)", "Conv2d: kernel_size must be an integer"),
    ("ws.nn.Conv2d(3.5, 8, 3)", "Conv2d: in_channels must be an integer"),
    (
        'ws.nn.Conv2d(3, 8, 3, sharing="local", input_size=9)',
        "Conv2d: sharing must be a sharing such as Tiled(2)",
    ),
    (
        "ws.nn.Conv2d(3, 8, 3, sharing=ws.Local())",
        "Conv2d: sharing=Local() needs input_size, the spatial size of the input",
    ),
    ('ws.nn.Conv2d(3, 8, 3, sharing=ws.Local(), input_size="9x9")', "Conv2d: input_size must be an integer"),
    (
        "ws.nn.Conv2d(3, 8, 3, sharing=ws.Local(), input_size=(9, 9, 9))",
        "Conv2d: input_size must be an integer or a tuple of length 2 (one",
    ),
    ("ws.nn.Conv2d(3, 8, 3, sharing=ws.Local(), input_size=nan)", "Conv2d: input_size must be an integer"),
    (
        "ws.nn.LocallyConnected2d(1, 1, 3)",
        "LocallyConnected2d: sharing=Local() needs input_size, the spatial",
    ),
    (
        "ws.nn.LocallyConnected2d(1, 1, 3, input_size=2)",
        "LocallyConnected2d: the padded input must be at least (3, 3), the",
    ),
    ("ws.nn.Conv2d(1, 1, 3)(None)", "Conv2d: input must be a torch.Tensor"),
    (
        "ws.nn.Conv2d(1, 1, 3)(torch.zeros(3))",
        "Conv2d: input must be [N, 1, *size] or [1, *size] with 2 spatial axes",
    ),
    (
        "ws.nn.Conv2d(1, 1, 3)(torch.zeros(1, 2, 8, 8))",
        "Conv2d: input must be [N, 1, *size] or [1, *size] with 2 spatial axes",
    ),
    ("ws.nn.Conv2d(1, 1, 3)(np.zeros((1, 1, 8, 8)))", "Conv2d: input must be a torch.Tensor"),
    ("ws.nn.SharedLinear(None)", "SharedLinear: pattern must be a Pattern with at least one connection"),
    ("ws.nn.TiedLinear(None)", "TiedLinear: source must be a Linear or an Embedding"),
    (
        "ws.nn.TiedConvTranspose2d(nn.Linear(1, 1))",
        "TiedConvTranspose2d: source must be a Conv2d of torch.nn or weightshare.nn",
    ),
    ("ws.relax(None, ws.Local())", "relax: module must be a torch.nn.Module"),
    ("ws.relax(conv, None)", "relax: the plan for a layer must be a sharing"),
    ('ws.relax(conv, "local", input_size=8)', "relax: the plan for a layer must be a sharing"),
    ("ws.relax(conv, ws.Local())", "Conv2d: sharing=Local() needs input_size, the spatial size of the input"),
    (
        "ws.relax(conv, ws.Local(), input_size=2)",
        "Conv2d: the padded input must be at least (3, 3), the extent of the window",
    ),
    (
        'ws.relax(model(), {"9": ws.Local()}, torch.zeros(1, 3))',
        "relax: each name in the plan must be that of a module",
    ),
    ("ws.restrict(conv, None)", "restrict: the plan for a layer must be a sharing"),
    ("ws.restrict(conv, 5)", "restrict: the plan for a layer must be a sharing"),
    ("ws.to_dense(None, 5)", "NoneType: the layer must be one of Conv1d, Conv2d, Conv3d,"),
    ("ws.to_dense(conv, None)", "Conv2d: input_size, the spatial size of the input, must be given"),
    ('ws.to_dense(conv, "8")', "Conv2d: input_size must be an integer"),
    ("ws.to_dense(conv, 10**5)", "Conv2d: the dense layer must fit"),
    ("ws.to_dense(conv, 2)", "Conv2d: the padded input must be at least (3, 3), the extent of the window"),
    ("ws.to_torch(None)", "to_torch: model must be a torch.nn.Module"),
    ("ws.to_torch(nn.ReLU())", "ReLU: the layer must be one of Conv1d, Conv2d, Conv3d,"),
    ("ws.from_keras(None)", "from_keras: layer must be a Keras layer, [kernel] or [kernel, bias]"),
    ("ws.summary(None)", "summary: model must be a torch.nn.Module"),
    ("ws.summary(nn.ReLU)", "summary: model must be a torch.nn.Module"),
    (
        "ws.summary(model(), input_shape=5)",
        "summary: input_shape must be the shape of one example, without the",
    ),
    ('ws.summary(model(), input_shape="x")', 'input size: must be integers joined by "x"'),
    ("ws.summary(model(), input_shape=(3, -1))", "summary: input_shape[1] must be at least 1"),
    ("ws.summary(model(), input_shape=(nan,))", "summary: input_shape[0] must be an integer"),
    (
        'ws.summary(model(), input_shape=b"3")',
        "summary: input_shape must be the shape of one example, without the",
    ),
    (
        "ws.summary(model(), torch.zeros(1, 3), input_shape=(3,))",
        "summary: takes either example inputs or input_shape",
    ),
    ("ws.summary(model(), example_kwargs=5)", "summary: example_kwargs must map argument names to inputs"),
    ("ws.summary(model(), input_shape=(10**6, 10**7, 3))", "summary: input_shape must fit"),
    (
        'ws.summary(model()).explain("none")',
        "explain: must be the name of a parameter, or of a module with parameters",
    ),
    ("ws.summary(model()).reconcile(None)", "reconcile: number must be an integer"),
    ("ws.summary(model()).reconcile(1.5)", "reconcile: number must be an integer"),
    ('ws.summary(model()).reconcile("5")', "reconcile: number must be an integer"),
    ("ws.summary(model()).reconcile(True)", "reconcile: number must be an integer"),
    ("ws.summary(model()).reconcile(-1)", "reconcile: number must be at least 0"),
    ("ws.find_tied_weights(None)", "find_tied_weights: model must be a torch.nn.Module"),
    ("ws.find_tied_weights(nn.Linear)", "find_tied_weights: model must be a torch.nn.Module"),
    ('ws.find_tied_weights("vgg16")', "find_tied_weights: model must be a torch.nn.Module"),
    ("ws.find_tied_weights({})", "find_tied_weights: model must be a torch.nn.Module"),
    ("ws.check_tied_weights(None)", "check_tied_weights: model must be a torch.nn.Module"),
    (
        'ws.check_tied_weights(model(), saving="pickle")',
        "check_tied_weights: saving must be one of None, 'export', 'onnx',",
    ),
    (
        "ws.check_tied_weights(model(), saving=5)",
        "check_tied_weights: saving must be one of None, 'export', 'onnx',",
    ),
    (
        "ws.check_tied_weights(model(), optimizer=5)",
        "check_tied_weights: optimizer must be a torch.optim.Optimizer",
    ),
    ("ws.retie_weights(None)", "retie_weights: model must be a torch.nn.Module"),
    ("ws.tie_weights(None, {})", "tie_weights: model must be a torch.nn.Module"),
    ("ws.tie_weights(model(), None)", "tie_weights: ties must map aliases to sources"),
    ("ws.tie_weights(model(), 5)", "tie_weights: ties must map aliases to sources"),
    ('ws.tie_weights(model(), "auto")', "tie_weights: ties must map aliases to sources"),
    ('ws.tie_weights(model(), ["0.weight"])', "tie_weights: ties must map aliases to sources"),
    ('ws.tie_weights(model(), {"0.weight": 5})', "Tie: source must be the name of a parameter"),
    ('ws.tie_weights(model(), {"0.weight": None})', "Tie: source must be the name of a parameter"),
    ('ws.tie_weights(model(), {5: "0.weight"})', "tie_weights: names must be parameter names"),
    ('ws.tie_weights(model(), {"0.weight": "9.weight"})', "tie_weights: names must be parameter names"),
    (
        'ws.tie_weights(model(), {"0.weight": "0.weight"})',
        "tie_weights: ties must lead to a parameter that is not an alias",
    ),
    (
        'ws.tie_weights(model(), {"0.weight": "0.bias"})',
        "tie_weights: '0.weight': source '0.bias' of shape 2 must have the",
    ),
    ('ws.tie_weights(model(), {"": ""})', "tie_weights: names must be parameter names"),
    (
        'ws.tie_weights(model(), {"0.weight": "1.weight", "1.weight": "0.weight"})',
        "tie_weights: ties must lead to a parameter that is not an alias",
    ),
    ("ws.Tie(5)", "Tie: source must be the name of a parameter"),
    ('ws.Tie("a", transform="rotate")', "Tie: transform must be one of None, 'flip', 'reshape', 't'"),
    ('ws.Tie("a", transform=5)', "Tie: transform must be one of None, 'flip', 'reshape', 't'"),
    ('ws.Tie("a", transform=["t"])', "Tie: transform must be one of None, 'flip', 'reshape', 't'"),
    ('ws.untie_weights(None, "a")', "untie_weights: model must be a torch.nn.Module"),
    ("ws.untie_weights(model(), None)", "untie_weights: names must be parameter names"),
    ("ws.untie_weights(model(), 5)", "untie_weights: names must be parameter names"),
    ('ws.untie_weights(model(), "0.weight")', "untie_weights: name must be an alias"),
    ('ws.save_safetensors(None, "a")', "save_safetensors: model must be a torch.nn.Module"),
    ("ws.save_safetensors(model(), None)", "save_safetensors: path must be text or a pathlib.Path"),
    ("ws.save_safetensors(model(), 5)", "save_safetensors: path must be text or a pathlib.Path"),
    ('ws.save_safetensors(model(), "")', ".: must be a writable file"),
    ('ws.save_safetensors(model(), "a\\0b")', "a\x00b: must be a writable file"),
    ('ws.save_safetensors(model(), "none/a")', "none/a: must be a writable file"),
    ('ws.save_safetensors(model(), "a" * 300)', "must be a "),
    ('ws.save_safetensors(model(), "/dev/null")', "/dev/null: must be a writable file"),
    ('ws.load_safetensors(None, "a")', "load_safetensors: model must be a torch.nn.Module"),
    ("ws.load_safetensors(model(), None)", "load_safetensors: path must be text or a pathlib.Path"),
    ("ws.load_safetensors(model(), 5)", "load_safetensors: path must be text or a pathlib.Path"),
    ('ws.load_safetensors(model(), "")', ".: must be a readable safetensors file"),
    ('ws.load_safetensors(model(), "a\\0b")', "a\x00b: must be a readable safetensors file"),
    ('ws.load_safetensors(model(), "none")', "none: must be a readable safetensors file"),
    ('ws.load_safetensors(model(), "a" * 300)', "must be a "),
    ('ws.load_safetensors(model(), ".")', ".: must be a readable safetensors file"),
    ("load_state_dict(None, {})", "load_state_dict: model must be a torch.nn.Module"),
    (
        'load_state_dict(model(), {}, on_conflict="max")',
        "load_state_dict: on_conflict must be one of 'error', 'source',",
    ),
    (
        "load_state_dict(model(), {}, on_conflict=5)",
        "load_state_dict: on_conflict must be one of 'error', 'source',",
    ),
    ('load_weights(None, "a")', "load_weights: model must be a torch.nn.Module"),
    ("load_weights(model(), None)", "load_weights: path must be text or a pathlib.Path"),
    ("load_weights(model(), 5)", "load_weights: path must be text or a pathlib.Path"),
    ('load_weights(model(), "")', "weights '': must be a readable file"),
    ('load_weights(model(), "a\\0b")', "weights 'a\\x00b': must be a readable file"),
    ("ws.fsdp_groups(None)", "fsdp_groups: model must be a torch.nn.Module"),
    ("ws.models.find_model(None)", "model: must be a model of the zoo or package.module:factory"),
    ("ws.models.find_model(5)", "model: must be a model of the zoo or package.module:factory"),
    ('ws.models.find_model("")', "model: must be a model of the zoo or package.module:factory"),
    ('ws.models.find_model("lenet5", device=5)', "find_model: device must be available here"),
    ('ws.models.find_model("lenet5", device="gpu")', "find_model: device must be available here"),
    ('ws.models.find_model("lenet5", device="cuda:99")', "find_model: device must be available here"),
    ('ws.models.lenet5(sharing="local")', "Conv2d: sharing must be a sharing such as Tiled(2)"),
    ("ws.models.resnet18(sharing=5)", "Conv2d: sharing must be a sharing such as Tiled(2)"),
    ("ws.trace_equivariance(None, x)", "trace_equivariance: the model must be a module or another callable"),
    ("ws.trace_equivariance(5, x)", "trace_equivariance: the model must be a module or another callable"),
    (
        "ws.trace_equivariance(conv, None)",
        "trace_equivariance: x must be a floating-point tensor [N, C, *spatial]",
    ),
    (
        "ws.trace_equivariance(conv, np.zeros((1, 1, 8, 8)))",
        "trace_equivariance: x must be a floating-point tensor [N, C, *spatial]",
    ),
    (
        "ws.trace_equivariance(conv, torch.zeros(8))",
        "trace_equivariance: x must be a floating-point tensor [N, C, *spatial]",
    ),
    (
        "ws.trace_equivariance(conv, torch.zeros(0, 1, 8, 8))",
        "trace_equivariance: x must be a floating-point tensor [N, C, *spatial]",
    ),
    (
        "ws.trace_equivariance(conv, x, 0)",
        "trace_equivariance: shift must not be a multiple of the input size (8, 8)",
    ),
    ("ws.trace_equivariance(conv, x, 1.5)", "trace_equivariance: shift must be an integer"),
    ("ws.trace_equivariance(conv, x, None)", "trace_equivariance: shift must be an integer"),
    ('ws.trace_equivariance(conv, x, "1")', "trace_equivariance: shift must be an integer"),
    (
        "ws.trace_equivariance(conv, x, (1,))",
        "trace_equivariance: shift must have one integer for each of 2 spatial axes",
    ),
    ("ws.trace_equivariance(conv, x, True)", "trace_equivariance: shift must be an integer"),
    ("ws.trace_equivariance(conv, x * nan)", "Conv2d: the outputs must be finite"),
    ("ws.trace_equivariance(lambda x: None, x)", "<lambda>: the output must be one tensor"),
    (
        "ws.equivariance_error(None, x, ws.symmetry.translate(1))",
        "equivariance_error: the model must be a module or another callable",
    ),
    (
        "ws.equivariance_error(conv, None, ws.symmetry.translate(1))",
        "equivariance_error: x must be a non-empty tensor",
    ),
    (
        "ws.equivariance_error(conv, x, None)",
        "equivariance_error: the transform must be one of weightshare.symmetry",
    ),
    (
        "ws.equivariance_error(conv, x, 5)",
        "equivariance_error: the transform must be one of weightshare.symmetry",
    ),
    (
        'ws.equivariance_error(conv, x, ws.symmetry.translate(1), out="other")',
        "equivariance_error: out must be one of 'invariant', 'same', 'scaled'",
    ),
    (
        "ws.equivariance_error(conv, x, ws.symmetry.translate(1), out=5)",
        "equivariance_error: the transform must be one of weightshare.symmetry",
    ),
    ("ws.symmetry.translate(None)", "translate: shift must be an integer"),
    ('ws.symmetry.translate("1")', "translate: shift must be an integer"),
    ("ws.symmetry.translate(1.5)", "translate: shift must be an integer"),
    ("ws.symmetry.translate(True)", "translate: shift must be an integer"),
    ("ws.Pattern.of(None, 5)", "Pattern.of: layer must be a convolution or linear layer of torch.nn"),
    ("ws.Pattern.of(conv, None)", "Conv2d: input_size, the spatial size of the input, must be given"),
    ('ws.Pattern.of(conv, "8")', "Conv2d: input_size must be an integer"),
    ("ws.Pattern.of(conv, 2)", "Conv2d: the padded input must be at least (3, 3), the extent of the window"),
    ("ws.Pattern.of(conv, 10**5)", "Pattern.of(Conv2d): its connections must fit"),
    (
        "ws.Pattern.from_symmetry(None, None)",
        "Pattern.from_symmetry: in_generators must be a list of at least one",
    ),
    (
        "ws.Pattern.from_symmetry([[0, 0]], [[0, 1]])",
        "Pattern.from_symmetry: in_generators[0] must be a permutation, with",
    ),
    (
        'ws.Pattern.from_symmetry([[0, "a"]], [[0, 1]])',
        "Pattern.from_symmetry: in_generators[0] must be a permutation, with",
    ),
    ("ws.param_groups(None, 0.1)", "param_groups: model must be a torch.nn.Module"),
    ('ws.param_groups(model(), "a")', "param_groups: weight_decay must be a number of at least 0"),
    ("ws.param_groups(model(), nan)", "param_groups: weight_decay must be a number of at least 0"),
    ("ws.reuse_gradient_memory(None)", "reuse_gradient_memory: model must be a torch.nn.Module"),
    ("ws.fuse_batch_norm(None, None)", "fuse_batch_norm: layer must be a convolution or transposed"),
    ("ws.fuse_batch_norm(conv, None)", "fuse_batch_norm: layer must be a convolution or transposed"),
    ("ws.Window(0)", "Window: kernel_size must be at least 1"),
    ('ws.Window("3")', "Window: kernel_size must be an integer"),
    ("ws.Window((3, 3), stride=None)", "Window: stride must be an integer"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("call", "part"), CALLS, ids=[call[:80] for call, _ in CALLS])
def test_a_bad_call(call, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {**NAMES, "conv": nn.Conv2d(1, 1, 3), "x": torch.zeros(1, 1, 8, 8)}
    began = time.process_time()
    with pytest.raises(ws.WeightshareError) as raised:
        eval(call, names)
    assert time.process_time() - began < 2
    assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.got
    assert os.listdir(tmp_path) == []
