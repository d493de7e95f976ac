"""Sections as HTML: a fragment for notebooks, and one self-contained page that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from .escape import visible
from .section import Section

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment(package: str) -> Environment:
    """Return the environment for the templates of a package, in which all text is escaped.

    jinja2 is imported with the first page: counting alone works without it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def fragment(title: str, sections: Sequence[Section]) -> str:
    """Return the sections as one `<div>`."""
    return environment(__package__).get_template("fragment.html.jinja").render(title=title, sections=sections)


def document(title: str, sections: Sequence[Section]) -> str:
    """Return the sections as a whole page."""
    template = environment(__package__).get_template("document.html.jinja")
    return template.render(title=title, fragment=fragment(title, sections))


def _visible(value: Any) -> Any:
    """Write out control characters in text; safe markup, a subclass of str, keeps its type."""
    return type(value)(visible(value)) if isinstance(value, str) else value
