"""The explorer computes in JavaScript what its trained networks compute in torch, and their figures hold."""

import json
from math import prod

import pytest
import torch
from torch.nn.functional import mse_loss, pad

import weightshare as ws
from tests.helpers.node import run_node
from tools import explorer_networks as tool
from weightshare.models import zip_code_network

IMAGES = 500
LARGEST_FILE = 140_000


@pytest.fixture(scope="module")
def document():
    return json.loads(tool.PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data():
    """Return the images and labels of the training set and of the test set."""
    pixels, labels = tool.load_images()
    train, test = tool.split(labels)
    images = tool.normalize(pixels)
    return (images[train], labels[train]), (images[test], labels[test])


@pytest.fixture(scope="module")
def models(document):
    """Return the torch models with the stored weights, in float64."""
    stored = document["networks"] | document["autoencoders"]
    built = tool.build_all(torch.zeros(256))
    return {name: tool.load_layers(model, stored[name]["layers"]) for name, model in built.items()}


@pytest.fixture(scope="module")
def computed(data, tmp_path_factory):
    """Return what the page computes for the images of the test set."""
    images = data[1][0].flatten(1)
    path = tmp_path_factory.mktemp("networks") / "images.json"
    path.write_text(json.dumps(images.tolist()))
    return run_node("run_networks.mjs", (), str(tool.PATH), str(path))[0]


def test_data(data):
    (train, _), (test, labels) = data
    assert len(test) == IMAGES
    assert train.shape[1:] == test.shape[1:] == (1, 16, 16)
    assert float(test.min()) == -1
    assert float(test.max()) == 1
    assert labels.bincount().min() >= 48


@pytest.mark.parametrize("name", ["shared", "unshared"])
def test_predictions(name, models, data, computed):
    with torch.no_grad():
        expected = models[name](data[1][0])
    got = computed["predictions"][name]
    assert len(got) == IMAGES
    logits = torch.tensor([entry["logits"] for entry in got], dtype=torch.float64)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    assert [entry["label"] for entry in got] == expected.argmax(1).tolist()


@pytest.mark.parametrize("name", ["tied", "untied"])
def test_reconstructions(name, models, data, computed):
    with torch.no_grad():
        expected = models[name](data[1][0].flatten(1))
    got = torch.tensor(computed["reconstructions"][name], dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "parameters"), [("shared", 9_760), ("unshared", 64_660)])
def test_figures_of_the_networks(name, parameters, document, models, data):
    network = document["networks"][name]
    assert network["parameters"] == parameters == sum(p.numel() for p in models[name].parameters())
    stored = [layer[key]["shape"] for layer in network["layers"] for key in ("weight", "bias")]
    assert parameters == sum(map(prod, stored))
    (train, train_labels), (test, labels) = data
    accuracy = network["accuracy"]
    assert accuracy["train"] == pytest.approx(measure(models[name], train, train_labels), abs=0.01)
    assert accuracy["test"] == pytest.approx(measure(models[name], test, labels), abs=0.01)
    for shift in (1, 2):
        padded = pad(test, (shift,) * 4, value=-1)
        corners = (0, shift), (2 * shift, shift), (shift, 0), (shift, 2 * shift)
        shifted = [padded[..., top : top + 16, left : left + 16] for top, left in corners]
        mean = sum(measure(models[name], images, labels) for images in shifted) / 4
        assert accuracy["shifted"][str(shift)] == pytest.approx(mean, abs=0.01)


@torch.no_grad()
def measure(model, images, labels):
    """Return the accuracy in percent."""
    return 100 * int((model(images).argmax(1) == labels).sum()) / len(labels)


@pytest.mark.parametrize(("name", "parameters"), [("tied", 4_111), ("untied", 7_951)])
def test_figures_of_the_autoencoders(name, parameters, document, models, data):
    autoencoder = document["autoencoders"][name]
    assert autoencoder["parameters"] == parameters == ws.summary(models[name]).totals.unique
    for part, (images, _) in zip(("train", "test"), data):
        flat = images.flatten(1)
        with torch.no_grad():
            error = mse_loss(models[name](flat), flat)
        assert autoencoder["error"][part] == pytest.approx(float(error), abs=1e-5)


def test_the_tied_decoder_stores_no_weight(document, models):
    encoder, decoder = document["autoencoders"]["tied"]["layers"]
    assert decoder["weight"] == {"transposeOf": encoder["name"]}
    assert torch.equal(models["tied"].decoder.weight, models["tied"].encoder.weight.T)


def test_the_pair_starts_as_the_same_function():
    models = tool.build_all(torch.zeros(256))
    x = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(models["shared"](x), models["unshared"](x))
        torch.testing.assert_close(models["tied"](x.flatten(1)), models["untied"](x.flatten(1)))


def test_counts_of_the_paper():
    """The paper counts 1,068 weights and biases in H1 and 19,968 connections, which include the biases."""
    network = zip_code_network()
    twin = tool.build_unshared_twin(network)
    sizes = [
        [
            sum(p.numel() for p in model.get_submodule(name).parameters())
            for name in ("h1", "h2", "h3", "output")
        ]
        for model in (network, twin)
    ]
    assert sizes == [[1_068, 2_592, 5_790, 310], [19_968, 38_592, 5_790, 310]]


def test_each_map_of_h2_sees_its_eight_maps(document):
    """The gradient of a map of H2 reaches the maps of H1 in the table and no others."""
    network = zip_code_network()
    h1 = torch.randn(1, 12, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    h2 = network.h2(network.select(network.pad2(h1)))
    stored = document["networks"]["shared"]["layers"][1]["seen"]
    for index in range(12):
        (gradient,) = torch.autograd.grad(h2[0, index].sum(), h1, retain_graph=True)
        seen = gradient[0].flatten(1).any(1).nonzero().flatten().tolist()
        assert seen == stored[index]
        assert len(seen) == 8


def test_samples_are_from_the_test_set(data, computed):
    test, labels = data[1]
    samples = computed["samples"]
    assert [sample["label"] for sample in samples] == list(range(10)) * 2
    for sample in samples:
        image = torch.tensor(sample["image"], dtype=torch.float64).reshape(1, 16, 16)
        (index,) = (test == image).flatten(1).all(1).nonzero().flatten()[:1].tolist()
        assert labels[index] == sample["label"]


def test_drawings_are_like_the_training_images(models, data, computed):
    """Images that are drawn on a canvas and read again have the same ink, and most are recognized."""
    test, labels = data[1]
    drawn = torch.tensor(computed["drawings"], dtype=torch.float64).reshape(-1, 1, 16, 16)
    assert float(drawn.mean()) == pytest.approx(float(test.mean()), abs=0.05)
    for name in ("shared", "unshared"):
        assert measure(models[name], drawn, labels) > 90


def test_size_of_the_file():
    assert tool.PATH.stat().st_size <= LARGEST_FILE


@pytest.mark.long
def test_training_is_deterministic(tmp_path):
    """Two runs write the same bytes. Another machine can round differently, so the file is not compared."""
    threads = torch.get_num_threads()
    try:
        for name in ("one.json", "two.json"):
            tool.main(tmp_path / name)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
