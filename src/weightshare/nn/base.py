"""The base class of convolutions and transposed convolutions: arguments, parameters and checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from .._args import Size, check_integer, check_largest, check_per_axis
from ..backends import ONE_KERNEL, Backend, BankValues, choose, layout_of
from ..backends.checks import check_dtype, check_operands
from ..backends.exportable import keep_compact
from ..backends.low_rank import combine_coefficients
from ..errors import ArgumentError, ShapeError
from ..geometry import (
    Padding,
    PaddingModes,
    Window,
    check_groups,
    check_padding_mode,
    simplify_padding,
    wrong_shape,
)
from ..sharing import Full, LowRank, Sharing, check_sharing
from . import checkpoint, checks, fusion, init
from .arguments import format_arguments
from .digest import pack
from .kernel_plot import plot_kernels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class SharedLayer(torch.nn.Module, ABC):
    """A convolution or transposed convolution with one to three spatial axes.

    Subclasses define the size of the output and `forward`. *Positions* are the elements that own kernels: the
    outputs of a convolution, the inputs of a transposed convolution.
    """

    #: Whether this is a transposed convolution, whose positions are its inputs.
    transposed: ClassVar[bool]
    _ndim: ClassVar[int]
    _torch_function: ClassVar[Callable[..., Tensor]]
    #: The only sharing that the class allows, or None if it allows any.
    _fixed_sharing: ClassVar[Sharing | None] = None

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    #: One int per axis, "same" or "valid"; pairs (before, after) if the two ends of an axis differ.
    padding: tuple[int, ...] | tuple[tuple[int, int], ...] | str
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    #: One name for all axes, or one per axis if they differ.
    padding_mode: str | tuple[str, ...]
    window: Window
    sharing: Sharing
    bias_sharing: Sharing
    weight: Parameter
    bias: Parameter | None
    #: Encoded sharing and sizes; only a layer with a fixed input size has this buffer.
    sharing_digest: Tensor
    #: Spatial sizes of input and output; None if the layer was built without `input_size`.
    input_size: tuple[int, ...] | None
    output_size: tuple[int, ...] | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: Size,
        padding: Padding,
        output_padding: Size,
        dilation: Size,
        groups: int,
        bias: bool,
        padding_mode: PaddingModes,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        sharing: Sharing | None,
        input_size: Size | None,
        bias_sharing: Sharing | None,
    ):
        super().__init__()
        name, ndim = type(self).__name__, self._ndim
        self.in_channels = check_integer(name, "in_channels", in_channels, least=1)
        self.out_channels = check_integer(name, "out_channels", out_channels, least=1)
        self.groups = check_groups(name, groups, self.in_channels, self.out_channels)
        self.window = Window(kernel_size, stride, padding, dilation, ndim=ndim, where=name)
        check_largest(name, in_channels=self.in_channels, out_channels=self.out_channels, **vars(self.window))
        self.padding = simplify_padding(padding, self.window.padding)
        self.kernel_size, self.stride = self.window.kernel_size, self.window.stride
        self.dilation = self.window.dilation
        self.output_padding = check_per_axis(name, "output_padding", output_padding, ndim, least=0)
        check_largest(name, output_padding=self.output_padding)
        self.padding_mode = check_padding_mode(name, padding_mode, ndim)
        self.sharing = check_sharing(name, "sharing", sharing, self._fixed_sharing or Full())
        if self._fixed_sharing not in (None, self.sharing):
            raise ArgumentError(
                name,
                f"sharing must be {self._fixed_sharing!r}",
                repr(self.sharing),
                f"use Conv{ndim}d for any other sharing",
            )
        default = self.sharing if self.sharing.one_hot and not self.transposed else Full()
        self.bias_sharing = check_sharing(name, "bias_sharing", bias_sharing, default)
        self.input_size, self.output_size = self._check_sizes(input_size)

        banks = self.sharing.banks(self.position_size) if self.position_size else 1
        weight = torch.empty(0, device=device, dtype=dtype)
        checks.check_memory(name, self.sharing, banks * prod(self._kernel_shape), weight)
        self._takes_any_size = self.sharing == Full() and (self.bias_sharing == Full() or not bias)
        self._layout = layout_of(self.sharing)
        self._backend: Backend | None = None
        if self.sharing != Full():
            size = self._require_size(self.position_size, "sharing")
            self._backend = choose(self.sharing, self.window, size, self.groups)
        shapes = self._coefficient_shapes()
        self._coefficient_names, self._coefficient_sizes = tuple(shapes), tuple(shapes.values())
        self._bias_values: BankValues | None = None
        if self.bias_sharing != Full():
            size = self._require_size(self.output_size, "bias_sharing")
            self._bias_values = BankValues.of(self.bias_sharing, size)
        self._make_parameters(bias, {"device": device, "dtype": dtype})
        self._weight_shape = self.weight.shape
        self._bias_shape = torch.Size(self._compute_bias_shape())
        self.reset_parameters()

    @property
    def position_size(self) -> tuple[int, ...] | None:
        """Size of the grid of positions: `output_size`, or `input_size` for a transposed layer."""
        return self.input_size if self.transposed else self.output_size

    @abstractmethod
    def _output_size(self, input_size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the spatial size of the output; raise `ShapeError` if the input is too small."""

    @property
    def _kernel_shape(self) -> tuple[int, ...]:
        """Shape of one bank: [out, in/groups, *kernel_size]; transposed [in, out/groups, *kernel_size]."""
        position_side, window_side = self.out_channels, self.in_channels
        if self.transposed:
            position_side, window_side = window_side, position_side
        return (position_side, window_side // self.groups, *self.kernel_size)

    def _coefficient_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of the coefficients; empty unless the sharing is `LowRank`."""
        if not isinstance(self.sharing, LowRank):
            return {}
        return self.sharing.coefficient_shapes(self._require_size(self.position_size, "sharing"))

    def _check_sizes(self, input_size: Size | None) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        """Return the spatial sizes of input and output, checked against both sharings."""
        name = type(self).__name__
        if input_size is None:
            checks.check_size_given(name, self._ndim, self.sharing, self.bias_sharing)
            return None, None
        size = check_per_axis(name, "input_size", input_size, self._ndim, least=1)
        check_largest(name, input_size=size)
        out = self._output_size(size)
        kernel = self.kernel_size[0] if len(set(self.kernel_size)) == 1 else self.kernel_size
        source = f" from input_size={size}, kernel_size={kernel}"
        if self.transposed:
            source_of_grid = ", the size of the input (whose positions own a transposed layer's kernels)"
            self.sharing.check(size, f"{name}: sharing=", source_of_grid)
        else:
            self.sharing.check(out, f"{name}: sharing=", source)
        self.bias_sharing.check(out, f"{name}: bias_sharing=", source)
        return size, out

    def _make_parameters(self, bias: bool, factory: dict[str, Any]) -> None:
        banks = 1
        if self.sharing != Full():
            banks = self.sharing.banks(self._require_size(self.position_size, "sharing"))
        weight = torch.empty(self._layout.shape(banks, self._kernel_shape), **factory)
        check_dtype(type(self).__name__, weight.dtype, self.sharing)
        self.weight = Parameter(weight)
        for name, shape in self._coefficient_shapes().items():
            self.register_parameter(name, Parameter(torch.empty(shape, **factory)))
        if not bias:
            self.register_parameter("bias", None)
        else:
            self.bias = Parameter(torch.empty(self._compute_bias_shape(), **factory))
        if not self._takes_any_size:
            length = len(pack(self._digest()))
            numbers = torch.empty(length, dtype=torch.int64, device=factory["device"])
            self.register_buffer("sharing_digest", numbers)

    def _compute_bias_shape(self) -> tuple[int, ...]:
        if self.bias_sharing == Full():
            return (self.out_channels,)
        banks = self.bias_sharing.banks(self._require_size(self.output_size, "bias_sharing"))
        return (banks, self.out_channels)

    def _digest(self) -> list[int]:
        size = self._require_size(self.position_size, "sharing")
        bias_sharing = None if self.bias is None else self.bias_sharing
        if not self.transposed:
            return checkpoint.encode(self.sharing, bias_sharing, size, self.kernel_size)
        bias_size = () if bias_sharing in (None, Full()) else self.output_size
        return checkpoint.encode(self.sharing, bias_sharing, size, self.kernel_size, bias_size)

    def reset_parameters(self) -> None:
        """Reinitialize all parameters like the `torch.nn` layer of the same name, bank by bank."""
        fan_in = prod(self._kernel_shape[1:])
        init.reset_weight(self.weight, self.sharing, fan_in)
        if self.bias is not None:
            init.reset_bias(self.bias, fan_in)
        init.reset_coefficients(self._coefficient_terms())
        self._write_digest()

    @torch.no_grad()
    def _write_digest(self) -> None:
        if not self._takes_any_size:
            self.sharing_digest = torch.tensor(pack(self._digest()), device=self.sharing_digest.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move or cast the parameters. Banks stay contiguous: memory formats apply to images only."""
        if self._layout == ONE_KERNEL:
            return super()._apply(fn, recurse)
        plain = (Tensor, Parameter)  # a sharded tensor has no memory format

        def apply_flat(t: Tensor) -> Tensor:
            return fn(t.flatten()).view(t.shape) if t.dim() > 3 and type(t) in plain else fn(t)

        return super()._apply(apply_flat, recurse)

    def kernels(self) -> Tensor:
        """Return the banks as a view of `weight`, in the same layout for every sharing.

        Returns:
            [K, out, in/groups, *kernel_size]; for a transposed layer [K, in, out/groups, *kernel_size].
        """
        return self._layout.to_banks(self.weight)

    def assignment(self) -> Tensor:
        """Return the assignment A. The kernel at position p is the sum over k of A[p, k] kernels()[k].

        A is one-hot, except for `LowRank`, where it is differentiable in the coefficients. It is large: for
        `Local` it has P x P elements.

        Returns:
            [P, K]. Positions are outputs; for a transposed layer they are inputs.
        """
        size = self._require_size(self.position_size, "assignment()")
        coefficients = self._coefficients()
        if coefficients is not None:
            columns = coefficients.flatten(1).T
            return torch.cat([columns.new_ones(prod(size), 1), columns], dim=1)
        labels = torch.tensor(self.sharing.labels(size), device=self.weight.device)
        return F.one_hot(labels, self.sharing.banks(size)).to(self.weight.dtype)

    def bias_map(self) -> Tensor:
        """Return the bias of each output element, [out, *output_size]; zeros for a layer without bias."""
        shape = (self.out_channels, *self._require_size(self.output_size, "bias_map()"))
        if self.bias is None:
            return self.weight.new_zeros(shape)
        return self._broadcast_bias(self.bias).expand(shape)

    def plot_kernels(self, channels: tuple[int, int] = (0, 0), *, ax: "Axes | None" = None) -> "Figure":
        """Draw the kernels at their positions, for one pair of channels.

        Rows and columns are labeled by position. Of more than 12 positions per axis, 12 evenly spaced ones
        are drawn. Without `input_size`, the layer has one kernel for all positions.

        Args:
            channels: Indices of the channel axes of `kernels()`: an output channel and an input channel of
                its group; for a transposed layer, an input channel and an output channel of its group.
            ax: Axes to draw on. By default, a new figure with a transparent background is created.

        Returns:
            The figure that contains the drawing. To save it, call its `savefig`.

        Raises:
            ArgumentError: If the layer has three spatial axes or no values, or lacks one of the channels.
            MissingExtraError: If matplotlib is not installed.

        Example:
            >>> import weightshare as ws
            >>> ws.nn.LocallyConnected2d(1, 4, 3, input_size=8).plot_kernels((3, 0)).axes[0].get_xlabel()
            '6 x 6 positions, channels (3, 0)'
        """
        return plot_kernels(self, channels, ax)

    def _require_size(self, size: tuple[int, ...] | None, what: str) -> tuple[int, ...]:
        """Return the size, or raise `ArgumentError` if the layer was built without `input_size`."""
        if size is None:
            raise ArgumentError(
                type(self).__name__,
                f"{what} needs the number of positions",
                "a layer built without input_size",
                "pass input_size= when you build it",
            )
        return size

    def _broadcast_bias(self, bias: Tensor, input: Tensor | None = None) -> Tensor:
        """Return the bias in a shape that broadcasts to [out, *output_size].

        Args:
            bias: The bias of the layer.
            input: The input of the current call, if any; see `keep_compact`.
        """
        if self._bias_values is None:
            return bias.view(-1, *(1,) * self._ndim)
        return self._bias_values.expand(bias if input is None else keep_compact(bias, input))

    def _coefficient_terms(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._coefficient_names]

    def _coefficients(self, input: Tensor | None = None) -> Tensor | None:
        """Return the coefficients [rank, *position_size] of `LowRank`; None for any other sharing.

        Args:
            input: The input of the current call, if any; see `keep_compact`.
        """
        if not self._coefficient_names:
            return None
        terms = self._coefficient_terms()
        for name, shape, term in zip(self._coefficient_names, self._coefficient_sizes, terms):
            if term.shape != shape:
                raise checks.wrong_parameter(self, name, term.shape, shape)
        if len(terms) < 2:
            return terms[0]
        if input is not None:
            terms = [keep_compact(term, input) for term in terms]
        return combine_coefficients(terms)

    def _add_bias(self, result: Tensor, bias: Tensor | None) -> Tensor:
        return result if bias is None else result + self._broadcast_bias(bias, result).to(result.dtype)

    def _is_unbatched(self, input: Tensor) -> bool:
        """Return whether the input has no batch axis; raise an error if its rank or channels are wrong."""
        shape, ndim = input.shape, self._ndim
        unbatched = len(shape) == ndim + 1
        if not (unbatched or len(shape) == ndim + 2) or shape[-ndim - 1] != self.in_channels:
            raise self._wrong_shape(shape)
        return unbatched

    def _check(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        """Raise `ShapeError` if the input or the parameters do not fit the layer or each other."""
        if input.shape[-self._ndim :] != self.input_size:
            raise self._wrong_shape(input.shape)
        if weight.shape != self._weight_shape:
            raise checks.wrong_parameter(self, "weight", weight.shape, self._weight_shape)
        if bias is not None and bias.shape != self._bias_shape:
            raise checks.wrong_parameter(self, "bias", bias.shape, self._bias_shape)
        check_operands(type(self).__name__, input, weight, self.sharing)

    def _wrong_shape(self, shape: torch.Size) -> ShapeError:
        size = None if self._takes_any_size else self.input_size
        name, ndim = type(self).__name__, self._ndim
        return wrong_shape(name, shape, self.in_channels, size, self.sharing, ndim)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight" and fusion.is_called_by_torch():
            fusion.check_supported(self)
        super().__setattr__(name, value)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load weights of the same sharing, or of the `torch.nn` layer; report an error for any others."""
        digest = None if self._takes_any_size else self._digest()
        error = checkpoint.find_mismatch(self, digest, state_dict, prefix)
        if error is not None:
            error_msgs.append(error)
            return
        if digest is not None:
            checkpoint.convert_entries(self, digest, state_dict, prefix)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Save the digest of the layer, since weight averaging or `to_empty` may have changed the buffer."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not self._takes_any_size:
            device = self.weight.device
            destination[f"{prefix}sharing_digest"] = torch.tensor(pack(self._digest()), device=device)

    def extra_repr(self) -> str:
        """Return the arguments of the layer as `torch.nn.Conv2d` does, with the sharing added."""
        return format_arguments(self)
