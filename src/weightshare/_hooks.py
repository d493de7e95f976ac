"""Watching every module that is called."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.nn.modules import module as _module
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


@contextmanager
def watching(enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    """Inside, `enter(module, args)` and `leave(module, args, kwargs, output)` are called around each module.

    Where an error goes by, `leave` gets fewer arguments.
    """
    before = register_module_forward_pre_hook(enter)
    after = register_module_forward_hook(leave, with_kwargs=True, always_call=True)
    try:
        yield
    finally:
        before.remove()
        after.remove()
        for marks in (_module._global_forward_hooks_with_kwargs, _module._global_forward_hooks_always_called):
            marks.pop(after.id, None)  # torch leaves the marks of a removed hook behind
