"""Parameters whose elements are in several processes: FSDP1, DTensor (FSDP2) and DeepSpeed ZeRO-3."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import Module

from .._torch import iter_flat_parameter
from .stored import Layout, Stored, get_logical_shape

#: Name under which FSDP1 registers a flat parameter instead of the original ones.
FLAT = "_flat_param"


@dataclass(frozen=True)
class Shard:
    """A parameter of which FSDP1 keeps one part in this process.

    Args:
        flat: The flat parameter that contains the part.
        key: Identity of the parameter.
        shape: Shape of the whole parameter.
        n_processes: Number of processes that have a part.
    """

    flat: Tensor
    key: Hashable
    shape: tuple[int, ...]
    n_processes: int

    def store(self, name: str, parameter: Tensor | None) -> Stored:
        """Return the whole parameter; `parameter` is the part that the module registers, if it does."""
        tensor = self.flat if parameter is None else parameter
        return Stored(name, tensor, self.key, self.shape, None, _describe("FSDP1", self.n_processes))


def find_shards(modules: Iterable[Module]) -> dict[int, dict[str, Shard]]:
    """Return the parameters that FSDP1 keeps in flat parameters, by the `id` of their module and by name."""
    found: dict[int, dict[str, Shard]] = {}
    for wrapper in modules:
        for flat, module, name, shape, index, n in iter_flat_parameter(wrapper):
            found.setdefault(id(module), {})[name] = Shard(flat, (id(flat), index), shape, n)
    return found


def read_sharded(name: str, parameter: Any) -> Stored | None:
    """Return a registered parameter that is a DTensor or partitioned by ZeRO-3; None for any other."""
    shape = getattr(parameter, "ds_shape", None)
    if shape is not None:
        layout = Layout("SHARDED", "partitioned by DeepSpeed ZeRO-3, counted whole")
        return Stored(name, parameter, id(parameter), tuple(map(int, shape)), None, layout)
    placements = getattr(parameter, "placements", ())
    if any(placement.is_shard() for placement in placements):
        layout = _describe("DTensor", parameter.device_mesh.size())
        return Stored(name, parameter, id(parameter), get_logical_shape(parameter), None, layout)
    return None


def _describe(how: str, n_processes: int) -> Layout:
    return Layout("SHARDED", f"sharded over {n_processes} processes ({how}), counted whole")
