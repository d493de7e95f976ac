"""Read the layers of a Keras file: `.h5`, `.weights.h5` and `.keras`, of Keras 2 and 3."""

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, DataError, MissingExtraError

_WEIGHTS = "model.weights.h5"
_CONFIG = "config.json"
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


class StoredLayer(NamedTuple):
    """A layer in a file, with the methods of a Keras layer that `from_keras` calls.

    Args:
        class_name: Name of its class; None if the file contains only weights.
        weights: Its arrays in the order of `get_weights()`.
        config: Its constructor arguments.
        build_config: Shape of its input, if the file contains it.
    """

    class_name: str | None
    weights: list[np.ndarray]
    config: dict[str, Any]
    build_config: dict[str, Any] | None

    def get_weights(self) -> list[np.ndarray]:
        return self.weights

    def get_config(self) -> dict[str, Any]:
        return self.config

    def get_build_config(self) -> dict[str, Any] | None:
        return self.build_config


def read_stored_layer(where: str, path: str | PathLike[str], name: str | None) -> StoredLayer:
    """Return a layer of a file by name; None selects the only layer with weights.

    Raises:
        MissingExtraError: If h5py is not installed.
        DataError: If the file is missing or is not a Keras file.
        ArgumentError: If the file has no layer of that name, or has several layers and no name is given.
    """
    layers = _read_layers(where, path)
    names = ", ".join(map(repr, layers)) if layers else "none"
    if name is None and len(layers) == 1:
        return next(iter(layers.values()))
    if name not in layers:
        expected = f"name must be that of a layer with weights in {fspath(path)}"
        raise ArgumentError(where, expected, repr(name), f"the layers with weights are {names}")
    return layers[name]


def _read_layers(where: str, path: str | PathLike[str]) -> dict[str, StoredLayer]:
    """Return the layers that have weights, by name."""
    try:
        import h5py
    except ImportError:
        raise MissingExtraError.for_package(where, "h5py", "keras") from None
    if not Path(path).is_file():
        raise DataError(where, "the file must exist", fspath(path))
    expected = f"{fspath(path)} must be an .h5, .weights.h5 or .keras file"
    config, data = None, path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if not {_WEIGHTS, _CONFIG} <= set(archive.namelist()):
                got = f"an archive without {_WEIGHTS} or {_CONFIG}"
                raise DataError(where, expected, got)
            config, data = json.loads(archive.read(_CONFIG)), io.BytesIO(archive.read(_WEIGHTS))
    elif not h5py.is_hdf5(path):
        raise DataError(where, expected, "another format")
    with h5py.File(data, "r") as file:
        if config is None and "model_config" in file.attrs:
            config = json.loads(_to_text(file.attrs["model_config"]))
        if _find_container(file) is None:
            arrays = dict(_iter_legacy(file.get("model_weights", file), h5py))
        elif config is None:
            arrays = dict(_iter_unnamed(file, h5py))
        else:
            arrays = dict(_iter_named(file, config))
    entries = {} if config is None else dict(_iter_entries(config))
    return {name: _make_layer(entries.get(name, {}), weights) for name, weights in arrays.items() if weights}


def _make_layer(entry: Mapping[str, Any], weights: list[np.ndarray]) -> StoredLayer:
    return StoredLayer(entry.get("class_name"), weights, entry.get("config", {}), entry.get("build_config"))


def _list_entries(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the layers of a model in the order in which Keras stores them."""
    inner = config.get("config", {})
    return inner.get("layers", []) if isinstance(inner, dict) else inner  # a list in the oldest files


def _iter_entries(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and configuration of each layer of a model and of the models inside it.

    Files in the `.h5` format store an input shape only at the start of a model.
    """
    shape = None
    for entry in _list_entries(config):
        given = entry["config"]
        shape = given.get("batch_input_shape", given.get("batch_shape", shape))
        if shape is not None and entry["class_name"] != "InputLayer" and entry.get("build_config") is None:
            entry = {**entry, "build_config": {"input_shape": shape}}
        yield given["name"], entry
        yield from _iter_entries(entry)
        is_input = entry["class_name"] == "InputLayer" and config["class_name"] == "Sequential"
        shape = shape if is_input else None


def _iter_legacy(file: Any, h5py: Any) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the name and arrays of each layer from groups that list their weights, e.g. "conv/kernel:0"."""
    arrays: dict[str, list[np.ndarray]] = {}
    for group in file.values():
        if not isinstance(group, h5py.Group):
            continue
        for path in map(_to_text, group.attrs.get("weight_names", [])):
            arrays.setdefault(path.split("/")[-2] if "/" in path else path, []).append(group[path][()])
    yield from arrays.items()


def _iter_unnamed(group: Any, h5py: Any) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the name and arrays of each layer of a file without configuration.

    Keras 3 stores the names of the layers. tf_keras stores only paths derived from the classes, such as
    "conv2d_1" or, in a model inside the model, "sequential/conv2d".
    """
    for key, child in group.items():
        if key == "vars" and isinstance(child, h5py.Group):
            path = "/".join(part for part in group.name.split("/")[1:] if part not in _CONTAINERS)
            yield _to_text(child.attrs.get("name", path)), _read_variables(child)
        elif isinstance(child, h5py.Group):
            yield from _iter_unnamed(child, h5py)


def _iter_named(group: Any, config: Mapping[str, Any]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the name and arrays of each layer. The key of a group consists of the class and a number."""
    container, used = _find_container(group), {}
    for entry in _list_entries(config):
        key = _to_snake_case(entry["class_name"])
        used[key] = used.get(key, -1) + 1
        stored = None if container is None else container.get(f"{key}_{used[key]}" if used[key] else key)
        if stored is None:
            continue
        if "vars" in stored:
            yield entry["config"]["name"], _read_variables(stored["vars"])
        yield from _iter_named(stored, entry)


def _find_container(group: Any) -> Any:
    return next((group[name] for name in _CONTAINERS if name in group), None)


def _read_variables(group: Any) -> list[np.ndarray]:
    return [group[key][()] for key in sorted((key for key in group if key.isdigit()), key=int)]


def _to_snake_case(name: str) -> str:
    """Return a class name as Keras writes it in files.

    >>> _to_snake_case("LocallyConnected2D"), _to_snake_case("Conv2D")
    ('locally_connected2d', 'conv2d')
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _to_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
