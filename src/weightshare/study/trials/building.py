"""Build the network of a row: that of the study, that of the user, or a trained one."""

import copy
import fnmatch
import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from ..._torch import get_storage_id
from ...convert import relax
from ...errors import ConversionError, StudyError, WeightshareError, describe_exception
from ...nn.base import SharedLayer
from ...parameters.digest import digest_model
from ...sharing import Full, Sharing
from ...views.escape import quote
from ..data import Examples
from ..spec import StudySpec
from ..tasks import find_function, name_function
from .network import Autoencoder, Network
from .start import load_start

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Factory:
    """What builds the networks of a study.

    Args:
        spec: Specification of the study.
        examples: Data of the study.
    """

    spec: StudySpec
    examples: Examples

    @cached_property
    def start(self) -> nn.Module | None:
        """The trained network from which every row continues; None for new weights."""
        if self.spec.start is None:
            return None
        with catch_failure(self.where, "must be a network that can be copied to the CPU"):
            return load_start(self.spec)

    @cached_property
    def start_digest(self) -> str | None:
        """Digest of the weights of the trained network, if there is one."""
        return None if self.start is None else digest_model(self.start)

    @property
    def function(self) -> Callable[..., Any] | None:
        """Function that builds the user's network or copies the trained one; None for that of the study."""
        if self.start is not None:
            return partial(copy.deepcopy, self.start)
        given = self.spec.model
        return find_function(given, "model") if isinstance(given, str) else given

    @property
    def where(self) -> str:
        """Name of the network, for errors."""
        if self.spec.start is not None:
            return f"study, start {quote(name_function(self.spec.start))}"
        return "study" if self.spec.model is None else f"study, model {quote(name_function(self.spec.model))}"

    @property
    def parameters(self) -> set[str]:
        """Which of the keyword arguments `sharing` and `width` the user's function takes."""
        if self.function is None:
            return set()
        try:
            found = inspect.signature(self.function).parameters
        except (TypeError, ValueError):
            return set()
        return {name for name in found if name in ("sharing", "width")}

    @property
    def has_widths(self) -> bool:
        """Whether networks can be built with another width."""
        return self.function is None or "width" in self.parameters

    @property
    def has_ties(self) -> bool:
        """Whether there is a tied network for each sharing."""
        return self.function is None and self.examples.task_name == "reconstruction"

    @property
    def patterns(self) -> list[str]:
        """Patterns of the convolutions that share less; empty for all."""
        return [] if self.spec.layers is None else [p.strip() for p in self.spec.layers.split(",")]

    def build(
        self,
        sharing: Sharing,
        width: int,
        is_tied: bool = False,
        layers: str | None = None,
        device: str | None = None,
    ) -> nn.Module:
        """Return a network with new weights, or with those of the trained network.

        Args:
            sharing: Sharing of its convolutions.
            width: Width of the network, if it can be chosen.
            is_tied: Whether the decoders of an autoencoder use the weights of its encoders.
            layers: Pattern of the convolutions that get the sharing; by default, those of the specification.
            device: Device of the study's network.

        Raises:
            StudyError: If the user's function fails, or its network does not take the data.
            SharingError: If the sharing does not fit a layer.
        """
        examples = self.examples
        patterns = self.patterns if layers is None else [layers]
        if self.function is not None:
            return self._build_from_function(self.function, sharing, width, patterns)
        if patterns and sharing != Full():
            network = self.build(Full(), width, is_tied)
            return self._share_less(network, sharing, patterns)
        if examples.task_name == "reconstruction":
            return Autoencoder(examples.channels, examples.size, width, sharing, is_tied, device)
        sizes = (examples.channels, examples.size, examples.outputs, width)
        return Network(*sizes, sharing, examples.task.is_dense, device)

    def _build_from_function(
        self, function: Callable[..., Any], sharing: Sharing, width: int, patterns: list[str]
    ) -> nn.Module:
        names = self.parameters
        given = {"sharing": sharing, "width": width}
        arguments = {name: value for name, value in given.items() if name in names}
        call = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        with catch_failure(self.where, f"must build a network when called with ({call})"):
            model = function(**arguments)
        if not isinstance(model, nn.Module):
            raise StudyError(self.where, "must return a torch.nn.Module", type(model).__name__)
        self.check(model)
        if "sharing" in names or sharing == Full():
            return model
        return self._share_less(model, sharing, patterns)

    def _share_less(self, model: nn.Module, sharing: Sharing, patterns: list[str]) -> nn.Module:
        """Give the selected convolutions a sharing, and new weights unless the network is a trained one."""
        names = [
            name
            for name, module in model.named_modules()
            if isinstance(module, (*_CONVOLUTIONS, SharedLayer))
            and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns or ["*"])
        ]
        if not names:
            known = [n for n, m in model.named_modules() if isinstance(m, (*_CONVOLUTIONS, SharedLayer))]
            if not known:
                raise StudyError(self.where, "must have a convolution, which can share less", "none")
            more = f" and {len(known) - 8} more" if len(known) > 8 else ""
            expected = f"layers must match a convolution, such as {', '.join(known[:8])}{more}"
            raise StudyError(self.where, expected, quote(", ".join(patterns)))
        if "" in names:
            hint = "wrap it in torch.nn.Sequential"
            raise StudyError(self.where, "must not be a single convolution", type(model).__name__, hint)
        try:
            with catch_failure(self.where, RUNS_AGAIN):
                relaxed = relax(model, dict.fromkeys(names, sharing), self.examples.train[0][:2])
        except ConversionError as error:
            where, hint = f"{self.where}, {error.where}", "select other convolutions with layers"
            raise StudyError(where, error.expected, error.got, hint) from error
        for name in names:
            layer: Any = relaxed.get_submodule(name)
            if self.start is None:
                layer.reset_parameters()
            elif not layer.weight.requires_grad:
                expected = "the weight of each relaxed layer must require gradients"
                hint = "select other convolutions with layers"
                raise StudyError(self.where, expected, f"a frozen one in {quote(name)}", hint)
        return relaxed

    @torch.no_grad()
    def check(self, model: nn.Module) -> None:
        """Raise `StudyError` unless a network maps the inputs to finite outputs of the right shape."""
        inputs = self.examples.train[0][:2]
        training = model.training
        try:
            with catch_failure(self.where, f"must take inputs {list(inputs.shape)} of {inputs.dtype}"):
                outputs: Any = model.eval()(inputs)
        finally:
            model.train(training)
        expected = [2, self.examples.outputs, *(self.examples.size if self.examples.task.is_dense else ())]
        if not isinstance(outputs, torch.Tensor) or list(outputs.shape) != expected:
            got = list(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
            raise StudyError(self.where, f"must return {expected} for {self.examples.task_name}", str(got))
        kind = outputs.layout, outputs.device
        if kind != (inputs.layout, inputs.device) or not outputs.is_floating_point():
            expected = f"must return floating-point numbers as a dense tensor on {inputs.device}"
            got = f"{outputs.dtype}, {outputs.layout} on {outputs.device}"
            raise StudyError(self.where, expected, got)
        if not outputs.isfinite().all():
            weights = "new" if self.start is None else "trained"
            got = f"NaN or infinity with its {weights} weights"
            raise StudyError(self.where, "must return finite numbers", got)

    @torch.enable_grad()
    def check_training(self, model: nn.Module) -> None:
        """Raise `StudyError` unless a network can be trained. It is left with gradients, in training mode."""
        if not any(p.requires_grad for p in model.parameters()):
            raise StudyError(self.where, "must have parameters to train", "none")
        inputs, targets = (part[:2] for part in self.examples.train)
        with catch_failure(self.where, f"must be trainable on inputs {list(inputs.shape)}"):
            self.examples.task.compute_loss(model.train()(inputs), targets).backward()


#: What is expected of a network that has run already.
RUNS_AGAIN = "must run on the same inputs again"


@contextmanager
def catch_failure(where: str, expected: str) -> Generator[None]:
    """Turn any exception of a user-supplied function or network into a `StudyError`."""
    try:
        yield
    except WeightshareError:
        raise
    except (Exception, SystemExit) as error:
        raise StudyError(where, expected, describe_exception(error)) from error


@torch.no_grad()
def count_macs(model: nn.Module, inputs: torch.Tensor) -> int:
    """Return the multiply-accumulates of a network for one of these inputs."""
    training = model.training
    with FlopCounterMode(display=False) as counter:
        model.eval()(inputs[:1])
    model.train(training)
    return counter.get_total_flops() // 2


def measure_activations(model: nn.Module, inputs: torch.Tensor) -> int:
    """Return the bytes per example that a network keeps for its backward pass, on any device."""
    training = model.training
    weights = set(map(get_storage_id, model.parameters()))
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[get_storage_id(tensor)] = tensor.untyped_storage()
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        model.eval()(inputs)
    model.train(training)
    return sum(s.nbytes() for key, s in kept.items() if key not in weights) // len(inputs)
