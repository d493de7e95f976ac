"""The total `unshared`: the elements as if every convolution had its own kernel at each position."""

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from ..counting.closed_form import ParameterCount, count_parameters
from ..counting.from_layer import read_layer
from ..counting.spec import LayerSpec
from ..errors import ArgumentError
from ..parameters.groups import Group
from ..parameters.storage import Ranges, count_bytes, get_byte_ranges, is_plain, merge
from ..sharing import Full, Local
from .convolutions import Use
from .forward import ForwardPass
from .rows import get_row_name


def count_unshared(modules: Mapping[str, nn.Module], groups: Sequence[Group], forward: ForwardPass) -> int:
    """Count the unique elements as if each convolution that ran were unshared."""
    specs = dict(iter_specs(modules, forward))
    own = {path: [0, 0] for path in specs}
    total = 0
    for group in groups:
        uses: list[Use] = []
        for name in group.names:
            path = get_row_name(name.module_name)
            if path in specs:
                is_bias = "bias" in name.name[len(path) :]
                own[path][is_bias] += name.own
            else:
                uses += forward.convolutions.uses.get((id(name.module), name.attribute), [])
        total += group.numel + _count_copies(group, uses)
    return total + sum(_count_extra(spec, own[path]) for path, spec in specs.items())


def iter_specs(modules: Mapping[str, nn.Module], forward: ForwardPass) -> Iterator[tuple[str, LayerSpec]]:
    """Yield the first name and the spec of each `weightshare` layer that ran and whose sharing is not `Full`.

    Such a layer may run on any operators, so its positions are those that it was built for.
    """
    seen: set[int] = set()
    for path, module in modules.items():
        if id(module) in seen or not forward.calls[id(module)]:
            continue
        seen.add(id(module))
        try:
            spec = read_layer(module)
        except ArgumentError:
            continue
        if spec.input_size is not None and not {spec.sharing, spec.bias_sharing} <= {None, Full()}:
            yield path, spec


def _count_copies(group: Group, uses: Sequence[Use]) -> int:
    """Return how many elements the copies of a group's elements at all other positions would have.

    An element that is used several times has a copy for each position of its largest use.
    """
    uses = sorted(uses, key=lambda use: use.positions, reverse=True)
    if not all(name.parameter is None or is_plain(name.parameter) for name in group.names):
        return group.numel * (uses[0].positions - 1) if uses else 0
    copies, counted = 0, 0
    ranges = None
    for use in uses:
        if use.ranges is None:
            return copies + (group.numel - counted) * (use.positions - 1)
        ranges = use.ranges if ranges is None else merge(ranges, use.ranges)
        numel = _count_elements(group, ranges)
        copies, counted = copies + (numel - counted) * (use.positions - 1), numel
    return copies


def _count_elements(group: Group, ranges: Ranges) -> int:
    """Return how many elements of a group are in the given ranges of its storage."""
    parameters = [name.parameter for name in group.names if name.parameter is not None]
    whole = get_byte_ranges(parameters[0])
    for parameter in parameters[1:]:
        whole = merge(whole, get_byte_ranges(parameter))
    common = count_bytes(whole) + count_bytes(ranges) - count_bytes(merge(whole, ranges))
    return common // parameters[0].element_size()


def _count_extra(spec: LayerSpec, own: Sequence[int]) -> int:
    """Return how many elements a layer lacks that has its own kernel and bias at each position.

    Args:
        own: Weights and biases of the layer. They are not replaced if another layer has them.
    """
    shared, local = (
        _split(count_parameters(spec, sharing, spec.input_size)) for sharing in (spec.sharing, Local())
    )
    return sum(unshared - counted for n, counted, unshared in zip(own, shared, local) if n >= counted)


def _split(count: ParameterCount) -> tuple[int, int]:
    """Return the numbers of weights and biases in a count."""
    biases = sum(term.n for term in count.terms if term.label == "biases")
    return count.total - biases, biases
