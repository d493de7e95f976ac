"""Write the images of the explorer's feature maps: python -m tools.explorer_images

The photographs come with scikit-learn and scikit-image. They are cropped to a square, converted to gray and
reduced.
Pages of the task of `tools.explorer_aligned` are included as examples.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

from . import explorer_aligned
from .blocks import ROOT

PATH = ROOT / "src/weightshare/explorer/data/images.json"
SIDE = 96
PAGES = 3
CC0 = ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/")
BY_2 = ("CC BY 2.0", "https://creativecommons.org/licenses/by/2.0/")
BY_4 = ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/")
CHANGES = f"Cropped to a square, converted to gray and reduced to {SIDE} × {SIDE} pixels."
DIGITS = "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits"


def main(path: Path = PATH) -> None:
    """Write the images, their credits and their licenses."""
    path.write_text(json.dumps(make_images(), indent=1, ensure_ascii=False) + "\n", "utf-8")


def make_images() -> dict[str, Any]:
    """Return the images as data that JSON can hold; pixels are bytes in base64, row by row."""
    china = load_sample_image("china.jpg")
    china_url = "https://www.flickr.com/photos/danielbuechele/6061409035/"
    bricks_url = "https://cc0textures.com/view.php?tex=Bricks25"
    docs = "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data."
    return {
        "command": "python -m tools.explorer_images",
        "changes": CHANGES,
        "images": [
            make_image("camera", "a cameraman", skimage.data.camera(), "Lav Varshney", f"{docs}camera", CC0),
            make_image("tower", "a tower", china, "danielbuechele", china_url, BY_2),
            make_image("bricks", "a brick wall", skimage.data.brick(), "CC0Textures", bricks_url, CC0),
            make_image("cup", "a cup", skimage.data.coffee(), "Rachel Michetti", f"{docs}coffee", CC0),
        ],
        "pages": make_pages(),
    }


def make_image(
    name: str, title: str, image: np.ndarray, author: str, source: str, license: tuple[str, str]
) -> dict[str, Any]:
    """Return one photograph with its credit.

    Args:
        name: Name in links.
        title: What the photograph shows, in words that fit into a sentence.
        image: Pixels [H, W] or [H, W, 3], of which the square in the middle is used.
        author: Author, as the license wants to be credited.
        source: Address of the original.
        license: Name and address of the license.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side]).convert("L")
    small = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return {
        "name": name,
        "title": title,
        "author": author,
        "source": source,
        "license": license[0],
        "license_url": license[1],
        **encode(small),
    }


def make_pages() -> dict[str, Any]:
    """Return the same numbers on aligned and on shifted pages, as in `tools.explorer_aligned`."""
    images, labels = load_digits(return_X_y=True)
    digits = (images.reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8)
    pages: dict[str, Any] = {
        "author": "E. Alpaydin and C. Kaynak",
        "source": DIGITS,
        "license": BY_4[0],
        "license_url": BY_4[1],
    }
    for kind in ("aligned", "shifted"):
        drawn, left = explorer_aligned.make_pages(digits, labels, PAGES, kind == "shifted", seed=2)
        pages[kind] = [{"label": int(label), **encode(page)} for page, label in zip(drawn, left)]
    return pages


def encode(image: np.ndarray) -> dict[str, Any]:
    """Return a gray image [H, W] as data that JSON can hold."""
    height, width = image.shape
    return {"width": width, "height": height, "pixels": base64.b64encode(image.tobytes()).decode()}


if __name__ == "__main__":
    main()
