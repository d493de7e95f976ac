"""Options of `weightshare study` for models, workers and plans, and its progress in logs."""

import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import nn

from weightshare.cli.progress import Terminal, TimeLeft, format_score
from weightshare.study import Plan, Progress, StudySpec, plan
from weightshare.study.tasks import METRICS

SMALL = ["--seeds", "1", "--epochs-max", "1", "--width", "3", "--accelerator", "cpu"]


def test_a_dry_run_prints_the_plan_and_writes_nothing(command_line, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, out, err = command_line(
        "study", tiny, "--dry-run", "--sharing", "full,tiled:2", "--train-sizes", "4", "--seeds", "2"
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].endswith("tiny.npz, classification, 13 training, 3 validation, 8 test examples.")
    assert [line.split()[0] for line in lines[1:-2]] == ["row", *(["full", "tiled:2", "full"] * 2)]
    assert lines[2].split()[1] == "4,882"
    assert lines[-2] == "12 trials (6 rows x 2 seeds), of at most 100 epochs each."
    assert lines[-1].startswith("Estimated memory: ")
    assert sorted(tmp_path.iterdir()) == before


def test_the_plan_counts_finished_trials(command_line, tiny, tmp_path):
    given = ["study", tiny, "--out", str(tmp_path / "out"), *SMALL[2:], "--sharing", "full", "--seeds"]
    assert command_line(*given, "1")[0] == 0
    code, _, err = command_line(*given, "3")
    assert code == 0
    assert "3 trials (1 row x 3 seeds), 1 of them finished, of at most 1 epoch each." in err
    assert "Estimated time left: " in err
    assert [line.split()[0] for line in err.splitlines()[-2:]] == ["2/3", "3/3"]


def test_trials_run_in_workers(command_line, tiny, tmp_path):
    given = ["study", tiny, "--sharing", "full,local", *SMALL]
    serial = command_line(*given, "--out", str(tmp_path / "a"))
    parallel = command_line(*given, "--out", str(tmp_path / "b"), "--workers", "1")
    assert serial[0] == parallel[0] == 0
    cut = [text.rpartition("Report")[0].splitlines()[:4] for text in (serial[1], parallel[1])]
    assert cut[0] == cut[1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--workers", "0"], "study: workers must be at least 1, got 0"),
        (["--engine", "slurm"], "study: engine must be local or ray, got 'slurm'"),
        (["--address", "auto"], "study: address needs a cluster, got engine 'local'; add --engine ray"),
        (["--resize", "big"], 'study: resize must be a size such as "64" or "64x48", got \'big\''),
        (["--task", "guess"], "study: task must be auto, classification, "),
        (["--metric", "rmse"], "metric must be accuracy, "),
        (["--model", "missing:build"], "study, model 'missing:build': module 'missing' must be importable"),
        (["--seeds", "1000000000"], "study: seeds must be at most 1,000,000"),
        (["--batch-size", "9" * 23], "study: batch_size must be at most 2,147,483,647"),
        (["--strategy", "ddp_fork"], "strategy must start its processes as commands, as ddp and fsdp do"),
        (["--train-sizes", "5,x"], "study: train_sizes must be integers such as 100,300, got '5,x'"),
    ],
)
def test_errors_of_options(command_line, tiny, tmp_path, arguments, text):
    code, out, err = command_line("study", tiny, "--out", str(tmp_path / "out"), *arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_modules_in_the_current_folder_can_be_named_but_hide_no_others(tiny, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def build(sharing, width=16):\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 2))\n"
    )
    for name in ("random", "sklearn", "statistics", "matplotlib"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('of the user')\n")
    code = "import sys; sys.path.pop(0); from weightshare.cli import main; main()"  # as an installed command
    arguments = ["study", tiny, "--model", "mine:build", "--sharing", "full,local", *SMALL]
    with_workers = [["--out", "other", "--workers", "1"]] if sys.version_info >= (3, 11) else []
    for options in (["--out", "out"], *with_workers):
        command = [sys.executable, "-c", code, *arguments, *options]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr


@pytest.fixture
def trained(tmp_path, monkeypatch) -> list[str]:
    """Options for a network of the module `mine` with the weights of a file, in an empty folder."""

    def build():
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(8, 2))

    module = ModuleType("mine")
    vars(module).update(build=build)
    monkeypatch.setitem(sys.modules, "mine", module)
    monkeypatch.chdir(tmp_path)
    torch.save(build().state_dict(), "weights.pt")
    return ["--from", "mine:build", "--weights", "weights.pt", "--accelerator", "cpu"]


