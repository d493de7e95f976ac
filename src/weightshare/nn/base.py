"""What all layers have in common: their parameters, what these mean, and what a checkpoint holds of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from .. import functional
from .._args import Size, integer, per_axis
from ..backends import LocalRows, LocalTaps
from ..backends.exportable import stored
from ..backends.reuse import with_large_pages
from ..errors import ArgumentError
from ..geometry import Window, check_padding_mode
from ..sharing import Full, Local, LowRank, Sharing
from . import checkpoint, checks, init


class SharedLayer(torch.nn.Module, ABC):
    """A layer of one to three spatial axes: all but the size of its output and its `forward`."""

    #: Whether the positions that own kernels are those of the input.
    transposed: ClassVar[bool]
    _ndim: ClassVar[int]
    _torch_function: ClassVar[Callable[..., Tensor]]
    _default_sharing: ClassVar[Sharing] = Full()

    in_channels: int
    out_channels: int
    weight: Parameter
    bias: Parameter | None
    #: Spatial size of the output; None for a layer that takes any resolution.
    output_size: tuple[int, ...] | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: Size | str,
        output_padding: Size,
        dilation: Size,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: torch.dtype | None,
        sharing: Sharing | None,
        input_size: Size | None,
        bias_sharing: Sharing | None,
    ):
        super().__init__()
        name, ndim = type(self).__name__, self._ndim
        self.in_channels = integer(name, "in_channels", in_channels, least=1)
        self.out_channels = integer(name, "out_channels", out_channels, least=1)
        self.groups = checks.check_groups(name, groups, self.in_channels, self.out_channels)
        self.padding = (
            padding if isinstance(padding, str) else per_axis(name, "padding", padding, ndim, least=0)
        )
        self.window = Window(kernel_size, stride, self.padding, dilation, ndim=ndim, where=name)
        self.kernel_size, self.stride = self.window.kernel_size, self.window.stride
        self.dilation = self.window.dilation
        self.output_padding = per_axis(name, "output_padding", output_padding, ndim, least=0)
        self.padding_mode = check_padding_mode(name, padding_mode)
        self.sharing = checks.check_sharing(name, "sharing", sharing, self._default_sharing)
        if Full() != self._default_sharing != self.sharing:
            raise ArgumentError(
                name,
                f"sharing must be {self._default_sharing!r}",
                repr(self.sharing),
                f"use Conv{ndim}d for any other",
            )
        default = self.sharing if self.sharing.one_hot and not self.transposed else Full()
        self.bias_sharing = checks.check_sharing(name, "bias_sharing", bias_sharing, default)
        self.input_size, self.output_size = self._sizes(input_size)
        self._prepare(bias)
        self._make_parameters(bias, {"device": device, "dtype": dtype})
        self.reset_parameters()

    @property
    def position_size(self) -> tuple[int, ...] | None:
        """The grid of positions that own kernels: `output_size`, or `input_size` of a transposed layer."""
        return self.input_size if self.transposed else self.output_size

    @abstractmethod
    def _output_size(self, input_size: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial size of the output; raises `ShapeError` for an input that is too small."""

    def _sizes(self, input_size: Size | None) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        """The input's and the output's spatial size, checked against both sharings."""
        name = type(self).__name__
        if input_size is None:
            checks.check_size_given(name, self._ndim, self.sharing, self.bias_sharing)
            return None, None
        size = per_axis(name, "input_size", input_size, self._ndim, least=1)
        out = self._output_size(size)
        kernel = self.kernel_size[0] if len(set(self.kernel_size)) == 1 else self.kernel_size
        source = f" from input_size={size}, kernel_size={kernel}"
        if self.transposed:
            whose = ", the size of the input (whose positions own a transposed layer's kernels)"
            self.sharing.check(size, f"{name}: sharing=", whose)
        else:
            self.sharing.check(out, f"{name}: sharing=", source)
        self.bias_sharing.check(out, f"{name}: bias_sharing=", source)
        return size, out

    def _prepare(self, bias: bool) -> None:
        """What `forward` needs and a call should not work out anew."""
        self._any_size = self.sharing == Full() and (self.bias_sharing == Full() or not bias)
        self._pads = self.padding_mode != "zeros"
        size: tuple[int, ...] = self.position_size  # type: ignore[assignment]
        self._backend = None
        if self.sharing != Full():
            out, channels = self._kernel_shape[:2]
            channels = (out // self.groups, channels)
            self._backend = functional.choose(self.sharing, self.window, size, self.groups, channels)
        self._relays = isinstance(self._backend, LocalRows | LocalTaps) and self.sharing != Local()
        learned = self.sharing.coefficient_shapes(size) if isinstance(self.sharing, LowRank) else {}
        self._coefficient_names = tuple(learned)
        if self.bias_sharing != Full():
            self._spread = functional.Spread.of(self.bias_sharing, self.output_size)  # type: ignore[arg-type]

    @property
    def _kernel_shape(self) -> tuple[int, ...]:
        """Of one bank: [out, in/groups, *kernel_size], of a transposed layer [in, out/groups, ...]."""
        own, other = self.out_channels, self.in_channels
        if self.transposed:
            own, other = other, own
        return (own, other // self.groups, *self.kernel_size)

    def _make_parameters(self, bias: bool, factory: dict) -> None:
        size: tuple[int, ...] = self.position_size  # type: ignore[assignment]
        shape = self._kernel_shape
        if self.sharing == Local():
            shape = (prod(size), *self.kernel_size, shape[1], shape[0])
        elif self.sharing != Full():
            shape = (self.sharing.banks(size), *shape)
        weight = with_large_pages(torch.empty(shape, **factory))
        checks.check_dtype(type(self).__name__, weight.dtype, self.sharing)
        self.weight = Parameter(weight)
        if isinstance(self.sharing, LowRank):
            for name, shape in self.sharing.coefficient_shapes(size).items():
                self.register_parameter(name, Parameter(torch.empty(shape, **factory)))
        if not bias:
            self.register_parameter("bias", None)
        elif self.bias_sharing == Full():
            self.bias = Parameter(torch.empty(self.out_channels, **factory))
        else:
            banks = self.bias_sharing.banks(self.output_size)  # type: ignore[arg-type]
            self.bias = Parameter(torch.empty(banks, self.out_channels, **factory))
        if not self._any_size:
            numbers = self._digest()
            self.register_buffer(
                "sharing_digest", torch.empty(len(numbers), dtype=torch.int64, device=factory["device"])
            )

    def _digest(self) -> list[int]:
        size: tuple[int, ...] = self.position_size  # type: ignore[assignment]
        bias_sharing = None if self.bias is None else self.bias_sharing
        if not self.transposed:
            return checkpoint.digest(self.sharing, bias_sharing, size, self.kernel_size)
        written = () if bias_sharing in (None, Full()) else self.output_size
        return checkpoint.digest(self.sharing, bias_sharing, size, self.kernel_size, written)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as torch's layer of the same name draws them for one kernel."""
        fan_in = prod(self._kernel_shape[1:])
        init.reset_weight(self.weight, self.sharing, fan_in)
        if self.bias is not None:
            init.reset_bias(self.bias, fan_in)
        init.reset_coefficients(self._coefficient_terms())
        self._write_digest()

    @torch.no_grad()
    def _write_digest(self) -> None:
        if not self._any_size:
            self.sharing_digest.copy_(torch.tensor(self._digest()))  # type: ignore[operator]

    def _apply(self, fn, recurse=True):
        """Move or cast; memory formats are for images and leave banks of kernels as they are."""
        if self.sharing == Full():
            return super()._apply(fn, recurse)
        plain = (Tensor, Parameter)  # a sharded tensor has no memory format of its own

        def flat(t):
            return fn(t.flatten()).view(t.shape) if t.dim() > 3 and type(t) in plain else fn(t)

        return super()._apply(flat, recurse)

    def kernels(self) -> Tensor:
        """The banks of kernels, whatever the layout of `weight`.

        [K, out, in/groups, *kernel_size], of a transposed layer [K, in, out/groups, *kernel_size].
        """
        if self.sharing == Full():
            return self.weight.unsqueeze(0)
        return functional.as_banks(self.weight) if self.sharing == Local() else self.weight

    def assignment(self) -> Tensor:
        """Which position uses which bank: A [P, K], so that W[p] = sum over k of A[p, k] kernels()[k].

        One-hot but for `LowRank`, where it is differentiable in the coefficients. P x K numbers, which for
        `Local` is many. Positions are outputs, of a transposed layer inputs.
        """
        size = self._known(self.position_size, "assignment()")
        if isinstance(self.sharing, LowRank):
            mixed = self._coefficients().flatten(1).T  # type: ignore[union-attr]
            return torch.cat([mixed.new_ones(prod(size), 1), mixed], dim=1)
        labels = torch.tensor(self.sharing.labels(size), device=self.weight.device)
        return F.one_hot(labels, self.sharing.banks(size)).to(self.weight.dtype)

    def bias_map(self) -> Tensor:
        """The bias of every output neuron [out, *output_size]; zeros without bias."""
        shape = (self.out_channels, *self._known(self.output_size, "bias_map()"))
        if self.bias is None:
            return self.weight.new_zeros(shape)
        return self._broadcast_bias().expand(shape)

    def _known(self, size: tuple[int, ...] | None, what: str) -> tuple[int, ...]:
        if size is None:
            raise ArgumentError(
                type(self).__name__,
                f"{what} needs the number of positions",
                "a layer built without input_size",
                "give input_size= when building it",
            )
        return size

    def _broadcast_bias(self, input: Tensor | None = None) -> Tensor:
        """The bias in a shape that broadcasts to [out, *output_size].

        Args:
            input: What the bias is for, if it is for one.
        """
        bias: Tensor = self.bias  # type: ignore[assignment]
        if self.bias_sharing == Full():
            return bias.view(-1, *(1,) * self._ndim)
        return self._spread(bias if input is None else stored(bias, input))

    def _coefficient_terms(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._coefficient_names]

    def _coefficients(self, input: Tensor | None = None) -> Tensor | None:
        """[rank, *position_size] for low rank, None otherwise.

        Args:
            input: What the coefficients are for, if they are for one.
        """
        terms = self._coefficient_terms()
        if len(terms) < 2:
            return terms[0] if terms else None
        if input is not None:
            terms = [stored(term, input) for term in terms]
        ndim = len(terms)
        return sum(
            term.view(-1, *(1,) * axis, term.shape[1], *(1,) * (ndim - axis - 1))
            for axis, term in enumerate(terms)
        )  # type: ignore[return-value]

    def _with_bias(self, result: Tensor) -> Tensor:
        return result if self.bias is None else result + self._broadcast_bias(result).to(result.dtype)

    def _backend_weight(self) -> Tensor:
        """The weight in the layout of the kernel that computes the layer."""
        return functional.as_local(self.weight) if self._relays else self.weight

    def _unbatched(self, input: Tensor) -> bool:
        """Whether an input of the right rank and channels has no batch axis."""
        if not isinstance(input, Tensor):
            raise checks.no_tensor(type(self).__name__, input)
        shape, ndim = input.shape, self._ndim
        unbatched = len(shape) == ndim + 1
        if not (unbatched or len(shape) == ndim + 2) or shape[-ndim - 1] != self.in_channels:
            raise self._wrong_shape(shape)
        return unbatched

    def _check(self, input: Tensor) -> None:
        """Refuse an input that a layer with weights for one size cannot take."""
        if input.shape[-self._ndim :] != self.input_size:
            raise self._wrong_shape(input.shape)
        weight = self.weight
        if input.device != weight.device:
            raise checks.wrong_device(type(self).__name__, input, weight)
        if input.layout != torch.strided:
            raise checks.wrong_layout(type(self).__name__, input)
        if input.dtype != weight.dtype:
            checks.check_mixed(type(self).__name__, input, weight)
        if weight.dtype not in checks.DTYPES:
            checks.check_dtype(type(self).__name__, weight.dtype, self.sharing)

    def _wrong_shape(self, shape: torch.Size) -> Exception:
        size = None if self._any_size else self.input_size
        return checks.wrong_shape(type(self).__name__, shape, self.in_channels, size, self.sharing)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        """Load a plain layer of torch's into any sharing; refuse another sharing's weights, naming both."""
        error = checkpoint.mismatch(self, None if self._any_size else self._digest(), state_dict, prefix)
        if error is not None:
            error_msgs.append(error)
            return
        if not self._any_size:
            checkpoint.expand_plain(self, self._kernel_shape, self._digest(), state_dict, prefix)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        """The digest is that of the layer, whatever averaging or `to_empty` made of the buffer."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not self._any_size:
            device = self.weight.device
            destination[f"{prefix}sharing_digest"] = torch.tensor(self._digest(), device=device)

    def extra_repr(self) -> str:
        """Torch's own line, with the sharing."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}")
        if any(map(any, self.window.padding)):
            parts.append(f"padding={self.padding!r}")
        if any(d != 1 for d in self.dilation):
            parts.append(f"dilation={self.dilation}")
        if any(self.output_padding):
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self._pads:
            parts.append(f"padding_mode={self.padding_mode}")
        parts.append(f"sharing={self.sharing!r}")
        if self.input_size is not None:
            parts.append(f"input_size={self.input_size}")
        usual = Full() if self.transposed else self.sharing
        if self.bias is not None and self.bias_sharing != usual:
            parts.append(f"bias_sharing={self.bias_sharing!r}")
        return ", ".join(parts)
