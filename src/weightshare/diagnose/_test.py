"""Run a sharing test, or continue one that was interrupted."""

import copy
import hashlib
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from math import prod
from os import PathLike
from typing import Any

import torch
from torch import nn

from .._args import check_integer, check_largest
from .._memory import check_fits
from .._running import evaluating
from .._version import __version__
from ..errors import ArgumentError, ConversionError, DataError
from ..parameters.digest import digest_model
from ..sharing import Full, LowRank
from ..views.files import to_path
from .alternatives import list_options, try_alternatives
from .checks import check_outputs, copy_model, find_layers, find_reduction, list_convolutions
from .deviations import Deviations, find_deviations
from .examples import Source, open_source, seeding
from .gradients import Geometry, group_layers, measure_gradients
from .layer import LayerResult
from .result import SharingTest
from .runner import Progress, Question, Runner, run_trials
from .storage import open_records
from .tie import TieResult
from .ties import find_ties
from .training import (
    Fold,
    Loss,
    Recipe,
    Reduction,
    Setting,
    compute_example_losses,
    describe_optimizer,
    split_in_half,
)
from .verdict import Rule, decide, measure_saved

_WHERE = "sharing_test"
#: Least number of examples to fit or judge anything.
LEAST = 8
_EPOCHS, _LEAST_STEPS = 4, 140  # as in benchmarks/sharing_test
_CHECKED = 16  # examples on which model and loss are checked


