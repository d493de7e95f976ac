"""Read checkpoints: safetensors files, state dicts written by `torch.save`, and folders of either."""

import json
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ...errors import DataError, MissingExtraError, describe_exception
from .entries import Layout
from .folders import find_files, list_names

#: Key of the metadata under which `save_safetensors` writes the layouts of views, as a JSON object.
LAYOUTS = "weightshare.layouts"
#: A safetensors file begins with the length of its JSON header, which is at most this.
LONGEST_HEADER = 100_000_000


@dataclass
class Checkpoint:
    """The content of a checkpoint.

    Args:
        content: A state dict, or whatever else the file contains.
        implied: Names in `content` that are not stored, because they are aliases or views of stored ones.
    """

    content: Any
    implied: frozenset[str] = frozenset()


def read_checkpoint(where: str, path: str | PathLike[str], safetensors_only: bool = False) -> Checkpoint:
    """Read a file, all files that an index lists, or a folder with one of these. No code is run.

    The format of each file is detected from its content, not from its name.

    Args:
        where: Path to name in errors.
        safetensors_only: Whether to refuse files written by `torch.save`.

    Raises:
        DataError: If a file is missing, cannot be read, has another format, or contains code.
        MissingExtraError: If a file is a safetensors file, and the package safetensors is not installed.
    """
    readable = "must be a readable safetensors file" if safetensors_only else "must be a readable file"
    if not fspath(path):  # `Path` would make this the current folder
        raise DataError(where, readable, "an empty path")
    files = find_files(where, Path(path), readable)
    content: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for file, names in files.items():
        if safetensors_only or _is_safetensors(where, file):
            part, notes = _read_safetensors(where, file)
            metadata |= notes
        else:
            part = _read_torch(where, file)
            if not names:
                return Checkpoint(part)
        if absent := [name for name in names if not isinstance(part, Mapping) or name not in part]:
            got = f"{file.name} without {list_names(absent)}"
            raise DataError(where, "must have the names that its index lists", got, "download it again")
        content |= part
    implied = _read_aliases(where, content, metadata)
    return Checkpoint(content | implied, frozenset(implied))


def import_safetensors(path: object) -> ModuleType:
    """Return the package safetensors, or raise `MissingExtraError`."""
    try:
        import safetensors.torch  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise MissingExtraError.for_package(str(path), "safetensors", extra="study") from error
    return safetensors


def _is_safetensors(where: str, path: Path) -> bool:
    """Return whether the file begins with the length of a JSON object and its opening brace."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except (OSError, ValueError) as error:  # the latter for a name with a null character
        raise DataError(where, "must be a readable file", describe_exception(error)) from error
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] <= LONGEST_HEADER


def _read_safetensors(where: str, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file."""
    safetensors = import_safetensors(path)
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # on other files the reader can raise any exception
        hint = None
        if path.is_file() and zipfile.is_zipfile(path):
            hint = (
                "read a torch.save file with torch.load, and load it with weightshare.tying.load_state_dict"
            )
        raise DataError(where, "must be a readable safetensors file", str(error), hint) from error


def _read_torch(where: str, path: Path) -> Any:
    """Return the content of a file written by `torch.save`."""
    try:
        # given a path, torch.load would look at its suffix
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on other files the reader can raise any exception
        raise DataError(
            where,
            "must be a safetensors file, or a state dict that torch.load(weights_only=True) can read",
            describe_exception(error).partition(". ")[0],
            "if you trust the file, load it elsewhere and save it with safetensors.torch.save_model",
        ) from error


def _read_aliases(
    where: str, content: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> dict[str, Tensor]:
    """Return the tensors that the metadata names as aliases or views of stored ones."""
    aliases = {alias: name for alias, name in metadata.items() if name in content and alias not in content}
    try:
        layouts = {name: Layout(*layout) for name, layout in json.loads(metadata.get(LAYOUTS, "{}")).items()}
        return {
            alias: layouts[alias].read(content[name].clone()) if alias in layouts else content[name]
            for alias, name in aliases.items()
        }
    except (AttributeError, RecursionError, RuntimeError, TypeError, ValueError) as error:
        expected = f"must have the layouts of views in its metadata under {LAYOUTS!r}"
        raise DataError(where, expected, describe_exception(error)) from error
