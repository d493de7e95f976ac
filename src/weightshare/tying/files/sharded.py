"""Load a full state dict into a model that FSDP2's `fully_shard` has sharded."""

from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.nn import Module

from ..._torch import IncompatibleKeys, is_sharded


def is_full(model: Module, checkpoint: object) -> bool:
    """Return whether a model is sharded, and a checkpoint is not."""
    if not any(map(is_sharded, model.parameters())):
        return False
    return not (isinstance(checkpoint, dict) and any(map(is_sharded, checkpoint.values())))


def load_full(model: Module, prepare: Callable[[], dict[str, Any]], strict: bool) -> IncompatibleKeys:
    """Load the state dict of the first process into all of them.

    Args:
        prepare: Returns the state dict, or raises an error, which is then raised on all processes.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    state, error = {}, None
    if dist.get_rank() == 0:
        try:
            state = prepare()
        except Exception as caught:  # the other processes wait for it
            error = caught
    errors = [error]
    dist.broadcast_object_list(errors, src=0)
    if errors[0] is not None:
        raise errors[0]
    for name, value in state.items():
        if isinstance(value, Tensor):
            state[name] = value.contiguous()  # otherwise gloo would send the elements in another order
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=strict)
    return set_model_state_dict(model, state, options=options)
