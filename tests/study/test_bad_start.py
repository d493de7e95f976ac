"""Networks, data and options that do not fit a study of a trained network, and their errors."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from tests.helpers.study import tiny_arrays
from tests.helpers.trained import build
from weightshare import Local
from weightshare.errors import ArgumentError, DataError, SpecError, StudyError
from weightshare.nn import Conv2d
from weightshare.study import StudySpec, plan, run


class Unlike(nn.Module):
    """A network that calls its convolution on inputs of two sizes."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Conv2d(1, 1, 3), nn.Linear(1, 2)

    def forward(self, x):
        return self.head(self.layer(self.layer(x)).mean((1, 2, 3))[:, None])


def freeze_first() -> nn.Module:
    network = build()
    network[0].requires_grad_(False)
    return network


def make_wide() -> nn.Module:
    return nn.Sequential(build(), nn.Linear(2, 5))


def make_local() -> nn.Module:
    return nn.Sequential(Conv2d(1, 2, 3, sharing=Local(), input_size=6), nn.Flatten(), nn.Linear(32, 2))


def make_infinite() -> nn.Module:
    network = build()
    nn.init.constant_(network[6].bias, float("inf"))
    return network


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (make_wide, "must return [2, 2] for classification, got [2, 5]."),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 3)),
         "must take inputs [2, 1, 6, 6] of torch.float32, got RuntimeError"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 2)),
         "must have a convolution, which can share less, got none."),
        (Unlike, "the layer must be called on inputs of one size in a forward pass"),
        (make_local,
         "the new sharing LowRank(1) must refine the current one, got Local() on 4 x 4 positions; "
         "select other convolutions with layers."),
        (freeze_first,
         "the weight of each relaxed layer must require gradients, got a frozen one in '0'; "
         "select other convolutions with layers."),
        (lambda: build().to("meta"),
         "must be a network that can be copied to the CPU, got NotImplementedError"),
        (make_infinite, "must return finite numbers, got NaN or infinity with its trained weights."),
    ],
    ids=["outputs", "channels", "no convolution", "called twice", "local", "frozen", "meta", "infinite"],
)  # fmt: skip
def test_networks_that_do_not_fit(further, make, text):
    with pytest.raises(StudyError) as caught:
        run(replace(further, start=make()))
    assert str(caught.value).startswith("study, start '")
    assert text in str(caught.value)
    assert not further.out.exists()


def test_a_single_convolution():
    x = np.random.default_rng(0).normal(size=(20, 1, 6, 6))
    with pytest.raises(StudyError) as caught:
        plan(StudySpec((x, x), "full,local", start=nn.Conv2d(1, 1, 3, padding=1)))
    assert str(caught.value) == (
        "study, start 'torch.nn.modules.conv:Conv2d': must not be a single convolution, got Conv2d; wrap it "
        "in torch.nn.Sequential."
    )


def test_layers_that_do_not_exist(further):
    with pytest.raises(StudyError, match="layers must match a convolution, such as 0, 3, got 'features"):
        plan(replace(further, layers="features.*"))


def test_test_inputs_from_the_training_set(further):
    arrays = tiny_arrays()
    x, y = arrays["x_train"][:, None], arrays["y_train"]
    with pytest.raises(DataError) as caught:
        run(replace(further, data=(x, y, np.concatenate([x[4:8], arrays["x_test"][:4, None]]), y[:8])))
    assert str(caught.value) == (
        "data, test inputs: must be ones on which the network was not trained, got 4 of 8 that are also in "
        "the training set."
    )
    run(replace(further, data=(x, y, np.concatenate([x[5:8], arrays["x_test"][:5, None]]), y[:8]), seeds=1))


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"start": 3}, SpecError, "study: start must be a text or a torch.nn.Module, got 3."),
        ({"start": build}, SpecError, "start must be a text or a torch.nn.Module, got <function build"),
        ({"start": None, "weights": "w.pt"}, SpecError, "study: weights must be those of a trained network, "
         "got no start; name the network with start (--from)."),
        ({"weights": 3}, SpecError, "study: weights must be a path, got 3."),
        ({"weights": "missing.pt"}, DataError, "weights 'missing.pt': must be"),
        ({"model": "mine:build"}, SpecError,
         "study: model does not apply to a trained network, so it must be omitted with start (--from), "
         "got 'mine:build'."),
        ({"width": 8}, SpecError, "width does not apply to a trained network"),
        ({"widths": "8"}, SpecError, "widths does not apply to a trained network"),
        ({"schedules": "relax:1"}, SpecError, "schedules does not apply to a trained network"),
        ({"patience": 2}, SpecError, "patience does not apply to a trained network"),
        ({"start": "missing:build"}, SpecError, "'missing:build': needs the module 'missing'"),
        ({"start": "vgg"}, SpecError, "must be a model of the zoo or package.module:factory, got 'vgg'"),
        ({"epochs_max": 0}, ArgumentError, "study: epochs_max must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(further, change, kind, text):
    with pytest.raises(kind) as caught:
        run(replace(further, **change))
    assert text in str(caught.value)
    assert not further.out.exists()
