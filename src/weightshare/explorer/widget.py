"""The explorer as a widget of a notebook, whose state Python reads and sets. Needs anywidget."""

from typing import Any

from ..errors import MissingExtraError
from .page import _read_built, _read_data

try:
    import anywidget
    import traitlets
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("anywidget", "traitlets"):
        raise
    raise MissingExtraError.for_package("Explorer", "anywidget", extra="notebook") from error


class Explorer(anywidget.AnyWidget):
    """Show the explorer in a notebook (JupyterLab, Jupyter Notebook, VS Code, Colab or marimo).

    `state` and the page change together: an action in the page sets `state`, and an assignment to `state`
    redraws the page. Changes inside the dictionary are not detected, so assign a new dictionary.

    Args:
        state: State that the page shows first, as JSON-compatible data; None for the start of the tour. A
            field that cannot be read is replaced by its default, and the page shows a note.
        data: Whether to include the trained networks, images and measured figures. Without them, the chapters
            that need them are left out.

    Raises:
        MissingExtraError: If anywidget is not installed.

    Example:
        >>> from weightshare.explorer import Explorer
        >>> widget = Explorer({"chapter": "connections", "layer": {"sharing": "tiled:2"}})
        >>> widget.state["chapter"]
        'connections'
        >>> widget.state = {**widget.state, "chapter": "counts"}
    """

    _esm = _read_built("explorer.js")
    _css = _read_built("explorer.css")

    state = traitlets.Dict(help="State of the page.").tag(sync=True)
    data = traitlets.Dict(help="Data files of the page by name.").tag(sync=True)

    def __init__(self, state: dict[str, Any] | None = None, data: bool = True):
        super().__init__(state={} if state is None else state, data=_read_data() if data else {})
