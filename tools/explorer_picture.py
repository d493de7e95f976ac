"""Record docs/images/explorer.gif, the picture of the explorer in README.md: python -m tools.explorer_picture

Needs Chromium, which Playwright drives.
"""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from weightshare.explorer import render_page

from .blocks import ROOT

PATH = ROOT / "docs" / "images" / "explorer.gif"
WIDTH, HEIGHT, COLORS = 940, 700, 96
STEP, PAUSE = 350, 2600  # milliseconds


def take(page: Page) -> Image.Image:
    """Return what the page shows."""
    page.wait_for_timeout(80)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def record(page: Page, address: str) -> list[tuple[Image.Image, int]]:
    """Return the frames with their durations."""
    frames: list[tuple[Image.Image, int]] = []
    page.goto(f"{address}#q=sharing")
    frames.append((take(page), PAUSE))
    frames += step(page, 10)
    for question in ("local", "same-weight", "alexnet", "shift"):
        page.goto(f"{address}#q={question}")
        frames.append((take(page), PAUSE))
        if question == "local":
            frames += step(page, 6)
    return frames


def step(page: Page, times: int) -> list[tuple[Image.Image, int]]:
    """Return a frame for each step of the window. The page does not scroll to the button."""
    frames: list[tuple[Image.Image, int]] = []
    for _ in range(times):
        page.get_by_role("button", name="Step", exact=True).dispatch_event("click")
        frames.append((take(page), STEP))
    return frames


def main() -> None:
    """Write the picture."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "explorer.html"
        path.write_text(render_page(), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        frames = record(page, path.as_uri())
        browser.close()
    together = Image.new("RGB", (WIDTH, HEIGHT * len(frames)))
    for place, (image, _) in enumerate(frames):
        together.paste(image, (0, HEIGHT * place))
    palette = together.quantize(COLORS)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image, _ in frames]
    durations = [duration for _, duration in frames]
    images[0].save(
        PATH, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True, disposal=1
    )
    print(f"{PATH.relative_to(ROOT)}: {PATH.stat().st_size:,} bytes, {len(images)} frames")


if __name__ == "__main__":
    main()
