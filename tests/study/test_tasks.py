"""Every task on one to three axes, models of the user, further questions, and metrics."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.helpers.study import read_records
from weightshare import Full, Local
from weightshare import nn as shared
from weightshare.errors import SpecError, StudyError
from weightshare.study import StudySpec, run
from weightshare.study.data import Examples
from weightshare.study.rows import plan_rows
from weightshare.study.tasks import METRICS, TASKS, find_metric
from weightshare.study.trials.building import Factory

SIZES = {1: (8,), 2: (6, 5), 3: (5, 5, 5)}


def make_examples(task: str, ndim: int = 2, channels: int = 2) -> Examples:
    """Return random data for a task: 12 training examples, and 6 each for validation and test."""
    generator = torch.Generator().manual_seed(0)
    size = SIZES[ndim]

    def make_pair(count):
        inputs = torch.randn(count, channels, *size, generator=generator)
        if task == "reconstruction":
            return inputs, inputs
        place = size if TASKS[task].is_dense else ()
        if TASKS[task].has_classes:
            return inputs, (torch.arange(count * torch.Size(place).numel()) % 3).reshape(count, *place)
        return inputs, torch.randn(count, 4, *place, generator=generator)

    names = ("a", "b", "c") if TASKS[task].has_classes else ()
    return Examples("mine", make_pair(12), make_pair(6), make_pair(6), names, task_name=task)


@pytest.fixture
def study(monkeypatch):
    """Run a study on random data for a task."""

    def run_on(examples, sharings="full,local", **options):
        monkeypatch.setattr(sys.modules["weightshare.study._run"], "load_examples", lambda _: examples)
        monkeypatch.setattr(sys.modules["weightshare.study._run"], "render_page", lambda _: "")
        given = {"seeds": 1, "width": 3, "epochs_max": 2, "accelerator": "cpu", **options}
        return run(StudySpec("digits", sharings, **given))

    return run_on


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_on_one_to_three_axes(study, task, ndim):
    examples = make_examples(task, ndim)
    result = study(examples, "full,tiled:2,local")
    expected = ["full", "tiled:2", "local"]
    if task == "reconstruction":
        expected = [name + tie for name in expected for tie in ("", " (tied)")]
    assert [row.sharing for row in result.summary if not row.matches] == expected
    assert {row.metric for row in result.summary} == {TASKS[task].metric}
    assert [len(trial.class_scores) for trial in result.trials] == [3 * (task == "classification")] * len(
        result.trials
    )
    for row in plan_rows(Factory(result.spec, examples)):
        network = row.build_network(Factory(result.spec, examples))
        Factory(result.spec, examples).check(network)  # its outputs have the shape of the targets
        assert sum(p.numel() for p in network.parameters()) == row.parameters
        assert row.memory > 20 * row.parameters


def test_tied_autoencoders_have_half_the_weights(study):
    result = study(make_examples("reconstruction"), "full")
    weights, tied = (result[name].parameters for name in ("full", "full (tied)"))
    assert weights - tied == 9 * (2 * 3 + 3 * 6)


def test_regression_is_learned(study):
    examples = make_examples("regression")
    pairs = [(x, x.mean(dim=(2, 3)).repeat(1, 2)) for x, _ in (examples.train, examples.validation)]
    result = study(
        replace(examples, train=pairs[0], validation=pairs[1]), "full", epochs_max=100, learning_rate=0.01
    )
    (trial,) = result.trials
    assert trial.curve_score[trial.best_epoch - 1] == min(trial.curve_score) < 0.8 * trial.curve_score[0]
    assert trial.validation_score == pytest.approx(min(trial.curve_score))


def build(sharing, width):
    return nn.Sequential(
        shared.Conv2d(2, width, 3, sharing=sharing, input_size=(6, 5)), nn.Flatten(), nn.Linear(12 * width, 3)
    )


def build_plain():
    layers = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3))
    return nn.Sequential(layers, nn.Flatten(), nn.Linear(36, 3))


def build_sharing_only(sharing):
    return build(sharing, 3)


def test_a_function_with_sharing_and_width_has_size_matched_rows(study):
    result = study(make_examples("classification"), "full,tiled:2", model=build)
    assert [row.sharing for row in result.summary] == [
        "full", "tiled:2", "full (width 6, size-matched to tiled:2)",
    ]  # fmt: skip
    assert result.spec.to_dict()["model"].endswith(":build")


def test_a_function_without_width_has_none(study):
    result = study(make_examples("classification"), "full,tiled:2", model=build_sharing_only)
    assert [row.sharing for row in result.summary] == ["full", "tiled:2"]


@pytest.mark.parametrize(
    ("layers", "shared_layers"), [(None, ["0.0", "0.2"]), ("0.0", ["0.0"]), ("0.?, 1.*", ["0.0", "0.2"])]
)
def test_convolutions_of_any_network_are_relaxed_by_patterns(layers, shared_layers):
    factory = Factory(StudySpec(model=build_plain, layers=layers), make_examples("classification"))
    network = factory.build(Local(), 16)
    found = [n for n, m in network.named_modules() if getattr(m, "sharing", Full()) == Local()]
    assert found == shared_layers
    weight = network.get_submodule("0.0").weight
    assert not torch.equal(weight[0], weight[1])  # the positions have new weights


def test_models_and_metrics_by_name(study, tmp_path, monkeypatch):
    (tmp_path / "my_model.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(36, 3))\n"
        "def error(outputs, targets): return (outputs.argmax(1) != targets).double().mean()\n"
        "error.lower_is_better = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = study(make_examples("classification"), "full", model="my_model:build", metric="my_model:error")
    assert result.summary[0].metric == "error"
    assert 0 <= result["full"].score <= 1
    with pytest.raises(AttributeError):
        result["full"].accuracy  # noqa: B018


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            "missing_module:build",
            "study, model 'missing_module:build': module 'missing_module' must be importable",
        ),
        ("exits:build", "study, model 'exits:build': module 'exits' must be importable, got SystemExit: 3"),
        ("math:missing", "study, model 'math:missing': must name a function, got no 'missing' in 'math'"),
        (
            "math:sqrt",
            "must build a network when called with (), got TypeError: math.sqrt() takes exactly one",
        ),
        (lambda: 3, "must return a torch.nn.Module, got int"),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(60, 3)),
            "must have a convolution, which can share less, got none",
        ),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 2, 3)),
            "must take inputs [2, 2, 6, 5] of torch.float32, got RuntimeError: ",
        ),
        (
            lambda sharing: nn.Sequential(nn.Conv2d(2, 2, 3), nn.Flatten()),
            "must return [2, 3] for classification, got [2, 24]",
        ),
    ],
)
def test_models_that_do_not_fit(study, model, text, tmp_path, monkeypatch):
    (tmp_path / "exits.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((StudyError, SpecError)) as caught:
        study(make_examples("classification"), model=model)
    assert text in str(caught.value)


def test_patterns_that_select_nothing(study):
    with pytest.raises(
        StudyError, match=r"layers must match a convolution, such as 0\.0, 0\.2, got '1\.\*\'"
    ):
        study(make_examples("classification"), "local", model=build_plain, layers="1.*")


def test_further_questions_are_rows_of_their_own(study, tmp_path):
    result = study(
        make_examples("classification"),
        train_sizes="4,8",
        widths="2",
        augment="shift:1",
        schedules="relax:1",
        layers="convolutions.0,convolutions.2",
        out=tmp_path / "out",
    )
    assert [row.sharing for row in result.summary] == ["full", "local"]
    assert [(row.question, row.sharing) for row in result.further] == [
        ("train_sizes", "full [4 examples]"),
        ("train_sizes", "local [4 examples]"),
        ("train_sizes", "full [8 examples]"),
        ("train_sizes", "local [8 examples]"),
        ("widths", "full [width 2]"),
        ("widths", "local [width 2]"),
        ("layers", "local [convolutions.0]"),
        ("layers", "local [convolutions.2]"),
        ("augment", "full [shift:1]"),
        ("augment", "local [shift:1]"),
        ("schedules", "local [relax:1]"),
    ]
    assert len(read_records(result.spec)) == len(result.trials) == 13
    counts = {row.sharing: row.parameters for row in result.further}
    assert counts["local [convolutions.0]"] < counts["local [convolutions.2]"] < result["local"].parameters
    assert [entry["question"] for entry in result.to_dict()["questions"]][-1] == "schedules"


def test_a_schedule_trains_with_full_sharing_first(study):
    result = study(make_examples("classification"), "full,local", schedules="relax:2", epochs_max=4)
    full, local, relaxed = (
        trial.curve_loss for trial in sorted(result.trials, key=lambda trial: "[" in trial.sharing)
    )
    assert relaxed[:2] == full[:2] != local[:2]
    assert relaxed[2:] != full[2:]


@pytest.mark.parametrize(
    ("metric", "task", "score"),
    [
        ("accuracy", "classification", 0.75),
        ("balanced_accuracy", "classification", 0.75),
        ("mean_iou", "classification", 0.5833),
    ],
)
def test_metrics_of_classes_by_hand(metric, task, score):
    outputs = torch.eye(2)[[0, 0, 1, 0]]
    assert find_metric(metric, TASKS[task])(outputs, torch.tensor([0, 0, 1, 1])) == pytest.approx(
        score, abs=1e-4
    )


def test_metrics_of_numbers_by_hand():
    outputs, targets = torch.tensor([[1.0], [4.0]]), torch.tensor([[1.0], [2.0]])
    found = {name: metric(outputs, targets) for name, metric in METRICS[False].items()}
    assert found == pytest.approx({"rmse": 2**0.5, "mae": 1.0, "r2": -7.0})


def return_nan(outputs, targets):
    return float("nan")


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (return_nan, "metric return_nan: must return a finite number, got nan"),
        (max, "metric max: must return a finite number, got RuntimeError: "),
        (
            "rmse",
            "metric must be accuracy, balanced_accuracy, mean_iou, or a function, for classification, got "
            "'rmse'",
        ),
        ("acuracy", "got 'acuracy'; did you mean 'accuracy'"),
        ("math:pi", "study, metric 'math:pi': must name a function, got float"),
    ],
)
def test_metrics_that_do_not_work(study, metric, text):
    with pytest.raises((StudyError, SpecError)) as caught:
        study(make_examples("classification"), metric=metric)
    assert text in str(caught.value)


def accuracy(outputs, targets):
    return 70.0


def test_a_function_named_like_a_metric_is_not_taken_for_it(study, tmp_path):
    result = study(make_examples("classification"), "full", metric=accuracy, out=tmp_path / "out")
    assert result["full"].metric.endswith("test_tasks:accuracy")
    assert result["full"].score == 70.0
    assert run(result.spec).summary == result.summary
