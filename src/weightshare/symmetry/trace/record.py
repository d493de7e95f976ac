"""Record a forward pass on a tape, without changing the model.

The tape contains the functions and methods of `torch` that the model calls. A module of `torch.nn`,
`torch.ao.nn` or `weightshare.nn` that has no children is recorded as one operation. If tensors are computed
in a way that torch does not report, such as in a custom autograd function or numpy, the enclosing module is
recorded instead and marked.
"""

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from ..._nests import iter_tensors
from ..._torch import get_storage_id, tree_map_only, watch_modules
from .tape import Ref, Step, Tape

_LEAVES = ("torch.nn.", "torch.ao.nn.", "weightshare.nn.")

#: Functions that turn a tensor into values outside of torch.
_LEAVING_TORCH = ("bool", "int", "float", "complex", "index", "item", "tolist", "numpy", "array")

#: Methods that write into their tensor, although their name does not end with a single underscore.
_IN_PLACE = ("__iand__", "__ior__", "__ixor__", "__setitem__")


def record_forward(model: Callable[..., Any], x: Tensor) -> tuple[Tape, Any]:
    """Run `model(x)` and return the tape and the output."""
    x = x.clone()  # the model may write into x
    recorder = _Recorder(model, x)
    with watch_modules(recorder.enter, recorder.leave), recorder:
        output = model(x)
    if isinstance(output, Tensor):
        if recorder.find_number(output) is None:  # nothing was recorded: the model is one operation
            recorder.tape.steps.clear()
            recorder.add("", type(model).__name__, model, (x,), {}, output, seen=False)
        recorder.tape.output = recorder.numbers[id(output)]
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
            self._name_modules(model)
        self.inside: list[nn.Module] = []
        self.within_leaf: nn.Module | None = None
        self.thread = threading.get_ident()
        self.numbers: dict[int, int] = {}
        self.alive: list[Tensor] = []  # keeps the ids of the tensors from being used again
        self.name_counts: dict[str, int] = {}
        self.stale: set[int] = set()
        self._add_tensor(x)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.within_leaf is not None or threading.get_ident() != self.thread:
            return func(*args, **kwargs)
        op = _get_op_name(func)
        if op in _LEAVING_TORCH and args and self.find_number(args[0]) is not None:
            self.tape.decided.append(".".join(part for part in (self._get_path(), op) if part))
        in_place = _is_in_place(func, args, kwargs)
        before = args
        if in_place:
            self._keep_values(args[0])
            if self.find_number(args[0]) is None:
                before = (args[0].clone(), *args[1:])
        result = func(*args, **kwargs)
        out = kwargs.get("out")  # the model may reuse this tensor
        kwargs = {name: value for name, value in kwargs.items() if name != "out"}
        name = ".".join(part for part in (self._get_path(), op) if part)
        self.add(name, op, func, before, kwargs, args[0] if in_place else result, in_place=in_place)
        for tensor in _list_tensors(out):
            self._keep_values(tensor)
        return result

    def enter(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        if id(module) not in self.names:
            self._name_modules(module)
        self.inside.append(module)
        if self.within_leaf is None and _is_leaf(module):
            self.within_leaf = module
            if getattr(module, "inplace", False):
                for tensor in _list_tensors(args):
                    self._keep_values(tensor)

    def leave(self, module: nn.Module, args: Any, *more: Any) -> None:
        if threading.get_ident() != self.thread:
            return
        self.inside.pop()
        is_leaf = self.within_leaf is module
        if is_leaf:
            self.within_leaf = None
        failed = len(more) < 2  # after an error, torch calls the hook without the keyword arguments
        if failed or self.within_leaf is not None:
            return
        kwargs, output = more
        name = self.names.get(id(module), type(module).__name__)
        tensors = _list_tensors(output)
        is_opaque = (
            not is_leaf and bool(tensors) and all(self.find_number(tensor) is None for tensor in tensors)
        )
        if is_leaf or is_opaque:
            in_place = getattr(module, "inplace", False) is True
            self.add(
                name, type(module).__name__, module, args, kwargs, output, in_place=in_place, seen=is_leaf
            )

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
        """Add an operation to the tape if it depends on the input and computes a new tensor."""
        outputs = _list_tensors(result)
        inputs = [tensor for tensor in _list_tensors((args, kwargs)) if self.find_number(tensor) is not None]
        is_new = in_place or any(self.find_number(tensor) is None for tensor in outputs)
        if not inputs or not outputs or not is_new:
            return
        positional, named = tree_map_only(Tensor, self._replace_by_ref, (tuple(args), dict(kwargs)))
        refs = tuple(self.numbers[id(tensor)] for tensor in inputs)
        if any(id(tensor) in self.stale for tensor in inputs):
            self.tape.aliased.append(name)
        results = tuple(self._add_tensor(tensor) for tensor in outputs)
        name = name or op
        count = self.name_counts[name] = self.name_counts.get(name, 0) + 1
        name = name if count == 1 else f"{name} ({count})"
        module = call if isinstance(call, nn.Module) else None
        self.tape.steps.append(Step(name, op, call, positional, named, refs, results, module, in_place, seen))

    def find_number(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor that depends on the input, and None for any other tensor."""
        return self.numbers.get(id(tensor))

    def _add_tensor(self, tensor: Tensor) -> int:
        number = len(self.alive)
        self.alive.append(tensor)
        self.numbers[id(tensor)] = number
        self.tape.values[number] = tensor
        return number

    def _keep_values(self, tensor: Any) -> None:
        """Copy the values on the tape of a tensor that is about to change and of all views of its storage."""
        storage = get_storage_id(tensor)
        for other in self.alive:
            number = self.numbers[id(other)]
            if get_storage_id(other) == storage and self.tape.values[number] is other:
                self.tape.values[number] = other.clone()
                if other is not tensor:
                    self.stale.add(id(other))

    def _name_modules(self, root: nn.Module) -> None:
        """Name the modules below `root`. Unless it is the model, `root` itself is named by its class."""
        head = f"{type(root).__name__}." if self.names else ""
        for name, module in root.named_modules():
            self.names.setdefault(id(module), f"{head}{name}".rstrip("."))
        if root is not self.model:
            self.names[id(root)] = type(root).__name__

    def _replace_by_ref(self, tensor: Tensor) -> Any:
        number = self.find_number(tensor)
        return tensor if number is None else Ref(number)

    def _get_path(self) -> str:
        return self.names.get(id(self.inside[-1]), "") if self.inside else ""


def _list_tensors(values: Any) -> list[Tensor]:
    return list(iter_tensors(values, dataclasses=False))


def _is_leaf(module: nn.Module) -> bool:
    if module._forward_hooks or module._forward_pre_hooks:  # record the operations of its hooks too
        return False
    is_layer = type(module).__module__.startswith(_LEAVES)
    return is_layer and (isinstance(module, nn.MultiheadAttention) or not any(module.children()))


def _get_op_name(func: Any) -> str:
    """Return the name by which users know a function.

    >>> _get_op_name(Tensor.__getitem__), _get_op_name(Tensor.mT.__get__), _get_op_name(Tensor.relu)
    ('getitem', 'mT', 'relu')
    """
    name = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":
        name = (resolve_name(func) or "get.get").split(".")[-2]
    name = name.removesuffix(".default")
    return name.strip("_") if name.startswith("__") else name


def _is_in_place(func: Any, args: Any, kwargs: Any) -> bool:
    """Return whether a function writes into its first argument."""
    name = getattr(func, "__name__", "")
    if not args or not isinstance(args[0], Tensor):
        return False
    has_suffix = name.endswith("_") and not name.endswith("__")
    return has_suffix or name in _IN_PLACE or kwargs.get("inplace") is True
