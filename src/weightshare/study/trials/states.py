"""States of unfinished trials, in files from which an interrupted study continues."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from ...views.files import replacing

#: Folder of the states, inside the folder of a study.
STATES = ".states"
#: Default number of seconds between two states of a trial.
INTERVAL = 60.0
DIGEST_SIZE = 16

State = dict[str, Any]


class StateFile:
    """The file with the state of one trial.

    Nothing is written if its folder does not exist, such as on a machine that does not share the file system.

    Args:
        folder: Folder of the study; None to store no state.
        study: Digest of the study.
        key: Key of the row.
        seed: Seed of the trial.
        interval: Number of seconds between two states.
    """

    def __init__(self, folder: Path | None, study: str, key: str, seed: int, interval: float = INTERVAL):
        name = blake2b(repr((study, key, seed)).encode(), digest_size=8).hexdigest()
        self.path = None if folder is None else folder / STATES / f"{name}.pt"
        self.interval = interval
        self.last = time.monotonic()

    def load(self) -> State | None:
        """Return the stored state; None if there is none, or if it is damaged or holds more than tensors."""
        if self.path is None:
            return None
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        digest, state = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
        if _digest(state) != digest:
            return None
        with suppress(UnpicklingError):  # the network has an extra state of other types
            return torch.load(BytesIO(state), map_location="cpu", weights_only=True)
        return None

    def save(self, get_state: Callable[[], State]) -> None:
        """Replace the stored state if the interval has passed.

        An error of the file system, such as a full disk, is ignored: the trial can do without.
        """
        if self.path is None or time.monotonic() - self.last < self.interval:
            return
        state = BytesIO()
        torch.save(get_state(), state)
        with suppress(OSError), replacing(self.path) as temporary, open(temporary, "xb") as file:
            file.write(_digest(state.getvalue()))
            file.write(state.getvalue())
            file.flush()
            os.fsync(file.fileno())
        self.last = time.monotonic()

    def remove(self) -> None:
        """Delete the state of a finished trial."""
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=DIGEST_SIZE).digest()
