"""The simulation and the rules behind the verdict of the sharing test."""

import pytest
import torch

from benchmarks.sharing_test import cases, networks
from benchmarks.sharing_test.candidates import bias_map, blind, relax, widen
from benchmarks.sharing_test.gradients import position_gradients
from benchmarks.sharing_test.maps import measure_map
from benchmarks.sharing_test.rules import Rule, decide, score


def draw_members(count: int, examples: int) -> networks.Members:
    flags = torch.arange(count) % 2 == 1
    pool = torch.stack([torch.randperm(50)[:examples] for _ in range(count)]).int()
    targets = torch.randn(count, examples, 10).half()
    labels = torch.randint(10, (count, examples), dtype=torch.uint8)
    return networks.Members(torch.zeros(count, dtype=torch.long), pool, labels, targets, flags, ~flags, flags)


@pytest.fixture
def setting():
    torch.manual_seed(0)
    tensors, state = networks.initialize(cases.STUDENT, 4, torch.device("cpu"))
    return tensors, state, torch.randn(1, 50, cases.SIZE, cases.SIZE), draw_members(4, 20)


def predict(network, images, members):
    index = torch.arange(20).expand(4, -1)
    return networks.forward(*network, networks.batch(images, members, index)[0], members)


def test_both_convolutions_agree():
    torch.manual_seed(0)
    x, weight = torch.randn(5, 3, 4, 9, 9), torch.randn(3, 6, 4, 3, 3)
    expected = networks.convolve_in_groups(x, weight)
    torch.testing.assert_close(networks.convolve_by_products(x, weight), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", range(3))
def test_candidates_start_at_the_function_of_the_student(setting, layer):
    tensors, state, images, members = setting
    generator = torch.Generator().manual_seed(1)
    expected = predict((tensors, state), images, members)
    for network in (
        (relax(tensors, layer, cases.SIZE, generator), state),
        (blind(tensors, layer, generator), state),
        widen(tensors, state, layer, generator),
        (bias_map(tensors, layer, cases.SIZE), state),
    ):
        torch.testing.assert_close(predict(network, images, members), expected, rtol=1e-4, atol=1e-5)


def test_position_gradients_sum_to_the_gradient_of_the_shared_kernel(setting):
    tensors, state, images, members = setting
    index = torch.arange(20).expand(4, -1)
    mean, _ = position_gradients(tensors, state, images, members, index, layer=1)
    weight = tensors["1.weight"].requires_grad_()
    x, labels, targets = networks.batch(images, members, index)
    loss = networks.loss_of(networks.forward(tensors, state, x, members), labels, targets, members)
    (expected,) = torch.autograd.grad(loss.mean(0).sum(), weight)
    torch.testing.assert_close(mean.sum(1).view_as(expected), expected, rtol=1e-4, atol=1e-5)


def make_record(gain: float, error: float, fresh: float, planted: bool = False) -> dict:
    row = dict.fromkeys(("continue", "blind", "wide"), [gain, error, fresh] * 2)
    return {"planted": planted, "start": 0.0, "gains": {"relax": [row]}}


@pytest.mark.parametrize(
    ("gain", "error", "verdict"),
    [(0.03, 0.005, "relax"), (0.0, 0.001, "keep"), (0.015, 0.005, "none"), (-0.01, 0.02, "none")],
)
def test_the_verdict_compares_the_interval_with_the_threshold(gain, error, verdict):
    assert decide(make_record(gain, error, 0.0), Rule()) == [verdict]


def test_the_gain_is_over_the_best_control():
    record = make_record(0.03, 0.001, 0.03)
    record["gains"]["relax"][0] |= {"wide": [0.0, 0.001, 0.0] * 2}
    assert decide(record, Rule()) == ["keep"]
    assert decide(record, Rule(("continue", "blind"))) == ["relax"]


def test_scores_count_planted_cases_by_their_gain_on_fresh_images():
    records = [
        make_record(0.03, 0.001, 0.03, planted=True),
        make_record(0.03, 0.001, 0.03),
        make_record(0.0, 0.001, 0.01, planted=True),
    ]
    found = score(records, Rule())
    assert (found["planted"], found["planted_relax"]) == (1, 1)
    assert (found["shared"], found["shared_relax"]) == (1, 1)
    assert (found["other"], found["other_relax"]) == (1, 0)
    assert found["covered"] == pytest.approx(2 / 3)


def test_the_map_finds_planted_places_without_pooling():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12000, cases.SIZE, cases.SIZE, generator=generator)
    assert measure_map(images, "none", 1.0, generator)["map by energy"] == 1.0