def sharing_test(
    model: nn.Module,
    data: Any,
    loss: Loss,
    *,
    unseen: Any = None,
    layers: Sequence[str] | None = None,
    ties: Sequence[str] | None = None,
    rank: int = 2,
    epochs: int | None = None,
    batch_size: int = 100,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
    seed: int = 0,
    rule: Rule | None = None,
    out: str | PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    alternatives: bool = True,
    executor: Executor | None = None,
) -> SharingTest:
    """Measure, for each layer and tie of a trained model, how much another degree of sharing gains.

    One half of the examples is used for fitting and the other for judging, and then the halves are swapped.
    Copies of the model are trained from the same weights, on the same examples in the same order: the model
    as it is, and the model with one change. A convolution with one kernel is relaxed to `LowRank(rank)`. A
    layer with several kernels, such as a locally connected one, is restricted to one kernel, which starts as
    their least-squares approximation. Tied parameters are untied, so that each use has its own.

    If relaxing a layer or untying parameters may gain enough, controls with about as many additional weights
    are trained, too: a weight with corrections that are the same at all positions or uses, and, for layers,
    additional channels. The gain is the improvement of the loss on the judged examples over the best control,
    as a fraction of the loss. For a restricted layer, it is minus the cost of sharing. No layer gets
    the verdict "relax" if training the model further, as it is, saves more than 1.5 times the gain. See
    `benchmarks/results/sharing_test.md` for how often verdicts on relaxed layers are right in simulations.

    The gradients of the kernel at each position, in at most three passes over the examples, show where
    kernels would change differently. They do not affect the verdict.

    The model is not changed. Everything runs on copies; gradients are measured and examples are judged in
    evaluation mode. Sums over the examples need memory for the gradients of the kernels at all positions of
    one layer, or of a third of all layers if that is more, for each half.

    Args:
        model: A trained model that takes a batch of inputs.
        data: Examples on which the model was not trained: a torch Dataset of (input, target) with a length,
            or a DataLoader of one, of which only dataset, batch size and collate function are used. Random
            augmentation must use torch's random number generator.
        loss: Function from outputs and targets of a batch to the mean or sum of the losses of its examples.
        unseen: Other examples on which the model was not trained. If given, candidates are fitted on `data`
            and judged on `unseen` only, so `data` may contain the training set.
        layers: Names of the convolutions to try; None for all.
        ties: Names of the ties to try; None for all. A tie has the name that owns its first parameter, as in
            `find_tied_weights`.
        rank: Rank of the relaxed layers, at least 1. Layers with few positions get a lower rank.
        epochs: Number of passes over the fitting examples in each training run, at least 1. The default is
            4, or as many as take 140 steps if that is more. With fewer steps, a relaxed layer hardly differs
            from a convolution.
        batch_size: Number of examples per batch, at least 2; ignored for a DataLoader.
        optimizer: Function from parameters to an optimizer, such as
            `functools.partial(torch.optim.SGD, lr=0.01)`. The default is Adam with a learning rate of 0.002.
            The learning rate decays linearly to 5%.
        seed: Random seed of halves, orders and new weights.
        rule: Constants of the verdict.
        out: Folder in which finished trials are stored, so that an interrupted test continues.
        progress: Function to call after each training run.
        alternatives: Whether to try other sharings in the layers whose verdict is "relax": half and twice
            the rank, regions, regions of positions that want similar changes, sharing along axes, and one
            kernel per position. The suggestion is the one with the fewest parameters that has at least two
            thirds of the largest gain.
        executor: Executor that runs the trials, such as `weightshare.study.ProcessExecutor(2)`; by default,
            they run in this process. Model, data, loss and optimizer must then be picklable. The results are
            the same. Threads of one process train one candidate at a time.

    Raises:
        ArgumentError: If an argument is invalid, if the model has neither a convolution nor tied parameters,
            has float16 weights without an `optimizer` for them, is not deterministic, or mixes the examples
            of a batch in evaluation mode, if the loss is neither a mean nor a sum over the examples, or if
            model, loss or optimizer raise an error.
        DataError: If there are too few examples, if they are not pairs or cannot be read, if they differ when
            they are read twice, or if almost all of `unseen` are also in `data`.
        ConversionError: If a named layer cannot be tried, or if nothing can.
        TieError: If a named tie cannot be tried.
        StudyError: If the folder contains another test or damaged records, or if a worker is lost.

    Warns:
        UserWarning: If a submodule is in training mode, if some examples of `unseen` are also in `data`
            (which are left out), or if `data` contains the same input several times and `unseen` is None.

    Example:
        >>> import torch
        >>> import weightshare as ws
        >>> x = torch.randn(200, 1, 6, 6)
        >>> data = torch.utils.data.TensorDataset(x, x.mean((2, 3)))
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32, 1)
        ... ).eval()
        >>> test = ws.sharing_test(model, data, torch.nn.functional.mse_loss, epochs=1)
        >>> test.layers["0"].map.shape
        (4, 4)
    """
    rank = check_integer(_WHERE, "rank", rank, least=1)
    seed = check_integer(_WHERE, "seed", seed, least=0)
    if epochs is not None:
        epochs = check_integer(_WHERE, "epochs", epochs, least=1)
    batch_size = check_integer(_WHERE, "batch_size", batch_size, least=2)
    if not isinstance(alternatives, bool):
        raise ArgumentError(_WHERE, "alternatives must be True or False", repr(alternatives))
    check_largest(_WHERE, rank=rank, epochs=epochs or 1, batch_size=batch_size, seed=seed)
    if torch.is_inference_mode_enabled():
        hint = "leave torch.inference_mode()"
        raise ArgumentError(_WHERE, "candidates are trained, which needs gradients", "inference mode", hint)
    for name, value in {"optimizer": optimizer, "progress": progress}.items():
        if value is not None and not callable(value):
            raise ArgumentError(_WHERE, f"{name} must be a function or None", type(value).__name__)
    if rule is not None and not isinstance(rule, Rule):
        raise ArgumentError(_WHERE, "rule must be a weightshare.diagnose.Rule", type(rule).__name__)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        expected = "executor must be a concurrent.futures.Executor or None"
        raise ArgumentError(_WHERE, expected, type(executor).__name__)
    folder = None if out is None else to_path(_WHERE, out)
    rule = rule or Rule()
    original = copy_model(model)
    if optimizer is None and any(p.dtype == torch.float16 for p in original.parameters()):
        expected = "the weights must be of a type that Adam can train"
        raise ArgumentError(_WHERE, expected, "torch.float16", "pass model.float(), or optimizer=")
    names = list_convolutions(original, layers)
    source = open_source("data", data, batch_size)
    other = None if unseen is None else open_source("unseen", unseen, batch_size)
    folds, data_digest = _make_folds(source, other, seed)
    if epochs is None:
        batches = max(1, len(folds[0].fitting_indices) // source.batch_size)
        epochs = max(_EPOCHS, -(-_LEAST_STEPS // batches))
    recipe = Recipe(epochs, seed, optimizer)
    device = next((p.device for p in original.parameters()), torch.device("cpu"))
    with evaluating(model):  # warns if it is in training mode
        pass
    original.eval()
    fitting, judging = folds[0].fitting, folds[0].judging
    with seeding(recipe.seed):
        inputs, targets = next(fitting.read(folds[0].fitting_indices[:_CHECKED], device))
        judged, _ = next(judging.read(folds[0].judging_indices[:_CHECKED], device))
    with evaluating(original):
        check_outputs(original, judged)
        output = check_outputs(original, inputs)
        reduction = find_reduction(loss, output, targets, len(inputs))
        first = [float(value) for value in compute_example_losses(loss, output, targets, len(inputs))]
        with seeding(recipe.seed):
            found = find_layers(original, names, rank, inputs[:2], skip=layers is None)
        tied, skipped = find_ties(original, inputs[:2], ties)
    skipped = {**found.skipped, **skipped}
    if not (found.relaxed or found.restricted or tied):
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in skipped.items()) or "none"
        raise ConversionError(_WHERE, "at least one layer or tie must be tried", reasons)
    halves = _split(folds)
    with seeding(recipe.seed):
        # on a copy, because modules can store tensors with a graph, which cannot be copied
        copied = copy.deepcopy(original)
        deviations = _measure(copied, found.relaxed, fitting, halves, loss, reduction, device)
    tried = {name: sharing for name, (_, sharing) in found.relaxed.items()}
    parameters = {name: _count(original, name) for name in tried}
    options = {
        name: list_options(deviations[name], sharing, parameters[name], len(folds))
        for name, sharing in tried.items()
    }
    restrict: Question = ("restrict", Full())
    untie: Question = ("untie", None)
    questions: dict[str, Question] = {name: ("relax", sharing) for name, sharing in tried.items()}
    questions |= dict.fromkeys(found.restricted, restrict) | dict.fromkeys(tied, untie)
    named = [*tried.values(), *(one for ones in options.values() for some in ones.values() for one in some)]
    sharings = {str(one): one for one in (Full(), *named)}
    setting = Setting(original, inputs[:2], loss, folds, recipe, sharings, tied)
    facts = [recipe.epochs, recipe.seed, describe_optimizer(optimizer), source.batch_size, len(folds)]
    digest = _digest(original, [data_digest, first, facts])
    counts = [len(fold.judging_indices) for fold in folds]
    with open_records(folder, digest, counts) if folder is not None else nullcontext() as records:
        done = {} if records is None else records.read()
        append = None if records is None else records.append
        runner = Runner(setting, done, append, progress, executor)
        losses = run_trials(runner, questions, len(folds), rule)
        decisions = decide(losses, rule)
        relaxed = [name for name in tried if alternatives and decisions[name].verdict == "relax"]
        others = try_alternatives(runner, {name: options[name] for name in relaxed}, losses, rule)
    results = {
        name: LayerResult.from_parts(
            name, decisions[name], sharing, parameters[name], deviations[name], others.get(name, ()), rule
        )
        for name, sharing in tried.items()
    }
    for name, restriction in found.restricted.items():
        results[name] = LayerResult.from_restriction(name, decisions[name], restriction)
    return SharingTest(
        layers={name: results[name] for name in names if name in results},
        ties={name: TieResult.from_parts(decisions[name], tie, original) for name, tie in tied.items()},
        skipped=skipped,
        model=type(model).__name__,
        judged=sum(counts),
        saved=measure_saved(next(iter(losses.values()))),
        rule=rule,
        example=inputs[:2].cpu().clone(),
    )


def _make_folds(source: Source, other: Source | None, seed: int) -> tuple[tuple[Fold, ...], str]:
    """Return the folds, and a digest of all examples."""
    for one in (source, other) if other is not None else (source,):
        if len(one) < 2 * LEAST:
            raise DataError(_WHERE, f"{one.name} must have at least {2 * LEAST} examples", str(len(one)))
    digests, digest = source.hash_examples(seed)
    if other is None:
        if repeated := len(digests) - len(set(digests)):
            text = f"{repeated:,} of {len(digests):,} examples of data repeat the input of another example"
            text += (
                ", so candidates may be judged on inputs on which they were fitted; remove the repetitions"
            )
            warnings.warn(text, UserWarning, stacklevel=3)
        one, two = split_in_half(len(source), seed)
        return (Fold(source, one, source, two), Fold(source, two, source, one)), digest
    others, other_digest = other.hash_examples(seed)
    known = set(digests)
    kept = tuple(i for i, one in enumerate(others) if one not in known)
    if len(kept) < LEAST:
        got = f"{len(others) - len(kept):,} of {len(others):,} that are"
        hint = "pass examples on which the model was not trained, or omit unseen"
        raise DataError(_WHERE, "examples of unseen must not be in data", got, hint)
    if len(kept) < len(others):
        count = f"{len(others) - len(kept):,} of {len(others):,} examples of unseen"
        text = f"{count} are also in data; they are left out"
        warnings.warn(text, UserWarning, stacklevel=3)
    return (Fold(source, tuple(range(len(source))), other, kept),), digest + other_digest


def _split(folds: Sequence[Fold]) -> tuple[Sequence[int], Sequence[int]]:
    """Return two halves of the examples from which gradients are measured."""
    indices = folds[0].fitting_indices
    if len(folds) == 2:
        return indices, folds[1].fitting_indices
    one, two = split_in_half(len(indices), 0)
    return one, two


def _measure(
    model: nn.Module,
    layers: dict[str, tuple[Geometry, LowRank]],
    source: Source,
    halves: Sequence[Sequence[int]],
    loss: Loss,
    reduction: Reduction,
    device: torch.device,
) -> dict[str, Deviations]:
    """Return what the gradients show about each layer."""
    elements = {
        name: prod(geometry.size) * model.get_submodule(name).get_parameter("weight").numel()
        for name, (geometry, _) in layers.items()
    }
    result: dict[str, Deviations] = {}
    for names in group_layers(elements) if elements else ():
        needed = 2 * 4 * sum(elements[name] for name in names)
        hint = "name fewer layers with layers="
        check_fits(ArgumentError, _WHERE, "the gradients at all positions", needed, ", ".join(names), hint)
        geometries = {name: layers[name][0] for name in names}
        found = [
            measure_gradients(model, geometries, source.read(half, device), loss, reduction)
            for half in halves
        ]
        for name in names:
            expected = f"the gradients of layer {name!r} must be finite for every example"
            if not all(half[name].total.isfinite().all() for half in found):
                hint = "look for a square root or logarithm of zero in the loss"
                raise ArgumentError(_WHERE, expected, "NaN or infinite values", hint)
            if not all(half[name].by_weight.isfinite().all() for half in found):
                hint = "scale the inputs, the targets or the loss"
                raise ArgumentError(_WHERE, f"{expected}, and so must their squares", "infinite ones", hint)
            geometry, sharing = layers[name]
            result[name] = find_deviations([half[name] for half in found], geometry.size, 2 * sharing.rank)
    return result


def _count(model: nn.Module, name: str) -> tuple[int, int]:
    """Return the number of weights and of biases of a convolution."""
    layer: Any = model.get_submodule(name)
    return layer.weight.numel(), 0 if layer.bias is None else layer.bias.numel()


def _digest(model: nn.Module, facts: Sequence[Any]) -> str:
    """Return a digest of everything on which the losses of a trial depend."""
    text = repr((__version__, digest_model(model), facts)).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest()
