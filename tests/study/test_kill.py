"""A study that is killed at random moments loses no finished trial, and ends with the same results."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.study import read_records, without_time


def kill_and_resume(spec, kills: int, *options: str) -> None:
    """Run a study on the command line, kill it `kills` times, let it finish, and compare its records."""
    common = [
        sys.executable, "-m", "weightshare.cli", "study", spec.data, "--sharing", "full,tiled:2",
        "--seeds", str(spec.seeds), "--width", str(spec.width), "--epochs-max", str(spec.epochs_max),
        "--accelerator", "cpu", "--out",
    ]  # fmt: skip
    whole = replace(spec, out=spec.out.parent / "whole")
    subprocess.run([*common, str(whole.out)], capture_output=True, check=True)
    command = [*common, str(spec.out), "--state-seconds", "0", *options]
    environment = {**os.environ, "WEIGHTSHARE_TEST": str(spec.out)}  # by which its workers are found
    records, chance, before = spec.out / "records.jsonl", random.Random(0), b""
    for _ in range(kills):
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:
            for line in running.stderr:
                if line.startswith("Estimated time left") or "/" in line.split()[0]:
                    break  # trials are being trained
            time.sleep(chance.uniform(0, 1))
            running.kill()
            running.stderr.read()
        deadline = time.monotonic() + 30
        while find_processes(str(spec.out)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert find_processes(str(spec.out)) == []
        content = records.read_bytes() if records.exists() else b""
        assert content.startswith(before[: before.rfind(b"\n") + 1])
        before = content
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = [(record["key"], record["seed"]) for record in read_records(spec)]
    assert len(found) == len(set(found))
    expected = without_time(read_records(whole))
    found = without_time(read_records(spec))
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert not (spec.out / ".states").exists()


def find_processes(mark: str) -> list[int]:
    """Return the processes that train with this mark in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            is_marked = f"WEIGHTSHARE_TEST={mark}\0".encode() in (place / "environ").read_bytes()
            arguments = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if is_marked and b"spawn_main" in arguments:
            found.append(int(place.name))
    return found


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@on_linux
def test_a_killed_study_continues(quick):
    kill_and_resume(replace(quick, seeds=4, epochs_max=30), 3)


@on_linux
def test_a_killed_study_with_two_workers_continues_and_leaves_no_workers(quick):
    kill_and_resume(replace(quick, seeds=4, epochs_max=30), 2, "--workers", "2")


@on_linux
@pytest.mark.long
@pytest.mark.parametrize(
    ("kills", "options"),
    [(10, []), (3, ["--workers", "4"]), (3, ["--engine", "ray", "--workers", "2"])],
    ids=["one process", "four workers", "ray"],
)
def test_sixty_trials_killed_many_times_continue(quick, kills, options):
    kill_and_resume(replace(quick, seeds=20, epochs_max=30), kills, *options)


def accept_interrupts() -> None:
    """Undo that processes in the background of a shell ignore interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@on_linux
def test_an_interrupt_ends_the_workers_at_once(quick):
    command = [
        sys.executable, "-m", "weightshare.cli", "study", quick.data, "--sharing", "full", "--seeds", "2",
        "--epochs-max", "1000000", "--patience", "1000000", "--state-seconds", "0",
        "--workers", "1", "--out", str(quick.out),
    ]  # fmt: skip
    environment = {**os.environ, "WEIGHTSHARE_TEST": str(quick.out)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=accept_interrupts
    ) as running:
        while not list(quick.out.glob(".states/*.pt")):
            assert running.poll() is None
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        err = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "Finished trials are saved in" in err
    assert "Traceback" not in err
    assert find_processes(str(quick.out)) == []
