"""Format the arguments of a convolution for its `repr`."""

from typing import Any

from ..sharing import Full


def format_arguments(layer: Any) -> str:
    """Return the arguments of a layer as `torch.nn.Conv2d` does, with the sharing added."""
    parts = [f"{layer.in_channels}, {layer.out_channels}, kernel_size={layer.kernel_size}"]
    parts.append(f"stride={layer.stride}")
    if any(map(any, layer.window.padding)):
        parts.append(f"padding={layer.padding!r}")
    if any(d != 1 for d in layer.dilation):
        parts.append(f"dilation={layer.dilation}")
    if any(layer.output_padding):
        parts.append(f"output_padding={layer.output_padding}")
    if layer.groups != 1:
        parts.append(f"groups={layer.groups}")
    if layer.bias is None:
        parts.append("bias=False")
    if layer.padding_mode != "zeros":
        parts.append(f"padding_mode={layer.padding_mode}")
    parts.append(f"sharing={layer.sharing!r}")
    if layer.input_size is not None:
        parts.append(f"input_size={layer.input_size}")
    usual = Full() if layer.transposed else layer.sharing
    if layer.bias is not None and layer.bias_sharing != usual:
        parts.append(f"bias_sharing={layer.bias_sharing!r}")
    return ", ".join(parts)
