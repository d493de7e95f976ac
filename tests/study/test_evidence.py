"""Published comparisons: exact counts, tiny runs, resumed runs, and what tables and pages show."""

import json
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.browser import AXE, launch_browser, visit
from tests.helpers.programs import require_packages
from tools import evidence_page
from weightshare.errors import ArgumentError, DataError, SpecError, StudyError
from weightshare.study import evidence
from weightshare.study.engines import LostWorkerError, tasks
from weightshare.study.evidence import (
    Evidence,
    Experiment,
    Finding,
    convergence,
    kunin2019,
    lecun1989,
    running,
    zipcode1989,
)
from weightshare.study.evidence.base import (
    Plot,
    compare_counts,
    make_series,
    measure,
    render_page,
)
from weightshare.study.evidence.images import load_images
from weightshare.study.evidence.training import shift_randomly, train

HOSTILE = '<script>alert("1")</script>'


def draw_number(data, seed):
    return {"value": float(torch.rand(())), "seed": seed}


def judge_numbers(records):
    values = [record["value"] for record in records]
    return [measure(f"value | {HOSTILE}", values, "0.5"), compare_counts("seeds", 3, len(records))]


def plot_numbers(records):
    values = [record["value"] for record in records]
    return [Plot(HOSTILE, "x", "y", (make_series(HOSTILE, 0, [1, 2], [values, values]),))]


TOY = Experiment(
    name="toy",
    title=f"Toy {HOSTILE}",
    question="Is a number random?",
    source="Nobody 2000",
    seeds=3,
    settings={"range": [0, 1]},
    run_seed=draw_number,
    judge=judge_numbers,
    plot=plot_numbers,
    data="random numbers",
)


@pytest.fixture
def toy(monkeypatch):
    """Make the experiment "toy" known; the list has its calls."""
    calls = []

    def run_seed(data, seed):
        calls.append(seed)
        return draw_number(data, seed)

    experiment = replace(TOY, run_seed=run_seed)
    monkeypatch.setattr(running, "find_experiment", lambda name: experiment)
    return calls


class LastFirst(Executor):
    """Run calls in this process, and finish the last one first."""

    def __init__(self):
        self.calls = []

    def submit(self, function, /, *arguments):
        self.calls.append((Future(), function, arguments))
        return self.calls[-1][0]

    def run_all(self, futures, **options):
        for future, function, arguments in reversed(self.calls):
            future.set_result(function(*arguments))
        self.calls.clear()
        return list(reversed(futures))


# the experiments


def test_links_and_weights_of_lecuns_networks_are_the_published_ones():
    record = {str(n): {"train": [99.0, 100.0], "test": [n, n + 0.5]} for n in lecun1989.NETS}
    findings = {finding.quantity: finding for finding in lecun1989.judge([record])}
    counts = [f for name, f in findings.items() if name.endswith((": links", ": weights"))]
    assert len(counts) == 10
    assert all(finding.agrees for finding in counts)
    assert [int(finding.measured) for finding in counts] == [
        *(2570, 2570, 3214, 3214, 1226, 1226, 2266, 1132, 5194, 1060)
    ]
    assert findings["lowest training accuracy of the five networks (%)"].agrees is False


def test_order_of_lecuns_networks():
    def record(seed, order):
        return {
            str(n): {"train": [100.0], "test": [80.0 + 2 * place + 0.3 * (seed * place % 3)]}
            for place, n in enumerate(order)
        }

    right = lecun1989.judge([record(seed, (1, 2, 3, 4, 5)) for seed in range(4)])
    assert [f.agrees for f in right if "minus" in f.quantity] == [True] * 4
    wrong = lecun1989.judge([record(seed, (1, 2, 3, 5, 4)) for seed in range(4)])
    assert [f.agrees for f in wrong if "minus" in f.quantity] == [True, True, True, False]
    assert wrong[-1].note == "The difference has the opposite sign."


