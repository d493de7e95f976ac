"""Trials in other processes and on Ray: the same records and results, and workers that die."""

import os
import signal
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.study import read_records, tiny_arrays, without_time
from weightshare.errors import ArgumentError, StudyError
from weightshare.study import ProcessExecutor, StudySpec, run
from weightshare.study.engines import LostWorkerError, tasks


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """A study that was run in this process, and its records by row and seed."""
    folder = tmp_path_factory.mktemp("serial")
    np.savez(folder / "tiny.npz", **tiny_arrays())
    spec = StudySpec(
        f"npz:{folder / 'tiny.npz'}", "full,tiled:2", seeds=2, width=3, epochs_max=2, out=folder / "out"
    )
    run(spec)
    return spec, sort_records(spec)


def sort_records(spec):
    return sorted(without_time(read_records(spec)), key=lambda record: (record["key"], record["seed"]))


def check_same(serial, executor, tmp_path):
    """Check that a study has the same records and results with an executor."""
    spec, records = serial
    other = replace(spec, out=tmp_path / "other")
    with executor as entered:
        result = run(other, executor=entered)
    assert sort_records(other) == records
    assert [row.accuracy for row in result.summary] == [row.accuracy for row in run(spec).summary]
    assert (other.out / "report.html").exists()
    assert {entry.name for entry in other.out.iterdir()} <= {
        "records.jsonl", "results.json", "report.html", ".lock",
    }  # fmt: skip


def test_two_processes_give_the_same_results(serial, tmp_path):
    check_same(serial, ProcessExecutor(2), tmp_path)


def test_other_executors_give_the_same_results(serial, tmp_path):
    check_same(serial, ThreadPoolExecutor(2), tmp_path / "threads")
    check_same(serial, ProcessPoolExecutor(1, get_context("spawn")), tmp_path / "processes")


@pytest.mark.parametrize("finished", [1, 4])
def test_an_executor_continues_a_study(serial, tmp_path, finished):
    spec, records = serial
    other = replace(spec, out=tmp_path / "other")
    other.out.mkdir()
    lines = (spec.out / "records.jsonl").read_text().splitlines(keepends=True)
    (other.out / "records.jsonl").write_text("".join(lines[:finished]))
    seen = []
    with ProcessExecutor(1) as executor:
        run(other, seen.append, executor=executor)
    assert [state.done for state in seen] == list(range(finished + 1, 7))
    assert all(state.trial is not None for state in seen)
    assert sort_records(other) == records


def build_or_die(sharing, width):
    """Build a network; with local sharing, kill the process while the file in DIES has letters."""
    name = os.environ["DIES"]
    if str(sharing) == "local" and multiprocessing_child():
        with open(name, "r+") as file:
            left = file.read()
            file.seek(0)
            file.truncate()
            file.write(left[1:])
        if left:
            os.kill(os.getpid(), signal.SIGKILL)
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.Flatten(), nn.Linear(16 * width, 2))


def multiprocessing_child():
    import multiprocessing

    return multiprocessing.parent_process() is not None


@pytest.fixture
def dying(tiny, tmp_path, monkeypatch):
    """A study whose trials of local sharing kill their process as often as there are letters in a file."""
    monkeypatch.setenv("DIES", str(tmp_path / "dies"))
    return StudySpec(
        tiny, "full,local", seeds=1, width=2, epochs_max=2, out=tmp_path / "out", model=build_or_die
    )


def test_a_trial_whose_process_dies_is_started_again(dying, tmp_path):
    (tmp_path / "dies").write_text("xx")
    with ProcessExecutor(1) as executor:
        assert len(run(dying, executor=executor).trials) == 2


def test_a_trial_whose_process_dies_again_and_again_fails_and_the_others_go_on(dying, tmp_path):
    (tmp_path / "dies").write_text("xxx")
    with ProcessExecutor(2) as executor, pytest.raises(StudyError) as caught:
        run(dying, executor=executor)
    assert str(caught.value) == (
        "study: every trial must finish, got trials that lost their worker again and again: "
        "local, seed 0 (it was ended by signal 9); run the study again to retry them; all other trials are "
        "saved."
    )
    assert [record["sharing"] for record in read_records(dying)] == ["full"]
    assert not (dying.out / "results.json").exists()
    assert len(run(dying).trials) == 2


def test_a_pool_that_cannot_replace_its_workers(dying, tmp_path):
    (tmp_path / "dies").write_text("x")
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as executor,
        pytest.raises(
            StudyError, match=r"executor: must not lose its workers, .* use .*ProcessExecutor, which"
        ),
    ):
        run(dying, executor=executor)
    assert len(read_records(dying)) == 1


