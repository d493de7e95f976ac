"""The trained network from which every row of a study continues."""

import copy
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ...errors import DataError
from ...models.find import find_model
from ...models.weights import load_weights
from ...parameters.digest import to_bytes
from ..data import Examples
from ..spec import StudySpec
from ..tasks import search_current_folder


def load_start(spec: StudySpec) -> nn.Module:
    """Return the trained network on the CPU, with the weights of the checkpoint if one is given.

    A factory is always called with the same state of torch's random number generator. The previous state is
    restored.

    Raises:
        SpecError: If no network has this name.
        DataError: If the checkpoint cannot be read or does not fit.
    """
    if isinstance(spec.start, nn.Module):
        network = copy.deepcopy(spec.start).cpu()
    else:
        with search_current_folder(), torch.random.fork_rng():
            torch.manual_seed(0)
            network = find_model(spec.start, device="cpu")
    if spec.weights is not None:
        load_weights(network, spec.weights)
    return network


def check_unseen(examples: Examples) -> None:
    """Raise a DataError if at least half of the test inputs are also inputs of the training set."""
    known = {*_hash(examples.train[0]), *_hash(examples.validation[0])}
    tested = list(_hash(examples.test[0]))
    repeated = sum(digest in known for digest in tested)
    if 2 * repeated >= len(tested):
        raise DataError(
            f"{examples.name}, test inputs",
            "must be ones on which the network was not trained",
            f"{repeated:,} of {len(tested):,} that are also in the training set",
        )


def _hash(inputs: Tensor) -> Iterator[bytes]:
    return (hashlib.blake2b(to_bytes(one), digest_size=16).digest() for one in inputs)
