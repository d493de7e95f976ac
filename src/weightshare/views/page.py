"""Sections as HTML: a fragment for notebooks, or a self-contained page that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from .escape import escape_controls
from .section import Section

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def make_environment(package: str) -> Environment:
    """Return an environment for the templates of a package in which all text is escaped.

    jinja2 is imported here, so that counting works without it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        finalize=_escape_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_fragment(
    title: str, sections: Sequence[Section], with_style: bool = True, level: int = 2, body: str = ""
) -> str:
    """Return the sections as one `<div>`.

    Args:
        with_style: Whether the `<div>` contains its style sheet.
        level: Level of the title's heading, 1 to 5; sections are one level below.
        body: HTML between the title and the sections.
    """
    template = make_environment(__package__).get_template("fragment.html.jinja")
    return template.render(title=title, sections=sections, with_style=with_style, level=level, body=body)


def render_document(title: str, sections: Sequence[Section], body: str = "") -> str:
    """Return the body and the sections as a complete HTML page."""
    template = make_environment(__package__).get_template("document.html.jinja")
    return template.render(title=title, fragment=render_fragment(title, sections, level=1, body=body))


def _escape_text(value: Any) -> Any:
    """Escape control characters in text. Safe markup, a subclass of `str`, keeps its type and its lines."""
    if not isinstance(value, str):
        return value
    lines = value.split("\n") if hasattr(value, "__html__") else [value]
    return type(value)("\n".join(map(escape_controls, lines)))
