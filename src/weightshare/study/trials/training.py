"""Train one network until its validation score stops improving, or a trained one further, and evaluate it."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ...convert import relax
from ...errors import StudyError
from ...nn.base import SharedLayer
from ...sharing import Full
from ..data import Examples
from ..rows import Row
from ..spec import StudySpec
from ..tasks import Metric, find_metric
from .augmentation import shift_at_random
from .building import Factory

LEARNING_RATE_DROPS = 2
DROP_FACTOR = 0.2
EVALUATION_BATCH = 250

Pair = tuple[Tensor, Tensor]


@dataclass
class History:
    """What has happened in a training run so far.

    Args:
        scores: Validation score after each epoch.
        losses: Mean training loss of each epoch.
        best: Validation score of the best epoch, with the sign that makes higher ones better, and its
            negative validation loss.
        best_epoch: Number of the best epoch, counted from 1; 0 before the first.
        best_state: Weights of the best epoch.
        waited: Number of epochs since the last improvement.
        drops: Number of drops of the learning rate.
        has_converged: Whether the score has stopped improving.
        seconds: Time spent on training and validation.
    """

    scores: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: tuple[float, float] = (-inf, -inf)
    best_epoch: int = 0
    best_state: dict[str, Any] = field(default_factory=dict)
    waited: int = 0
    drops: int = 0
    has_converged: bool = False
    seconds: float = 0.0


class Training:
    """A training run of one row with one seed, epoch by epoch.

    After `patience` epochs without a better validation score, the learning rate of Adam drops. Training stops
    when this happens again after the second drop, or at the epoch limit. The best epoch is the one with the
    best validation score and, among equals, the lowest validation loss. The order of the examples depends
    only on the seed, so it is the same for every row.

    A trained network is trained for the same number of epochs in every row, and keeps the weights of the last
    one. The learning rate falls linearly: before epoch e of E, counted from 0, it is the initial one times
    1 - e / E. The validation score decides nothing.

    A row that starts with full sharing is trained like that for its first epochs. Then its layers get their
    own sharing, with the weights that they have learned, and a new optimizer.

    Args:
        row: Row to train.
        seed: Seed of the order of the examples. The initial weights come from torch's generator.
        factory: What builds the network.
        train, validation: Examples on the device.
        fabric: Lightning Fabric.
    """

    def __init__(self, row: Row, seed: int, factory: Factory, train: Pair, validation: Pair, fabric: Fabric):
        self.row, self.seed, self.factory, self.fabric = row, seed, factory, fabric
        self.spec: StudySpec = factory.spec
        self.examples: Examples = factory.examples
        self.metric: Metric = find_metric(self.spec.metric, self.examples.task)
        self.train, self.validation = train, validation
        self.order = torch.Generator().manual_seed(seed)
        self.history = History()
        sharing = Full() if row.relax_after else row.sharing
        network = factory.build(sharing, row.width, row.is_tied, row.layers)
        self._set_up(network)

    def _set_up(self, network: nn.Module) -> None:
        trained = [p for p in network.parameters() if p.requires_grad]
        if not trained:
            raise StudyError(self.where, "the network must have parameters to train", "none")
        self.network: Any
        self.network, self.optimizer = self.fabric.setup(
            network, torch.optim.Adam(trained, self.spec.learning_rate)
        )

    @property
    def where(self) -> str:
        """Row and seed, for errors."""
        return f"study: {self.row.name}, seed {self.seed}"

    @property
    def is_finished(self) -> bool:
        """Whether training has converged or has reached the epoch limit."""
        return self.history.has_converged or len(self.history.scores) >= self.spec.epochs_max

    def run_epoch(self) -> float:
        """Train for one epoch and return the validation score.

        Raises:
            StudyError: If a loss or a score is not finite.
        """
        start, history = time.perf_counter(), self.history
        if self.spec.start is not None:
            share = 1 - len(history.scores) / self.spec.epochs_max
            for group in self.optimizer.param_groups:
                group["lr"] = self.spec.learning_rate * share
        if self.row.relax_after and len(history.scores) == self.row.relax_after:
            self._relax()
        history.losses.append(self._train_epoch())
        score, loss = self.evaluate(self.validation)
        for name, value in (("training", history.losses[-1]), ("validation", loss)):
            if not isfinite(value):
                raise StudyError(
                    f"{self.where}, epoch {len(history.losses)}",
                    f"the {name} loss must be finite",
                    str(value),
                    "use a lower learning rate or precision 32-true; finished trials are saved",
                )
        history.scores.append(score)
        self._judge(-score if self.metric.lower_is_better else score, loss)
        history.seconds += time.perf_counter() - start
        return score

    def _judge(self, score: float, loss: float) -> None:
        """Update the best epoch, and drop the learning rate or stop if the score no longer improves."""
        history, epoch = self.history, len(self.history.scores)
        if self.spec.start is not None:
            history.best_epoch = epoch
            return
        if epoch < self.row.relax_after:
            return
        history.waited = 0 if score > history.best[0] else history.waited + 1
        if (score, -loss) > history.best:
            history.best, history.best_epoch = (score, -loss), epoch
            history.best_state = copy.deepcopy(self.network.state_dict())
        if history.waited >= self.spec.patience:
            history.has_converged = history.drops == LEARNING_RATE_DROPS
            history.waited, history.drops = 0, history.drops + 1
            for group in self.optimizer.param_groups:
                group["lr"] *= DROP_FACTOR

    def _relax(self) -> None:
        """Give the layers the sharing of the row, with the weights that they have."""
        network = self.network.module
        template = self.factory.build(self.row.sharing, self.row.width, self.row.is_tied, self.row.layers)
        plan = {
            name: layer.sharing
            for name, layer in template.named_modules()
            if isinstance(layer, SharedLayer) and layer.sharing != Full() and not hasattr(layer, "source")
        }
        self._set_up(relax(network, plan, self.train[0][:2]))
        self.history.best, self.history.best_epoch, self.history.waited = (-inf, -inf), 0, 0

    @torch.enable_grad()
    def _train_epoch(self) -> float:
        """Train for one epoch in a new random order and return the mean loss.

        With several devices, each one takes its share of every batch.
        """
        inputs, targets = self.train
        size, fabric = self.spec.batch_size, self.fabric
        self.network.train()
        total = torch.zeros((), device=inputs.device)
        permutation = torch.randperm(len(inputs), generator=self.order).to(inputs.device)
        batches = permutation.split(size)
        if len(batches) > 1 and len(batches[-1]) < size // 2:
            batches = batches[:-1]  # too small for batch norm; other epochs use these examples
        for batch in batches:
            mine = batch[fabric.global_rank :: fabric.world_size] if fabric.world_size > 1 else batch
            pair = inputs[mine], targets[mine]
            if self.row.augment:
                pair = shift_at_random(pair, self.row.augment, self.examples, self.order)
            loss = self.examples.task.compute_loss(self.network(pair[0]), pair[1])
            self.optimizer.zero_grad()
            fabric.backward(loss)
            self.optimizer.step()
            total += loss.detach()
        return total.item() / len(batches)

    def keep_best(self) -> None:
        """Give the network the weights of its best epoch; a trained network keeps those of the last one."""
        if self.spec.start is None:
            self.network.load_state_dict(self.history.best_state)

    def evaluate(self, pair: Pair) -> tuple[float, float]:
        """Return the score and the mean loss on a pair of inputs and targets."""
        return evaluate(self.network, pair, self.examples, self.metric)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the run needs to continue later."""
        device = self.fabric.device
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "history": vars(self.history),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        self.history = History(**state["history"])
        if 0 < self.row.relax_after < len(self.history.scores):
            history = copy.copy(self.history)
            self._relax()
            self.history = history
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.order.set_state(state["order"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.fabric.device)


def fit(training: Training, on_epoch: Callable[[int, float], None]) -> None:
    """Train until the end, and give the network the weights to evaluate.

    Args:
        training: The run.
        on_epoch: Called after each epoch with its number, counted from 1, and its validation score.
    """
    while not training.is_finished:
        score = training.run_epoch()
        on_epoch(len(training.history.scores), score)
    training.keep_best()


@torch.no_grad()
def evaluate(network: nn.Module, pair: Pair, examples: Examples, metric: Metric) -> tuple[float, float]:
    """Return the score and the mean loss of a network on a pair of inputs and targets."""
    network.eval()
    outputs: list[Tensor] = []
    loss = 0.0
    for inputs, targets in zip(pair[0].split(EVALUATION_BATCH), pair[1].split(EVALUATION_BATCH)):
        outputs.append(network(inputs).float())
        loss += len(inputs) * examples.task.compute_loss(outputs[-1], targets).item()
    score = metric(examples.to_units(torch.cat(outputs)), examples.to_units(pair[1]))
    return score, loss / len(pair[1])
