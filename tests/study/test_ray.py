"""Trials on a Ray cluster: the same results, lost workers and nodes, and clusters that do not answer."""

import os
import signal
import socket
import threading
import time
from dataclasses import replace

import pytest

from tests.helpers.study import read_records, without_time
from weightshare.errors import MissingExtraError, StudyError
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


def test_an_address_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(engine, "TIMEOUT", 5)
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


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"study, engine ray: needs the package ray, .*'\.\[ray\]'"):
        RayExecutor()