@pytest.mark.parametrize(
    ("module", "settings", "findings"),
    [
        (lecun1989, {"EPOCHS": 2, "REDRAWS": 2}, 20),
        (zipcode1989, {"EPOCHS": 1, "TRAIN": 200, "TEST": 50}, 10),
        (kunin2019, {"STEPS": 50, "EPOCHS": 3}, 11),
        (convergence, {"EPOCHS": 2, "TRAIN": 64, "TEST": 50, "LEARNING_RATES": (1e-3, 1e-2)}, 15),
    ],
    ids=["lecun1989", "zipcode1989", "kunin2019", "convergence"],
)
def test_tiny_runs(monkeypatch, module, settings, findings):
    for name, value in settings.items():
        monkeypatch.setattr(module, name, value)
    generator = torch.get_rng_state(), torch.get_num_threads()
    name = module.__name__.rpartition(".")[2]
    first, second = (evidence.run(name, seeds=2) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), generator[0])
    assert torch.get_num_threads() == generator[1]
    assert len(first.findings) == findings
    same = [f for f in first.findings if "seconds" not in f.quantity]
    assert same == [f for f in second.findings if "seconds" not in f.quantity]
    assert "digits, 1,348 training and 449 test images" in str(first)
    assert json.loads(first.to_json())["name"] == name


def test_zip_code_counts_are_the_published_ones():
    errors = {"error": 1.0, "train_error": 0.0, "shifted_error": 3.0}
    findings = zipcode1989.judge([{"shared": errors, "unshared": errors}] * 2)
    assert [(f.measured, f.agrees) for f in findings[:4]] == [
        *((1068, True), (19968, True), (9760, True), (64660, True))
    ]


def test_both_zip_code_networks_start_as_the_same_function():
    networks = zipcode1989.build(3)
    x = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(networks["shared"](x), networks["unshared"](x))


def test_weight_decay_makes_a_linear_autoencoder_symmetric(monkeypatch):
    monkeypatch.setattr(kunin2019, "STEPS", 4000)
    monkeypatch.setattr(kunin2019, "CODES", 2)
    covariance = torch.diag(torch.tensor([1.0, 0.5, 0.1, 0.05], dtype=torch.float64))
    assert kunin2019.train_linear(covariance, 0, 0.01)["after"] < 1e-2
    assert kunin2019.train_linear(covariance, 0, 0.0)["after"] > 0.1


def test_find_epoch_returns_the_last_epoch_if_the_target_is_never_reached():
    assert convergence.find_epoch([50, 90, 95], 90) == 2
    assert convergence.find_epoch([50, 60, 70], 90) == 3


# runs


def test_the_table_has_published_and_measured_figures(toy):
    result = evidence.run("toy")
    table = str(result)
    assert "Comparisons that agree: 1 of 1." in table
    for words in ("published", "95% interval", "0.5", "agrees", "Nobody 2000", "random numbers"):
        assert words in table
    assert result.verdict == json.loads(result.to_json())["verdict"]


