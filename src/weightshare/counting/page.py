"""An explanation as HTML: a fragment for notebooks, and one self-contained page."""

from __future__ import annotations

import os
import secrets
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from .sections import sections, title

if TYPE_CHECKING:
    from jinja2 import Environment

    from .explanation import Explanation

_FRAGMENT = """\
<div class="weightshare-explain">
<style>
.weightshare-explain { max-width: 60rem; line-height: 1.5; }
.weightshare-explain table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
.weightshare-explain td, .weightshare-explain th { padding: .15rem .8rem .15rem 0; vertical-align: top; }
.weightshare-explain .l { text-align: left; }
.weightshare-explain .r { text-align: right; white-space: nowrap; }
.weightshare-explain h2 { font-size: 1.2em; }
.weightshare-explain h3 { font-size: 1em; margin: 1.2rem 0 .2rem; }
</style>
<h2><code>{{ title }}</code></h2>
{%- for section in sections %}
{%- if section.title %}
<h3>{{ section.title }}</h3>
{%- endif %}
{%- if section.rows %}
<table>
{%- if section.head %}
<thead><tr>
{%- for cell in section.head -%}
<th scope="col" class="{{ section.align[loop.index0] }}">{{ cell }}</th>
{%- endfor -%}
</tr></thead>
{%- endif %}
<tbody>
{%- for row in section.rows %}
<tr>
{%- for cell in row -%}
{%- if loop.first %}<th scope="row" class="l">{{ cell }}</th>
{%- else %}<td class="{{ section.align[loop.index0] }}">{{ cell }}</td>{% endif -%}
{%- endfor -%}
</tr>
{%- endfor %}
</tbody></table>
{%- endif %}
{%- for line in section.lines %}
<p>{{ line }}</p>
{%- endfor %}
{%- endfor %}
</div>
"""

_DOCUMENT = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>body { font-family: system-ui, sans-serif; margin: 2rem; } body > div { overflow-x: auto; }</style>
</head>
<body>
{{ fragment | safe }}
</body>
</html>
"""


@cache
def _pages() -> Environment:
    """Loaded by the first page: counting alone does not need it."""
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined)


def fragment(answer: Explanation) -> str:
    """The sections as one `<div>`, every text in it escaped."""
    return _pages().from_string(_FRAGMENT).render(title=title(answer), sections=sections(answer))


def document(answer: Explanation) -> str:
    """A whole page that loads nothing."""
    return _pages().from_string(_DOCUMENT).render(title=title(answer), fragment=fragment(answer))


def write(path: str | PathLike[str], content: str) -> None:
    """Put `content` at `path` in one step, through a file beside it.

    Raises:
        ArgumentError: a path that is not a plain file's, or cannot be written.
    """
    target = Path(path)
    beside = target.parent / f".weightshare-{secrets.token_hex(8)}.tmp"
    try:
        if target.exists() and not target.is_file():
            raise OSError("it is there and is not a plain file")
        with open(beside, "x", encoding="utf-8") as file:
            file.write(content)
        os.replace(beside, target)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ArgumentError(
            "page",
            "must go to a file that can be written",
            f"{os.fspath(path)!r} ({reason})",
            "name another file",
        ) from None
    finally:
        _remove(beside)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except (OSError, ValueError):
        return