def test_an_error_in_a_worker_ends_the_study_with_its_message(serial, tmp_path):
    spec = replace(serial[0], out=None, precision="16-true")
    with ProcessExecutor(2) as executor, pytest.raises(StudyError, match="loss must be finite"):
        run(spec, executor=executor)


def test_several_devices_and_an_executor(serial):
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(StudyError, match="a trial in a worker must use one device, got 2; use devices=1"),
    ):
        run(replace(serial[0], out=None, accelerator="cpu", devices="2"), executor=executor)


def test_a_model_that_cannot_be_sent_to_a_worker(serial):
    spec = replace(
        serial[0], out=None, model=lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 2))
    )
    with (
        ProcessExecutor(1) as executor,
        pytest.raises(StudyError, match="model and metric must be importable"),
    ):
        run(spec, executor=executor)


def test_data_in_memory_are_sent_to_workers(tmp_path):
    arrays = tiny_arrays()
    data = arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]
    spec = StudySpec(data, "full", seeds=2, width=2, epochs_max=1)
    with ProcessExecutor(2) as executor:
        trials = run(spec, executor=executor).trials
    assert without_time([t.to_record() for t in trials]) == without_time(
        [t.to_record() for t in run(spec).trials]
    )


class Job:
    """A job with the interface of submitit, which is not a future."""

    def __init__(self, function, arguments):
        self.call, self.looks = (function, arguments), 0

    def done(self):
        self.looks += 1
        return self.looks > 1

    def result(self):
        function, arguments = self.call
        return function(*arguments)

    def cancel(self):
        self.looks = -1000


class Submitter:
    """An executor of such jobs."""

    def submit(self, function, /, *arguments):
        return Job(function, arguments)


def test_jobs_that_are_not_futures(serial, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "PAUSE", 0)
    check_same(serial, nullcontext(Submitter()), tmp_path)


class Changed(ThreadPoolExecutor):
    """An executor that treats its second task in another way."""

    def __init__(self, change):
        super().__init__(1)
        self.change, self.futures = change, []

    def submit(self, function, /, *arguments):
        self.futures.append(self.change() if len(self.futures) == 1 else super().submit(function, *arguments))
        return self.futures[-1]


def test_what_is_finished_is_stored_when_no_more_tasks_can_be_submitted(serial, tmp_path):
    def refuse():
        wait(executor.futures)
        raise RuntimeError("no more tasks")

    spec = replace(serial[0], out=tmp_path / "out")
    with Changed(refuse) as executor, pytest.raises(RuntimeError, match="no more tasks"):
        run(spec, executor=executor)
    assert len(read_records(spec)) == 1


def test_a_trial_that_is_cancelled(serial, tmp_path):
    def cancel():
        future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future

    spec = replace(serial[0], out=tmp_path / "out")
    with (
        Changed(cancel) as executor,
        pytest.raises(StudyError, match=r"tiled:2, seed 0 \(it was cancelled\);"),
    ):
        run(spec, executor=executor)
    assert len(read_records(spec)) == 5


class Counted:
    """An argument that counts how often it is pickled."""

    count = 0

    def __reduce__(self):
        Counted.count += 1
        return Counted, ()


def test_waiting_tasks_are_not_pickled_yet():
    with ProcessExecutor(1) as executor:
        futures = [executor.submit(type, Counted()) for _ in range(9)]
        assert Counted.count <= 2
        assert {future.result() for future in futures} == {Counted}


def test_the_number_of_workers_is_checked():
    with pytest.raises(ArgumentError, match="ProcessExecutor: workers must be at least 1, got 0"):
        ProcessExecutor(0)


def fail(kind):
    raise kind("told")


class StubbornError(Exception):
    """An error that cannot be pickled."""

    def __reduce__(self):
        raise TypeError


def test_errors_of_tasks_are_raised():
    with ProcessExecutor(1) as executor:
        with pytest.raises(KeyError, match="told"):
            executor.submit(fail, KeyError).result()
        with pytest.raises(RuntimeError, match="StubbornError: told"):
            executor.submit(fail, StubbornError).result()
        with pytest.raises(LostWorkerError, match="it ended with exit code 7"):
            executor.submit(os._exit, 7).result()
        assert executor.submit(abs, -1).result() == 1


def test_processes_end_at_once_after_an_error():
    start = time.monotonic()
    with pytest.raises(KeyError), ProcessExecutor(1) as executor:  # noqa: PT012
        executor.submit(abs, 1).result()
        executor.submit(time.sleep, 600)
        raise KeyError
    assert time.monotonic() - start < 300


def test_threads_are_restored(serial):
    before = torch.get_num_threads()
    run(replace(serial[0], out=None, threads=before + 1, seeds=1, sharings="full"))
    assert torch.get_num_threads() == before
