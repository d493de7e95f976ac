"""Record a forward pass on a tape, without changing the model.

The tape contains the functions and methods of `torch` that the model calls. A module of `torch.nn`,
`torch.ao.nn` or `weightshare.nn` that has no children is recorded as one operation. If tensors are computed
in a way that torch does not report, such as in a custom autograd function or numpy, the enclosing module is
recorded instead and marked.
"""

import threading
from collections.abc import Callable, MutableMapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor, empty_like, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils.weak import WeakTensorKeyDictionary

from ..._nests import iter_tensors, map_tensors
from ..._torch import DisableTorchFunction, get_storage_id, watch_modules
from .precision import Float64Mode
from .tape import Ref, Step, Tape, View, copy_strided

_LEAVES = ("torch.nn.", "torch.ao.nn.", "weightshare.nn.")

#: Functions that turn a tensor into values outside of torch.
_LEAVING_TORCH = ("bool", "int", "float", "complex", "index", "item", "tolist", "numpy", "array")

#: Methods that write into their tensor, although their name does not end with a single underscore.
_IN_PLACE = ("__iand__", "__ior__", "__ixor__", "__setitem__")

#: Functions that read the shape and type of a tensor, but not its values.
_CONSTANT = (
    *("empty_like", "full_like", "ones_like", "zeros_like"),
    *("new_empty", "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros"),
)

#: Methods that read only the shape and type of their second tensor.
_LIKE = ("to", "type_as", "expand_as", "reshape_as", "view_as")

#: Relative size of the changes that show how a model responds to rounding.
_ROUNDING = 2.0**-52


def record_forward(
    model: Callable[..., Any],
    x: Tensor,
    *,
    precise: bool = False,
    rounding: Generator | None = None,
    like: Tape | None = None,
    observe: Callable[[int, Tensor], None] | None = None,
) -> tuple[Tape, Any]:
    """Run `model(x)` and return the tape and the output.

    Args:
        model: Model to run.
        x: Input.
        precise: Whether to compute in float64, whatever the types of the weights.
        rounding: Random generator. If it is given, every result is changed at random by one unit in its last
            place, so that a comparison with another run shows the effect of rounding.
        like: Tape of another run of the model, from which the tensors get their numbers.
        observe: Called with the number of each tensor and the tensor as soon as it is computed. The tape then
            keeps no values. The function must not run a model.
    """
    x = x.double() if precise else x
    x = x.clone()  # the model may write into x
    recorder = _Recorder(model, x, precise, rounding, like, observe)
    with watch_modules(recorder.enter, recorder.leave), recorder, Float64Mode() if precise else nullcontext():
        output = model(x)
    if isinstance(output, Tensor):
        recorder.follow_views(output)
        if recorder.find_number(output) is None:  # nothing was recorded: the model is one operation
            recorder.tape.steps.clear()
            recorder.add("", type(model).__name__, model, (x,), {}, output, seen=False)
        recorder.tape.output = recorder.numbers[output]
        recorder.tape.prune()
        output = output.clone()
    return recorder.tape, output


def run_forward(model: Callable[..., Any], x: Tensor, *, precise: bool = False) -> Any:
    """Run `model(x)` without recording it, in float64 if `precise`."""
    with Float64Mode() if precise else nullcontext():
        return model((x.double() if precise else x).clone())


@dataclass
class _Write:
    """A write into a tensor, before it happens.

    Args:
        root: Tensor whose memory contains all others.
        changed: Tensors whose values may change; the first one is written to.
        before: Their numbers, or None for constants.
        value: The root as it was, if it is a constant.
    """

    root: Tensor
    changed: list[Tensor]
    before: tuple[int | None, ...]
    value: Tensor | None


