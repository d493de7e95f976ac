"""Recording a forward pass.

Operations are what `torch` functions and methods compute, in modules and between them; a module of torch or
of `weightshare.nn` without children is one operation. What neither shows (a custom autograd function, numpy)
falls back to the module around it, and is named. The model is left as it was.
"""

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from ..._nests import tensors_in
from ..._torch import storage_id, tree_map_only, watch_modules
from .tape import Ref, Step, Tape

_LEAVES = ("torch.nn.", "torch.ao.nn.", "weightshare.nn.")


def recorded(model: Callable[..., Any], x: Tensor) -> tuple[Tape, Any]:
    """(the tape of model(x), the output)."""
    x = x.clone()  # a model may write into it
    recorder = _Recorder(model, x)
    with watch_modules(recorder.enter, recorder.leave), recorder:
        output = model(x)
    if isinstance(output, Tensor):
        if recorder.ref(output) is None:  # nothing was seen: the model is one operation
            recorder.tape.steps.clear()
            recorder.add("", type(model).__name__, model, (x,), {}, output, seen=False)
        recorder.tape.output = recorder.refs[id(output)]
        recorder.tape.prune()
        output = output.clone()
    return recorder.tape, output


class _Recorder(TorchFunctionMode):
    """Writes the tape while the model runs."""

    def __init__(self, model: Callable[..., Any], x: Tensor):
        super().__init__()
        self.model, self.tape = model, Tape()
        self.names: dict[int, str] = {}
        if isinstance(model, nn.Module):
            self._name(model)
        self.inside: list[nn.Module] = []
        self.within_leaf: nn.Module | None = None
        self.thread = threading.get_ident()
        self.refs: dict[int, int] = {}
        self.alive: list[Tensor] = []  # so that no other tensor gets the id of one of them
        self.used: dict[str, int] = {}
        self.stale: set[int] = set()
        self._track(x)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.within_leaf is not None or threading.get_ident() != self.thread:
            return func(*args, **kwargs)
        op = _op_name(func)
        if op in _TAKEN and args and self.ref(args[0]) is not None:
            self.tape.decided.append(".".join(part for part in (self._path(), op) if part))
        writes = _writes(func, args, kwargs)
        before = args
        if writes:
            self._keep(args[0])
            if self.ref(args[0]) is None:
                before = (args[0].clone(), *args[1:])
        result = func(*args, **kwargs)
        out = kwargs.get("out")  # may be written into again
        kwargs = {name: value for name, value in kwargs.items() if name != "out"}
        name = ".".join(part for part in (self._path(), op) if part)
        self.add(name, op, func, before, kwargs, args[0] if writes else result, in_place=writes)
        for tensor in _tensors(out):
            self._keep(tensor)
        return result

    def enter(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        if id(module) not in self.names:
            self._name(module)
        self.inside.append(module)
        if self.within_leaf is None and _is_leaf(module):
            self.within_leaf = module
            if getattr(module, "inplace", False):
                for tensor in _tensors(args):
                    self._keep(tensor)

    def leave(self, module: nn.Module, args: Any, *more: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        self.inside.pop()
        leaf = self.within_leaf is module
        if leaf:
            self.within_leaf = None
        failed = len(more) < 2  # torch leaves out the keywords where an error goes by
        if failed or self.within_leaf is not None:
            return
        kwargs, output = more
        name = self.names.get(id(module), type(module).__name__)
        hidden = not leaf and bool(_tensors(output)) and all(self.ref(t) is None for t in _tensors(output))
        if leaf or hidden:
            in_place = getattr(module, "inplace", False) is True
            self.add(name, type(module).__name__, module, args, kwargs, output, in_place=in_place, seen=leaf)

    def add(
        self,
        name: str,
        op: str,
        call: Any,
        args: Any,
        kwargs: Any,
        result: Any,
        *,
        in_place: bool = False,
        seen: bool = True,
    ) -> None:
        """Write an operation that depends on the input and gives something new."""
        outputs = _tensors(result)
        inputs = [t for t in _tensors((args, kwargs)) if self.ref(t) is not None]
        new = in_place or any(self.ref(t) is None for t in outputs)
        if not inputs or not outputs or not new:
            return
        given, named = tree_map_only(Tensor, self._as_ref, (tuple(args), dict(kwargs)))
        refs = tuple(self.refs[id(t)] for t in inputs)
        if any(id(t) in self.stale for t in inputs):
            self.tape.aliased.append(name)
        made = tuple(self._track(t) for t in outputs)
        name = name or op
        count = self.used[name] = self.used.get(name, 0) + 1
        name = name if count == 1 else f"{name} ({count})"
        module = call if isinstance(call, nn.Module) else None
        self.tape.steps.append(Step(name, op, call, given, named, refs, made, module, in_place, seen))

    def ref(self, tensor: Tensor) -> int | None:
        """The number of a tensor that depends on the input."""
        return self.refs.get(id(tensor))

    def _track(self, tensor: Tensor) -> int:
        number = len(self.alive)
        self.alive.append(tensor)
        self.refs[id(tensor)] = number
        self.tape.values[number] = tensor
        return number

    def _keep(self, tensor: Any) -> None:
        """Keep the numbers of a tensor that is about to be written into, and of all its other views."""
        storage = storage_id(tensor)
        for other in self.alive:
            number = self.refs[id(other)]
            if storage_id(other) == storage and self.tape.values[number] is other:
                self.tape.values[number] = other.clone()
                if other is not tensor:
                    self.stale.add(id(other))

    def _name(self, root: nn.Module) -> None:
        """Name the modules of a model, as the model does; of one that a function calls it has its type."""
        head = f"{type(root).__name__}." if self.names else ""
        for name, module in root.named_modules():
            self.names.setdefault(id(module), f"{head}{name}".rstrip("."))
        if root is not self.model:
            self.names[id(root)] = type(root).__name__

    def _as_ref(self, tensor: Tensor) -> Any:
        number = self.ref(tensor)
        return tensor if number is None else Ref(number)

    def _path(self) -> str:
        return self.names.get(id(self.inside[-1]), "") if self.inside else ""


def _tensors(values: Any) -> list[Tensor]:
    return list(tensors_in(values, dataclasses=False))


def _is_leaf(module: nn.Module) -> bool:
    if module._forward_hooks or module._forward_pre_hooks:  # what they do is seen from inside
        return False
    of_torch = type(module).__module__.startswith(_LEAVES)
    return of_torch and (isinstance(module, nn.MultiheadAttention) or not any(module.children()))


def _op_name(func: Any) -> str:
    """The name that people know a function by.

    >>> _op_name(Tensor.__getitem__), _op_name(Tensor.mT.__get__), _op_name(Tensor.relu)
    ('getitem', 'mT', 'relu')
    """
    name = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":
        name = (resolve_name(func) or "get.get").split(".")[-2]
    return (
        name.removesuffix(".default").strip("_") if name.startswith("__") else name.removesuffix(".default")
    )


def _writes(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether a function writes into its first argument."""
    name = getattr(func, "__name__", "")
    if not args or not isinstance(args[0], Tensor):
        return False
    named = name.endswith("_") and not name.endswith("__")
    return named or name in _IN_PLACE or kwargs.get("inplace") is True


#: What gives Python a number of a tensor.
_TAKEN = ("bool", "int", "float", "complex", "index", "item", "tolist", "numpy", "array")

_IN_PLACE = ("__iand__", "__ior__", "__ixor__", "__setitem__")
