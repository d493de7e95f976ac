"""Groups of parameters as rows of data, without their tensors."""

from dataclasses import asdict, dataclass
from typing import Any

from ..parameters.groups import Group


@dataclass(frozen=True)
class GroupRow:
    """Elements with one owner, and all their names.

    Args:
        owner: Name under which the elements are counted.
        shape: Shape of the owner; None while it is lazy.
        numel: Number of distinct elements.
        dtype: Data type, e.g. "float32".
        bytes: Size of the distinct elements in bytes.
        trainable: Whether any of the parameters requires gradients.
        names: One dictionary per name, with "name", "kind", "own" (elements that no earlier name has) and
            "transform".
    """

    owner: str
    shape: tuple[int, ...] | None
    numel: int
    dtype: str
    bytes: int
    trainable: bool
    names: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the group as a JSON object."""
        return asdict(self) | {
            "shape": None if self.shape is None else list(self.shape),
            "names": list(self.names),
        }

    @property
    def ties(self) -> list[dict[str, Any]]:
        """Every name other than the owner, with the owner as its source."""
        return [
            {"source": self.owner, "alias": n["name"], "kind": n["kind"], "transform": n["transform"]}
            for n in self.names[1:]
        ]


def describe_group(group: Group) -> GroupRow:
    """Return a group without its tensors, so that a stored summary does not keep the model alive."""
    stored, owner = group.owner.stored, group.owner
    assert stored is not None
    return GroupRow(
        owner.name,
        stored.shape,
        group.numel,
        str(stored.tensor.dtype).removeprefix("torch."),
        group.bytes,
        group.trainable,
        tuple({"name": n.name, "kind": n.kind, "own": n.own, "transform": n.transform} for n in group.names),
    )
