"""Trials on a Ray cluster: the same results, lost workers and nodes, and clusters that do not answer."""

import os
import signal
import socket
import threading
import time
from dataclasses import replace

import pytest

from tests.helpers.study import read_records, without_time
from weightshare.errors import ArgumentError, MissingExtraError, StudyError
from weightshare.study import RayExecutor, run
from weightshare.study.engines import LostWorkerError
from weightshare.study.engines import ray as engine

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two nodes on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def sort_records(spec):
    return sorted(without_time(read_records(spec)), key=lambda record: (record["key"], record["seed"]))


@pytest.mark.long
def test_a_local_cluster_gives_the_same_results(quick, tmp_path):
    spec = replace(quick, seeds=2)
    run(spec)
    other = replace(spec, out=tmp_path / "other", model=None)
    with RayExecutor(workers=2) as executor:
        run(other, executor=executor)
        # a lambda cannot be imported, but Ray can send it
        assert executor.submit(lambda: os.environ["OMP_NUM_THREADS"]).result() == "1"
        with pytest.raises(KeyError, match="told"):
            executor.submit({}.__getitem__, "told").result()
        with pytest.raises(LostWorkerError, match="WorkerCrashedError"):
            executor.submit(lambda: os.kill(os.getpid(), signal.SIGKILL)).result()
    assert not ray.is_initialized()
    assert sort_records(other) == sort_records(spec)


@pytest.mark.long
def test_a_node_is_lost_and_its_trials_are_started_again(quick, tmp_path, cluster):
    spec = replace(quick, seeds=4, epochs_max=60, patience=60)
    run(spec)
    other = replace(spec, out=tmp_path / "other")
    node = cluster.add_node(num_cpus=1)
    lost = threading.Event()

    def lose_node(state):
        if not lost.is_set():
            lost.set()
            cluster.remove_node(node, allow_graceful=False)

    with RayExecutor(cluster.address) as executor:
        run(other, lose_node, executor=executor, state_seconds=0)
    assert lost.is_set()
    assert sort_records(other) == sort_records(spec)


@pytest.mark.long
def test_a_cluster_without_enough_resources(cluster):
    with pytest.raises(
        StudyError, match=r"a node must have 1 CPUs and 7 GPUs per trial, got at most 1 CPUs and"
    ):
        RayExecutor(cluster.address, gpus_per_trial=7)
    assert not ray.is_initialized()


def test_an_address_that_does_not_answer(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "TIMEOUT", 5)
    (tmp_path / "ray.py").write_text("raise SystemExit('a file of the user')")
    monkeypatch.chdir(tmp_path)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(StudyError) as caught:
            RayExecutor(address)
        assert time.monotonic() - start < 30
    text = f"study, Ray cluster '{address}': must answer, got no answer within 5 seconds; start it with"
    assert str(caught.value).startswith(text)


def test_a_cluster_whose_client_ends_without_a_word(monkeypatch):
    monkeypatch.setattr(engine, "_CONNECT", "import os; os._exit(3)")
    with pytest.raises(
        StudyError, match="must answer, got no answer before it ended with exit code 3; start"
    ):
        RayExecutor("127.0.0.1:1")


@pytest.mark.parametrize("name", ["cpus_per_trial", "gpus_per_trial"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True])
def test_resources_that_are_not_numbers(name, value):
    with pytest.raises(ArgumentError, match=f"RayExecutor: {name} must be a number of at least 0, got "):
        RayExecutor(**{name: value})


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"study, engine ray: needs the package ray, .*'\.\[ray\]'"):
        RayExecutor()
