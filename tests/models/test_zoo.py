"""The networks of the zoo have their published sizes, and run with any sharing."""

import pytest
import torch

import weightshare as ws
from weightshare import models
from weightshare.errors import MissingExtraError, SpecError

PUBLISHED = {"alexnet": 61_100_840, "vgg16": 138_357_544, "resnet18": 11_689_512, "lenet5": 61_706}


def meta(name, **arguments):
    with torch.device("meta"):
        return models.EXAMPLES[name][0](**arguments)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    assert ws.summary(meta(name)).totals.unique == PUBLISHED[name]


def test_sizes_of_the_heads():
    """The heads have the sizes of their layers: DeepFace 3 local and 2 dense, YOLOv1 1 local and 1 dense."""
    local = 55**2 * (81 * 16 + 1) * 16 + 25**2 * (49 * 16 + 1) * 16 + 21**2 * (25 * 16 + 1) * 16
    dense = (21 * 21 * 16 + 1) * 4096 + 4097 * 4030
    assert ws.summary(meta("deepface_head")).totals.unique == local + dense
    yolo = 49 * (9 * 1024 + 1) * 256 + (49 * 256 + 1) * 1715
    assert ws.summary(meta("yolov1_head")).totals.unique == yolo


@pytest.mark.parametrize("name", [name for name in models.EXAMPLES if name != "dense_autoencoder"])
@pytest.mark.parametrize("sharing", [ws.Full(), ws.Regional(2), ws.Local()], ids=str)
def test_forward_with_any_sharing(name, sharing):
    shape = models.EXAMPLES[name][1]
    model = meta(name, sharing=sharing)
    answer = ws.summary(model, input_shape=shape)
    assert not [note for note in answer.warnings if note.code == "FORWARD_FAILED"]
    assert answer.totals.dead == 0
    local = ws.summary(meta(name, sharing=ws.Local()), input_shape=shape).totals
    assert answer.totals.unshared == local.unique == local.unshared


def test_the_unshared_total_of_vgg16_is_the_sum_of_its_layers():
    answer = ws.summary(meta("vgg16"), input_shape=(3, 224, 224))
    whole = sum(
        ws.explain(module, size).by_sharing["local"]
        for module, size in zip(
            (m for m in meta("vgg16") if isinstance(m, ws.nn.Conv2d)),
            [224, 224, 112, 112, 56, 56, 56, 28, 28, 28, 14, 14, 14],
        )
    )
    dense = 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    assert answer.totals.unshared == whole + dense


def test_a_network_learns():
    torch.manual_seed(0)
    model = models.lenet5(sharing=ws.Regional(2))
    x, y = torch.randn(8, 1, 28, 28), torch.arange(8)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5


def test_find_model():
    assert isinstance(models.find_model("lenet5"), torch.nn.Sequential)
    assert isinstance(models.find_model("torch.nn:Identity"), torch.nn.Identity)
    assert next(models.find_model("alexnet", device="meta").parameters()).device.type == "meta"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg61", "did you mean 'vgg16'"),
        ("mobile", "use one of lenet5, alexnet"),
        ("no.such.module:net", "needs the module 'no.such.module'"),
        ("torch.nn:NoLayer", "must name a class or a function, got a name that does not exist"),
        ("math:pi", "must name a class or a function, got float"),
        ("torch.nn:Linear", "must build a model when called without arguments, got TypeError"),
        (":x", "needs the module ''"),
        ("builtins:dict", r"must build a torch\.nn\.Module, got dict"),
    ],
)
def test_names_without_a_model(name, message):
    with pytest.raises(SpecError, match=message):
        models.find_model(name)


def test_a_missing_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingExtraError, match="timm:resnet18: needs the package timm"):
        models.find_model("timm:resnet18")
