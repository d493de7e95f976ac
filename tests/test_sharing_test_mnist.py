"""The benchmark of the sharing test on MNIST, on scikit-learn's digits."""

import json

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import weightshare as ws
from tests.test_benchmarks import ROOT


@pytest.fixture
def mnist(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import sharing_test_mnist

    return sharing_test_mnist


@pytest.fixture(scope="module")
def digits():
    x, y = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    x = x.float().view(-1, 1, 8, 8) / 16
    return (x[:1000], y[:1000]), (x[1000:], y[1000:])


def test_candidates_start_at_the_same_function_with_as_many_weights(mnist, digits):
    (x, y), _ = digits
    model = mnist.build_network("flatten", 8).eval()
    test = ws.sharing_test(model, TensorDataset(x[:40], y[:40]), cross_entropy, epochs=1, batch_size=20)
    found = mnist.build_candidates(model, test, {"0": ws.LowRank(2), "3": ws.LowRank(2)})
    assert list(found) == ["continue", "relax", "blind", "wide"]
    for candidate in found.values():
        torch.testing.assert_close(candidate.eval()(x[:5]), model(x[:5]), rtol=1e-4, atol=1e-5)
    counts = {name: sum(p.numel() for p in candidate.parameters()) for name, candidate in found.items()}
    added = {name: count - counts["continue"] for name, count in counts.items()}
    assert added["relax"] > 2 * (8 * 9 + 8 * 16 * 9)
    assert 0.9 < added["blind"] / added["relax"] < 1
    assert 0.8 < added["wide"] / added["relax"] < 1.2
    assert sum(p.numel() for p in model.parameters()) == counts["continue"]


def test_training_draws_every_image_before_any_again(mnist, digits):
    batches = mnist._draw_batches(250, torch.Generator().manual_seed(0))
    first = torch.cat([next(batches) for _ in range(3)])
    assert first.sort().values.tolist() == list(range(250))
    assert [len(next(batches)) for _ in range(3)] == [100, 100, 50]


def test_a_trial_and_the_report(mnist, digits):
    recipe = mnist.Recipe(training=200, unseen=100, steps=4, further=4, epochs=1)
    trials = [mnist.run_trial(digits, head, 0, recipe) for head in mnist.HEADS]
    for trial in trials:
        assert set(trial["tested"]) == {"0", "3", "6"}
        assert trial["relaxed"].keys() <= trial["tested"].keys()
        assert trial["reached"].keys() == mnist.IMAGES.keys()
        assert trial["reached"]["all"].keys() == {"before", "continue", "relax", "blind", "wide"}
        assert trial["reached"]["all"]["before"] == trial["reached"]["training"]["before"]
        assert trial["reached"]["all"]["continue"] != trial["reached"]["training"]["continue"]
    results = json.loads(json.dumps({"recipe": vars(recipe), "trials": trials}))
    text = mnist.write_report(results)
    assert text.count("\n## Network") == 2
    assert text.count("| position-blind control: lower loss (% of it) |") == 4


def test_differences_are_paired_by_seed_and_positive_if_relaxing_is_better(mnist):
    def make_trial(loss, error):
        row = {"continue": {"loss": 0.4, "error": 0.03}, "relax": {"loss": loss, "error": error}}
        return {"reached": {"all": row}}

    found = mnist.compare([make_trial(0.3, 0.01), make_trial(0.5, 0.03)], "all", "continue")
    assert found["gain"] == pytest.approx([25, -25])
    assert found["error"] == pytest.approx([2, 0])
