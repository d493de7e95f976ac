"""Images from a folder with one subfolder per class."""

from collections import Counter
from pathlib import Path

import numpy as np

from ...errors import DataError
from .describe import describe_path
from .listing import Listing
from .pixels import CONVERSIONS, Header, read_header, read_pixels
from .raw import Raw

#: Names of the folders of a data set that is split already.
SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
MAX_CLASSES = 1_000
MAX_IMAGES = 200_000
MAX_VALUES = 2**29


def load_folder(folder: Path, name: str, resize: tuple[int, int] | None = None) -> Raw:
    """Load every image in every subfolder. The classes are the names of the subfolders, sorted.

    If the subfolders are `train` and `test`, they contain those of the classes. The images in `val` belong to
    the training set, or are the test set if `test` is missing. Hidden and system files, files that are
    not images, and the folders of studies are skipped. If any image has colors, all get three channels.

    Args:
        folder: Path of the folder.
        name: Name of the data.
        resize: Height and width to which images are scaled; by default, all must have the same size.

    Raises:
        DataError: If classes or images are missing, if an image is outside the folder of a class, if an entry
            is a link or a damaged image, or if sizes differ.
    """
    if (got := describe_path(folder)) != "a folder":
        raise DataError(name, "must be a folder with one subfolder of images per class", got)
    listing = Listing(folder, name)
    places = listing.list_folders(folder)
    splits = _find_splits(places, name)
    parts = {split: listing.list_folders(place) for split, place in splits.items()} or {"train": places}
    class_names = [place.name for place in parts["train"]]
    if len(class_names) > MAX_CLASSES:
        raise DataError(name, f"must have at most {MAX_CLASSES:,} classes", f"{len(class_names):,}")
    found = {split: _list_labeled(listing, places, class_names) for split, places in parts.items()}
    notes = [*listing.describe(), *_describe_splits(splits)]
    test = found.pop("test" if "test" in found else "validation", [])
    train = [labeled for part in found.values() for labeled in part]
    pixels, conversions = _read([file for file, _ in (*train, *test)], listing, resize)
    labels, count = np.array([label for _, label in (*train, *test)]), len(train)
    x_test, y_test = (pixels[count:], labels[count:]) if test else (None, None)
    notes = (*notes, *conversions)
    return Raw(name, pixels[:count], labels[:count], tuple(class_names), x_test, y_test, notes)


def _find_splits(places: list[Path], name: str) -> dict[str, Path]:
    """Return the folders for training, validation and test; empty if the folders are classes."""
    groups = {s: [p for p in places if p.name.lower() in known] for s, known in SPLITS.items()}
    if sum(map(len, groups.values())) < len(places) or not groups["train"] or len(places) < 2:
        return {}
    for split, group in groups.items():
        if len(group) > 1:
            got = " and ".join(place.name for place in group)
            raise DataError(name, f"must have at most one folder for {split}", got, "merge them")
    return {split: group[0] for split, group in groups.items() if group}


def _describe_splits(splits: dict[str, Path]) -> list[str]:
    if not splits:
        return []
    names = {split: f"{place.name!r}" for split, place in splits.items()}
    if "test" not in names:
        return [f"The test images are those in {names['validation']}."]
    notes = [f"The test images are those in {names['test']}."]
    if "validation" in names:
        notes.append(f"The images in {names['validation']} were added to those in {names['train']}.")
    return notes


def _list_labeled(listing: Listing, places: list[Path], class_names: list[str]) -> list[tuple[Path, int]]:
    """Return the images in the folders of classes, each with the number of its class."""
    labeled: list[tuple[Path, int]] = []
    for place in places:
        if place.name not in class_names:
            where = listing.label(place)
            raise DataError(
                where, "every class must have training images", "none for this class", "add or remove it"
            )
        label = class_names.index(place.name)
        labeled += [(file, label) for file in listing.list_images(place)]
    return labeled


def _read(
    files: list[Path], listing: Listing, resize: tuple[int, int] | None
) -> tuple[np.ndarray, list[str]]:
    """Return the pixels of all images [N, C, H, W], and how they were converted, as sentences."""
    name = listing.name
    if len(files) > MAX_IMAGES:
        raise DataError(name, f"must contain at most {MAX_IMAGES:,} images", f"{len(files):,}")
    headers = [read_header(file, listing.label(file), resize is not None) for file in files]
    depths = {header.depth for header in headers}
    if 32 in depths and len(depths) > 1:
        got = f"images with {' and '.join(map(str, sorted(depths)))} bits"
        raise DataError(name, "images of 32 bits per value must not be mixed with others", got)
    channels = 3 if any(header.has_color for header in headers) else 1
    height, width = _find_common_size(files, headers, listing) if resize is None else resize
    shape = (len(files), channels, height, width)
    if np.prod(shape, dtype=object) > MAX_VALUES:
        hint = "use fewer or smaller images"
        raise DataError(
            name, f"must contain at most {MAX_VALUES:,} pixel values", f"{np.prod(shape):,}", hint
        )
    pixels = np.empty(shape, dtype=np.uint8 if depths == {8} else np.float32)
    done: Counter[str] = Counter()
    for file, target in zip(files, pixels):
        target[...], conversions = read_pixels(file, listing.label(file), channels, resize)
        done.update(conversions)
    counts = {text: done[key] for key, text in CONVERSIONS.items() if done[key]}
    return pixels, [f"{n:,} image{'s were' if n > 1 else ' was'} {text}." for text, n in counts.items()]


def _find_common_size(files: list[Path], headers: list[Header], listing: Listing) -> tuple[int, int]:
    """Return the size of all images."""
    for file, header in zip(files, headers):
        if header.size != headers[0].size:
            sizes = [
                f"{h} x {w} ({listing.label(f).removeprefix(f'{listing.name}, ')})"
                for f, (h, w) in ((files[0], headers[0].size), (file, header.size))
            ]
            hint = 'give the size to which to scale them, such as resize="64x64"'
            raise DataError(listing.name, "all images must have the same size", " and ".join(sizes), hint)
    return headers[0].size
