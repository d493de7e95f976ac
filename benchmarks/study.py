"""Measure how many trials a study runs per hour: python benchmarks/study.py [--out FILE] [--quick]

The sides are a training loop written by hand, and `weightshare.study.run` in one process and with two worker
processes. All train the same networks on the same images, in the same order, for the same number of epochs,
with one thread per process, and evaluate them on the validation set after each epoch and on the test set at
the end. The study also evaluates shifted images and writes its records, which counts as its time. Loading the
data, starting the processes and drawing the report take the same time for any number of trials, and do not
count. Sides alternate; the results are medians over the rounds.
"""

import argparse
import copy
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.nn import functional as F

from measure import describe_machine
from weightshare.study import ProcessExecutor, StudySpec, run
from weightshare.study.data import Examples, load_examples
from weightshare.study.trials.network import Network

ROUNDS = 3


def make_spec(is_quick: bool) -> StudySpec:
    """Return a study of four trials without early stopping."""
    epochs = 1 if is_quick else 40
    return StudySpec("digits", "full", seeds=4, epochs_max=epochs, patience=epochs + 1, accelerator="cpu")


def train_by_hand(spec: StudySpec, examples: Examples) -> list[float]:
    """Train and evaluate the networks of a study in a plain loop, and return their test accuracies."""
    accuracies = []
    (x, y), (x_validation, y_validation), (x_test, y_test) = (
        examples.train,
        examples.validation,
        examples.test,
    )
    for seed in range(spec.seeds):
        for sharing in spec.sharings:
            torch.manual_seed(seed)
            network = Network(examples.channels, examples.size, examples.outputs, spec.width, sharing)
            optimizer = torch.optim.Adam(network.parameters(), spec.learning_rate)
            order = torch.Generator().manual_seed(seed)
            best, state = (-1.0, 0.0), network.state_dict()
            for _ in range(spec.epochs_max):
                network.train()
                batches = torch.randperm(len(x), generator=order).split(spec.batch_size)
                for batch in batches[:-1] if len(batches[-1]) < spec.batch_size // 2 else batches:
                    loss = F.cross_entropy(network(x[batch]), y[batch])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                network.eval()
                with torch.no_grad():
                    outputs = network(x_validation)
                    score = (outputs.argmax(1) == y_validation).double().mean().item()
                    result = score, -F.cross_entropy(outputs, y_validation).item()
                if result > best:
                    best, state = result, copy.deepcopy(network.state_dict())
            network.load_state_dict(state)
            with torch.no_grad():
                accuracies.append((network(x_test).argmax(1) == y_test).double().mean().item())
    return accuracies


def measure(spec: StudySpec, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round of each side."""
    examples = load_examples(spec)
    times: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder, ProcessExecutor(2) as executor:

        def time_by_hand(number: int) -> float:
            start = time.perf_counter()
            train_by_hand(spec, examples)
            return time.perf_counter() - start

        def time_study(name: str, **options: ProcessExecutor) -> float:
            """Return the seconds from the plan to the record of the last trial."""
            moments: list[float] = []

            def stop_clock(_: object) -> None:
                moments.append(time.perf_counter())

            run(replace(spec, out=Path(folder) / name), stop_clock, on_plan=stop_clock, **options)
            return moments[-1] - moments[0]

        run(replace(spec, epochs_max=1), executor=executor)  # starts the processes, which load the data
        sides = {
            "by hand": time_by_hand,
            "one process": lambda number: time_study(f"one {number}"),
            "two workers": lambda number: time_study(f"two {number}", executor=executor),
        }
        expected = train_by_hand(replace(spec, epochs_max=1), examples)
        assert [t.accuracy for t in run(replace(spec, epochs_max=1)).trials] == expected
        for number in range(rounds):
            for name in [*sides][number % 3 :] + [*sides][: number % 3]:
                times.setdefault(name, []).append(sides[name](number))
    return times


def main() -> None:
    """Print the trials per hour of each side, and write them with their ratios to a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "study.json")
    parser.add_argument("--quick", action="store_true", help="one round of one epoch, to check that it runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    spec = make_spec(given.quick)
    times = measure(spec, 1 if given.quick else ROUNDS)
    trials = spec.seeds * len(spec.sharings)
    rates = {name: 3600 * trials / statistics.median(seconds) for name, seconds in times.items()}
    ratios = {
        "one process / by hand": rates["one process"] / rates["by hand"],
        "two workers / one process": rates["two workers"] / rates["one process"],
    }
    for name, rate in rates.items():
        print(f"{name}: {rate:,.0f} trials per hour")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")
    results = {"machine": describe_machine(), "seconds": times, "trials_per_hour": rates, "ratios": ratios}
    given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