class _Recorder(TorchFunctionMode):
    """Writes the tape while the model runs."""

    def __init__(
        self,
        model: Callable[..., Any],
        x: Tensor,
        precise: bool,
        rounding: Generator | None,
        like: Tape | None,
        observe: Callable[[int, Tensor], None] | None,
    ):
        super().__init__()
        self.model, self.tape, self.precise, self.rounding = model, Tape(), precise, rounding
        self.names: dict[int, str] = {}
        if isinstance(model, nn.Module):
            self._name_modules(model)
        self.inside: list[nn.Module] = []
        self.within_leaf: nn.Module | None = None
        self.write: _Write | None = None  # by the leaf module that is running
        self.thread = threading.get_ident()
        self.known = {} if like is None else like.keys
        self.observe = observe
        self.numbers: MutableMapping[Tensor, int] = WeakTensorKeyDictionary()
        self.origins: MutableMapping[Tensor, tuple[int, int]] = WeakTensorKeyDictionary()
        self.name_counts: dict[str, int] = {}
        self.roots: dict[int, Tensor] = {}  # constants that depend on the input since a write, by storage
        self._add_tensor(x, 0, time=-1)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if threading.get_ident() != self.thread:
            return func(*args, **kwargs)
        if self.within_leaf is not None:
            return self._round(func(*args, **kwargs), args)
        op = _get_op_name(func)
        if op in _LEAVING_TORCH and args and self.find_number(args[0]) is not None:
            self.tape.decided.append(".".join(part for part in (self._get_path(), op) if part))
        self.follow_views((args, kwargs))
        write = self._prepare_write(args[0]) if _is_in_place(func, args, kwargs) else None
        result = func(*args, **kwargs)
        if op.startswith(("empty", "new_empty")):  # every run sees the same values in it
            return result.zero_() if isinstance(result, Tensor) and not result.is_quantized else result
        if op in _CONSTANT or (op in _LIKE and self.find_number(args[0]) is None):
            return result
        if write is None:
            result = self._round(result, args)
        out = kwargs.get("out")  # the model may reuse this tensor
        kwargs = {name: value for name, value in kwargs.items() if name != "out"}
        name = ".".join(part for part in (self._get_path(), op) if part)
        self.add(name, op, func, args, kwargs, result, write=write)
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
            with DisableTorchFunction():  # these operations do not belong to the model
                self._prepare_leaf(module, args)

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
            write, self.write = self.write, None
            op = type(module).__name__
            with DisableTorchFunction():
                self.add(name, op, module, args, kwargs, output, write=write, seen=is_leaf)

    def add(
        self,
        name: str,
        op: str,
        call: Any,
        args: Any,
        kwargs: Any,
        result: Any,
        *,
        write: _Write | None = None,
        seen: bool = True,
    ) -> None:
        """Add an operation to the tape if it depends on the input and computes a new tensor."""
        if write is not None:
            args = (write.root if write.value is None else write.value, *args[1:])
        outputs = _list_tensors(result) if write is None else write.changed
        inputs = [tensor for tensor in _list_tensors((args, kwargs)) if self.find_number(tensor) is not None]
        is_new = write is not None or any(self.find_number(tensor) is None for tensor in outputs)
        if not inputs or not outputs or not is_new:
            return
        positional, named = map_tensors(self._replace_by_ref, (tuple(args), dict(kwargs)))
        refs = tuple(self.numbers[tensor] for tensor in inputs)
        time = len(self.tape.steps)
        results = tuple(self._add_tensor(tensor, place, time) for place, tensor in enumerate(outputs))
        name = name or op
        count = self.name_counts[name] = self.name_counts.get(name, 0) + 1
        name = name if count == 1 else f"{name} ({count})"
        views, strides, before = (), None, ()
        if write is not None:
            views, before = tuple(View.of(t, write.root) for t in write.changed), write.before
            strides = write.root.stride()
            if write.value is not None:
                self.roots[get_storage_id(write.root)] = write.root
        self.tape.steps.append(
            Step(
                name,
                op,
                call,
                positional,
                named,
                refs,
                results,
                module=call if isinstance(call, nn.Module) else None,
                views=views,
                strides=strides,
                before=before,
                precise=self.precise,
                seen=seen,
            )
        )

    def follow_views(self, values: Any) -> None:
        """Add the views of constants that depend on the input since something was written into them."""
        for tensor in _list_tensors(values) if self.roots else ():
            root = self.roots.get(get_storage_id(tensor))
            if root is not None and self.find_number(tensor) is None and _covers(root, tensor):
                view = View.of(tensor, root)
                name = ".".join(part for part in (self._get_path(), "view") if part)
                self.add(name, "as_strided", view.apply, (root,), {}, tensor)

    def find_number(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor that depends on the input, and None for any other tensor."""
        return self.numbers.get(tensor)

    def _add_tensor(self, tensor: Tensor, place: int, time: int) -> int:
        """Number the values that a tensor has after a step, whichever other tensors are still alive."""
        origin = self.origins.setdefault(tensor, (time, place))
        keys = self.tape.keys
        number = self.known.get((time, origin), len(self.known) + len(keys))
        keys[time, origin] = number
        self.tape.shapes[number] = tensor.shape
        self.numbers[tensor] = number
        if self.observe is None:
            self.tape.values[number] = tensor
        else:
            with DisableTorchFunction():
                self.observe(number, tensor)
        return number

    def _prepare_leaf(self, module: nn.Module, args: Any) -> None:
        """Follow the inputs of a module, and prepare its write if it computes in place."""
        self.follow_views(args)
        if getattr(module, "inplace", False) is True and args and isinstance(args[0], Tensor):
            self.write = self._prepare_write(args[0])

    def _prepare_write(self, tensor: Tensor) -> _Write:
        """Find the tensors that a write will change, and copy their values on the tape."""
        self._keep_values(tensor)
        storage = get_storage_id(tensor)
        aliases = [other for other in self.numbers if get_storage_id(other) == storage]
        covering = [other for other in aliases if _covers(other, tensor)]
        base = tensor if tensor._base is None else tensor._base
        root = max(covering, key=Tensor.numel, default=base if _covers(base, tensor) else tensor)
        others = [t for t in (root, *aliases) if t is not tensor and _covers(root, t)]
        changed = [tensor, *{id(t): t for t in others}.values()]
        is_constant = self.find_number(root) is None
        value = copy_strided(root) if is_constant else None
        return _Write(root, changed, tuple(self.find_number(t) for t in changed), value)

    def _keep_values(self, tensor: Any) -> None:
        """Copy the values on the tape of a tensor that is about to change and of all views of its storage."""
        storage = get_storage_id(tensor)
        for other, number in [*self.numbers.items()] if self.observe is None else ():
            if get_storage_id(other) == storage and self.tape.values[number] is other:
                self.tape.values[number] = other.clone()

    def _round(self, result: Any, args: Any) -> Any:
        """Change new floating-point results by one unit in their last place."""
        if self.rounding is None:
            return result
        inputs = {get_storage_id(tensor) for tensor in _list_tensors(args)}

        def change(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point() or tensor._base is not None or get_storage_id(tensor) in inputs:
                return tensor
            sign = empty_like(tensor).bernoulli_(0.5, generator=self.rounding).mul_(2).sub_(1)
            return tensor * sign.mul_(_ROUNDING).add_(1)

        return map_tensors(change, result)

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


def _covers(root: Tensor, tensor: Tensor) -> bool:
    """Return whether a tensor lies in the memory of another one, which has no gaps."""
    (low, high), (start, end) = _get_span(root), _get_span(tensor)
    return root is tensor or (high - low == root.numel() and low <= start and end <= high)


def _get_span(tensor: Tensor) -> tuple[int, int]:
    """Return the first place in its storage that a tensor uses, and the one after the last."""
    start = int(tensor.storage_offset())
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride()))
    return start, start + last + 1 if tensor.numel() else start


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