def test_an_interrupted_run_continues(toy, tmp_path):
    whole = evidence.run("toy")
    evidence.run("toy", seeds=1, out=tmp_path)
    with open(tmp_path / "toy.jsonl", "a") as file:
        file.write('{"experiment": "toy", "vers')
    toy.clear()
    steps = []
    assert evidence.run("toy", out=tmp_path, on_progress=steps.append) == whole
    assert toy == [1, 2]
    assert [(step.done, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    toy.clear()
    assert evidence.run("toy", out=tmp_path) == whole
    assert toy == []
    assert json.loads((tmp_path / "toy.json").read_text())["findings"][1]["agrees"] is True
    assert "&lt;" not in (tmp_path / "toy.md").read_text()


@pytest.mark.parametrize("torn", [b"{", b'{"experiment": "to', b'{"experiment": "toy", "version": "'])
def test_a_run_that_was_killed_at_its_first_seed_continues(toy, tmp_path, torn):
    (tmp_path / "toy.jsonl").write_bytes(torn)
    assert evidence.run("toy", out=tmp_path) == evidence.run("toy")


@pytest.mark.parametrize("line", ["my notes of Monday", "my notes\n", '{"experiment": "other", "vers'])
def test_a_foreign_line_after_the_seeds_is_left_alone(toy, tmp_path, line):
    evidence.run("toy", seeds=1, out=tmp_path)
    file = tmp_path / "toy.jsonl"
    content = file.read_text() + line
    file.write_text(content)
    with pytest.raises(StudyError, match="line 2: must be a seed of this experiment"):
        evidence.run("toy", out=tmp_path)
    assert file.read_text() == content


def test_a_full_disk(toy, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("weightshare.study.journal.os.fsync", full)
    with pytest.raises(
        StudyError, match=r"toy\.jsonl', record of seed 0: must be readable and writable, got No"
    ):
        evidence.run("toy", out=tmp_path)


def test_a_folder_that_is_a_file(toy, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StudyError, match=r"out': must be a writable folder, got File exists; choose another"):
        evidence.run("toy", out=tmp_path / "out")


def test_results_do_not_depend_on_the_order_in_which_seeds_finish(toy, tmp_path, monkeypatch):
    pool = LastFirst()
    monkeypatch.setattr(tasks, "_wait", pool.run_all)
    assert evidence.run("toy", executor=pool, out=tmp_path) == evidence.run("toy")
    lines = (tmp_path / "toy.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [2, 1, 0]


def test_a_process_that_ends_again_and_again_is_reported_and_the_others_go_on(toy, tmp_path):
    class Losing(ThreadPoolExecutor):
        def submit(self, function, /, *arguments):
            future = super().submit(function, *arguments)
            if arguments[-1] == 0:
                future = Future()
                future.set_exception(LostWorkerError("it was ended by signal 9"))
            return future

    with Losing(1) as pool, pytest.raises(StudyError) as caught:
        evidence.run("toy", executor=pool, out=tmp_path)
    assert str(caught.value) == (
        "evidence, toy: every seed must finish, got seeds that lost their process again and again: 0 (it was "
        "ended by signal 9); use fewer workers if memory has run out; with --out, all other seeds are saved."
    )
    assert len((tmp_path / "toy.jsonl").read_text().splitlines()) == 2


@pytest.mark.long
def test_two_workers_measure_the_same():
    assert evidence.run("kunin2019", seeds=2, workers=2) == evidence.run("kunin2019", seeds=2)


def test_records_of_another_run_are_refused(toy, tmp_path):
    evidence.run("toy", seeds=1, out=tmp_path)
    file = tmp_path / "toy.jsonl"
    changed = {**json.loads(file.read_text()), "settings": {"range": [0, 2]}}
    file.write_text(json.dumps(changed) + "\n")
    with pytest.raises(
        StudyError, match=r"line 1: must be a seed of this experiment .*, got one of other data"
    ):
        evidence.run("toy", out=tmp_path)
    for text in ("hello\n", "hello", "[]\n"):
        file.write_text(text)
        with pytest.raises(StudyError, match=r"got something else; choose another folder with --out"):
            evidence.run("toy", out=tmp_path)
        assert file.read_text() == text


def test_a_folder_in_use_is_refused(toy, tmp_path):
    def run_again(progress):
        with pytest.raises(StudyError, match=r"toy must not be running there, got a folder that another run"):
            evidence.run("toy", out=tmp_path)

    evidence.run("toy", seeds=1, out=tmp_path, on_progress=run_again)


def test_bad_arguments(toy):
    with pytest.raises(ArgumentError, match=r"evidence: seeds must be at least 1, got 0\."):
        evidence.run("toy", seeds=0)
    with pytest.raises(ArgumentError, match=r"evidence: workers must be at least 1, got 0\."):
        evidence.run("toy", workers=0)
    with pytest.raises(
        SpecError, match=r"toy makes its own data and takes none, got 'digits'; omit --data\."
    ):
        evidence.run("toy", data="digits")
    with pytest.raises(
        SpecError, match=r"must be one of lecun1989, .*, got 'lecun'; did you mean 'lecun1989'\?"
    ):
        evidence.find_experiment("lecun")


def test_every_name_has_an_experiment():
    for name in evidence.NAMES:
        experiment = evidence.find_experiment(name)
        assert experiment.name == name
        assert experiment.seeds > 1
        json.dumps(dict(experiment.settings))


# data and training


def test_images_are_resized_and_between_zero_and_one():
    images = load_images("digits", 16)
    assert images.train[0].shape == (1348, 1, 16, 16)
    assert images.train[0].min() == 0
    assert 0.9 < images.train[0].max() <= 1
    assert images.digest != load_images("digits").digest


def test_images_of_a_file_are_described_without_its_folder(tmp_path):
    x, y = np.random.default_rng(0).integers(256, size=(40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "some.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])
    images = load_images(f"npz:{tmp_path / 'some.npz'}")
    assert images.description == "npz:some.npz, 40 training and 10 test images of 8 x 8 pixels"
    assert images.classes == 2


def test_data_that_an_experiment_cannot_use(tmp_path):
    with pytest.raises(DataError, match=r"digits: there must be at most 9 classes .*, got 10\."):
        load_images("digits", 16, most_classes=9)
    with pytest.raises(DataError, match=r"digits: there must be at least 2,000 images .*, got 1,797\."):
        load_images("digits", 16, needed=2000)
    with pytest.raises(DataError, match=r"npz:none\.npz: must be a file, got a path that does not exist"):
        evidence.run("convergence", data="npz:none.npz")


def test_shifts_uncover_the_fill_and_stay_in_range():
    images = torch.arange(1.0, 17).view(1, 1, 4, 4).repeat(200, 1, 1, 1)
    shifted = shift_randomly(images, (0, 2), torch.Generator().manual_seed(0), fill=-1)
    padded = torch.nn.functional.pad(images[:1], (2, 2), value=-1)
    expected = [padded[0, :, :, start : start + 4] for start in range(5)]
    found = [sum(torch.equal(one, image) for one in shifted) for image in expected]
    assert sum(found) == 200
    assert min(found) > 20


def test_training_stops_when_told():
    model = torch.nn.Linear(2, 2)
    x, y = torch.randn(10, 2), torch.zeros(10, dtype=torch.long)
    assert train(model, x, y, seed=0, epochs=9, stop=lambda epoch: epoch == 3) == 3
    assert train(model, x, y, seed=0, epochs=9) == 9


# pages


def test_markup_is_escaped(toy):
    result = evidence.run("toy")
    assert "<script>" not in result.to_html()
    assert "&lt;script&gt;" in result.to_html()
    assert "<script>" not in result.to_markdown()
    assert r"value \| \<script\>" in result.to_markdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(toy, tmp_path, scheme):
    long = Finding("a_quantity_with_a_long_name_" * 4, "1" * 60, 1.0, [0.5, 1.5], False, "Because. " * 20)
    result = evidence.run("toy")
    page = tmp_path / "page.html"
    page.write_text(render_page([replace(result, findings=(*result.findings, long))]), encoding="utf-8")
    with launch_browser() as browser:
        opened = visit(browser, page, viewport={"width": 400, "height": 800}, color_scheme=scheme)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
        assert opened.messages == []
        ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        opened.page.add_script_tag(path=require_packages() / "axe-core/axe.min.js")
        violations = opened.page.evaluate(AXE)
    assert violations == []


# the command


def test_the_command_prints_the_table(command_line, toy, tmp_path):
    code, out, err = command_line("evidence", "toy", "--out", str(tmp_path), "--seeds", "2")
    assert code == 0
    assert "does not agree" in out
    assert "toy: 2 of 2 seeds" in err
    assert sorted(path.suffix for path in tmp_path.glob("toy.*")) == [".html", ".json", ".jsonl", ".md"]


def test_the_command_reports_an_unknown_name(command_line):
    code, out, err = command_line("evidence", "lecun1998")
    assert (code, out) == (2, "")
    assert "did you mean 'lecun1989'?" in err


def test_no_published_figure_means_no_verdict():
    result = Evidence("a", "A", "Why?", "B", "c", 1, {}, "d", (Finding("e", None, 1.0),))
    assert result.verdict == "Nothing is compared."


def test_the_page_has_the_results(tmp_path):
    page = tmp_path / "evidence.md"
    page.write_text(evidence_page.PAGE.read_text())
    evidence_page.main(page)
    assert page.read_text() == evidence_page.PAGE.read_text(), "run `python -m tools.evidence_page`"
