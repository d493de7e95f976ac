"""Facts about the data of a study: its name, digest, sizes, classes and splits."""

from dataclasses import dataclass

import torch

from ...views.escape import escape_controls
from .examples import Examples


@dataclass(frozen=True)
class DataFacts:
    """Facts about the data of a study, as results and report show them. All names are safe to print.

    Args:
        name: Name of the data.
        digest: Digest of the inputs, targets and splits.
        task: Name of the task.
        channels: Number of channels of an input.
        size: Spatial size of an input.
        outputs: Number of outputs of a network, or of outputs at each position.
        class_names: One name per class; empty if the targets are not classes.
        train, validation, test: Number of examples in each split.
        majority: Share of the most frequent class in the test set, which is the accuracy of a network that
            always answers with it; None if the targets are not classes.
        test_counts: Number of test examples of each class; empty unless each example has one class.
        fill: What fills the gap when test inputs are shifted.
        notes: What was changed when the data were read, as sentences.
    """

    name: str
    digest: str
    task: str
    channels: int
    size: tuple[int, ...]
    outputs: int
    class_names: tuple[str, ...]
    train: int
    validation: int
    test: int
    majority: float | None
    test_counts: tuple[int, ...]
    fill: str
    notes: tuple[str, ...]

    @classmethod
    def from_examples(cls, examples: Examples) -> "DataFacts":
        """Return the facts about these examples."""
        counts: list[int] = []
        if examples.task.has_classes:
            targets = examples.test[1].flatten()
            counts = torch.bincount(targets[targets >= 0], minlength=examples.outputs).tolist()
        return cls(
            name=escape_controls(examples.name),
            digest=examples.digest,
            task=examples.task_name,
            channels=examples.channels,
            size=examples.size,
            outputs=examples.outputs,
            class_names=tuple(map(escape_controls, examples.class_names)),
            train=len(examples.train[1]),
            validation=len(examples.validation[1]),
            test=len(examples.test[1]),
            majority=max(counts) / sum(counts) if counts else None,
            test_counts=tuple(counts) if examples.task_name == "classification" else (),
            fill="the values at the border" if examples.fill is None else "the value of the background",
            notes=tuple(map(escape_controls, examples.notes)),
        )
