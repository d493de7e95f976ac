"""Assemble the page: one HTML file that makes no request, under a strict content security policy."""

import base64
import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from ..errors import ArgumentError
from ..views.escape import escape_controls
from ..views.page import make_environment

_PACKAGE = "weightshare.explorer"


def render_page(
    state: dict[str, Any] | None = None,
    title: str = "weightshare explorer",
    text: str = "",
    *,
    data: bool = True,
) -> str:
    """Return the page as HTML.

    Args:
        state: State that the page shows first, as JSON-compatible data; None for the start of the tour.
        title: Title of the document.
        text: Safe HTML that is shown below the explorer.
        data: Whether to include the trained networks, images and measured figures. Without them, the chapters
            that need them are left out.

    Raises:
        ArgumentError: If the state is not JSON-compatible.
    """
    script, style = _read_built("explorer.js"), _read_built("explorer.css") + _read_text("page.css")
    values: dict[str, Any] = {"data": _read_data() if data else {}}
    if state is not None:
        values["state"] = state
    # the script keeps its control characters, because the policy holds its hash
    environment = make_environment(_PACKAGE).overlay(finalize=None)
    return environment.get_template("page.html.jinja").render(
        title=escape_controls(title),
        script=script,
        style=style,
        values=_to_script_json(values),
        text=text,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def render_frame(page: str, title: str, height: int = 760) -> str:
    """Return a page as a sandboxed frame for the output cell of a notebook.

    Args:
        page: The page as HTML.
        title: Name of the frame for screen readers.
        height: Height in pixels.
    """
    return (
        f'<iframe title="{escape(title)}" srcdoc="{escape(page)}" sandbox="allow-scripts allow-downloads" '
        f'width="100%" height="{height}" style="border:0"></iframe>'
    )


@cache
def _read_built(name: str) -> str:
    return (files(_PACKAGE) / "built" / name).read_text("utf-8")


@cache
def _read_text(name: str) -> str:
    return (files(_PACKAGE) / name).read_text("utf-8")


@cache
def _read_data() -> dict[str, Any]:
    """Return the data files by name, without their extension."""
    folder = files(_PACKAGE) / "data"
    if not folder.is_dir():
        return {}
    paths = sorted(
        (path for path in folder.iterdir() if path.name.endswith(".json")), key=lambda path: path.name
    )
    return {path.name.removesuffix(".json"): json.loads(path.read_text("utf-8")) for path in paths}


def _to_script_json(values: Any) -> str:
    """Return JSON that cannot end the script element in which it is."""
    try:
        text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError("render_page", "state must be JSON-compatible", str(error)) from None
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    """Return the source of a content security policy that allows exactly this text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