def test_a_trained_network_is_trained_further(command_line, tiny, trained, tmp_path):
    given = ["study", tiny, "--sharing", "full,local", "--layers", "2", "--seeds", "1", "--epochs-max", "2"]
    code, out, err = command_line(*given, *trained)
    assert code == 0, err
    assert "of 2 epochs each." in err
    assert "start from the trained network mine:build with the weights weights.pt, whose test accuracy" in out
    (folder,) = tmp_path.glob("study-tiny-*")
    again = command_line(*given, *trained)
    assert (again[1], again[2]) == (out, "")
    torch.save({name: t + 1 for name, t in torch.load("weights.pt").items()}, "weights.pt")
    code, _, err = command_line(*given, *trained)
    assert code == 2
    assert f"folder '{folder.name}': must be empty or contain this study" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--model", "mine:build"],
            "study: model does not apply to a trained network, so it must be omitted",
        ),
        (["--patience", "2"], "study: patience does not apply to a trained network, so it must be omitted"),
        (["--from", "mine:other"], "'mine:other': must name a class or a function, got a name that does n"),
        (["--weights", "missing.pt"], "weights 'missing.pt': must be"),
        (
            ["--layers", "7"],
            "study, start 'mine:build': layers must match a convolution, such as 0, 2, got '7'",
        ),
    ],
)
def test_errors_of_a_trained_network(command_line, tiny, trained, arguments, text):
    last = dict(zip([*trained, *arguments][::2], [*trained, *arguments][1::2]))
    code, out, err = command_line("study", tiny, *(word for pair in last.items() for word in pair))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert text in err


@pytest.fixture
def planned(tiny) -> Plan:
    return plan(StudySpec(tiny, "full,local", seeds=2, width=3, epochs_max=10, train_sizes=[4]))


def make_progress(metric="accuracy", epoch=1, sharing="full", is_class=True):
    return Progress(0, 8, sharing, 0, epoch, 0.5, METRICS[is_class][metric])


def test_scores_are_shown_with_their_metric():
    assert format_score(make_progress(), "validation") == "50.0% validation accuracy"
    assert format_score(make_progress("rmse", is_class=False), "validation") == "0.5000 validation RMSE"


def test_the_time_left_is_estimated_once(planned, monkeypatch):
    clock = iter([0.0, 2.0])
    monkeypatch.setattr("weightshare.cli.progress.time.monotonic", lambda: next(clock))
    left = TimeLeft(replace(planned, finished=4))
    assert left.update(make_progress())
    # half of 2 seeds x 10 epochs of two rows of 13 examples and two of 4, each epoch of 13 taking 2 seconds
    seconds = 2 * (0.5 * 2 * 10 * (2 * 13 + 2 * 4) / 13 - 1)
    assert left.describe() == f"Estimated time left: {seconds:.0f} s if every trial takes 10 epochs."
    assert not left.update(make_progress())


def test_logs_report_progress_within_a_trial_every_thirty_seconds(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("weightshare.cli.progress.time.monotonic", lambda: clock[0])
    terminal = Terminal()
    for epoch, clock[0] in enumerate([10.0, 29.0, 31.0, 59.0, 62.0], 1):
        terminal.update(make_progress(epoch=epoch))
    assert capsys.readouterr().err.splitlines() == [
        "0/8 full, seed 0: epoch 3, 50.0% validation accuracy",
        "0/8 full, seed 0: epoch 5, 50.0% validation accuracy",
    ]
