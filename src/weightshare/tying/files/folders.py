"""Find the files of a checkpoint: one file, those that an index lists, or those in a folder."""

import json
from collections.abc import Mapping, Sequence
from errno import EINVAL
from pathlib import Path
from typing import Any

from ...errors import DataError, describe_exception

#: Names that transformers and accelerate write, in the order in which transformers looks for them.
KNOWN = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: Endings of checkpoints with other names, as diffusers and others write them.
ENDINGS = (".safetensors", ".safetensors.index.json", ".bin.index.json")
#: Files that identify other kinds of folders, with the content of the folder and what to do.
OTHERS = {
    "adapter_config.json": (
        "a PEFT adapter, which contains only changes to weights",
        "load it with peft, and save the result of merge_and_unload",
    ),
    "model_index.json": ("a diffusers pipeline with one folder per model", "use the folder of one model"),
    ".metadata": (
        "a checkpoint of torch.distributed",
        "convert it with python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE",
    ),
    "zero_to_fp32.py": ("a DeepSpeed checkpoint", "convert it with zero_to_fp32.py from the folder"),
}
#: Ending of the name of an index.
INDEX = ".index.json"


def find_files(where: str, path: Path, readable: str) -> dict[Path, list[str]]:
    """Return the files that contain a checkpoint, with the names that an index lists for each.

    Args:
        where: File to name in errors.
        path: A file, the index of several files, or a folder that contains one of these.
        readable: Requirement on the file, to quote in errors.

    Raises:
        DataError: If there is no checkpoint, or if a file that the index lists is missing.
    """
    try:
        file = _find_in_folder(where, path, readable) if path.is_dir() else path
        if file.exists() and not file.is_file():  # reading from a pipe would wait for its writer
            raise OSError(EINVAL, "something that is not a regular file")
        return _read_index(where, file) if file.name.endswith(INDEX) and file.is_file() else {file: []}
    except OSError as error:
        raise DataError(where, readable, describe_exception(error)) from error


def _find_in_folder(where: str, folder: Path, readable: str) -> Path:
    """Return the file or the index of the checkpoint in a folder."""
    names = sorted(file.name for file in folder.iterdir())
    for name in KNOWN:
        if name in names:
            return folder / name
    for marker, (kind, hint) in OTHERS.items():
        if marker in names:
            raise DataError(where, f"{readable}, or a folder with a checkpoint", kind, hint)
    for ending in ENDINGS:
        found = [name for name in names if name.endswith(ending)]
        if len(found) == 1:
            return folder / found[0]
        if found:
            raise DataError(
                where, "must have one checkpoint", list_names(found), "use the path of one of them"
            )
    got = f"a folder with {list_names(names)}" if names else "an empty folder"
    expected = f"{readable}, or a folder with one of {', '.join(KNOWN)}"
    raise DataError(where, expected, got, "use the path of the file")


def _read_index(where: str, path: Path) -> dict[Path, list[str]]:
    """Return the files that an index lists, with the names in each.

    Raises:
        DataError: If this is not an index, or if a file that it lists is missing or in another folder.
    """
    expected = "must be an index with a weight_map from names to files, as transformers writes it"
    try:
        index: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(where, expected, describe_exception(error)) from error
    names = index.get("weight_map") if isinstance(index, Mapping) else None
    if (
        not isinstance(names, Mapping)
        or not names
        or not all(isinstance(file, str) for file in names.values())
    ):
        raise DataError(where, expected, f"{path.name} without one")
    shards: dict[str, list[str]] = {file: [] for file in sorted(set(names.values()))}
    for name, file in names.items():
        shards[file].append(name)
    if foreign := [file for file in shards if Path(file).name != file]:
        raise DataError(where, f"{path.name} must list files of its own folder", list_names(foreign))
    if missing := [file for file in shards if not (path.parent / file).is_file()]:
        got = f"{len(shards) - len(missing)} of {len(shards)} files, without {list_names(missing)}"
        raise DataError(where, f"must have all files that {path.name} lists", got, "add the missing files")
    return {path.parent / file: listed for file, listed in shards.items()}


def list_names(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    others = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + others
