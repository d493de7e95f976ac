"""Configuration of the documentation; `make docs` builds it, and any warning is an error."""

import re
from pathlib import Path

import weightshare
from weightshare.explorer import render_page

project = "weightshare"
REPOSITORY = "https://github.com/weightshare/weightshare"
author = "The weightshare developers"
copyright = author
version = release = weightshare.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["build", "auto_examples/*.ipynb", "auto_examples/*.py", "sg_execution_times.rst"]
html_theme = "furo"
html_title = "weightshare"
html_static_path = ["static"]
html_css_files = ["docs.css"]
highlight_language = "none"
myst_heading_anchors = 3
default_role = "py:obj"
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

autodoc_typehints = "none"  # the signature has them
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autosummary_generate = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [
    "Shape",
    ("Learned parameters", "params_style"),
]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "download_all_examples": False,
    "show_memory": False,
    "abort_on_example_error": True,
    "plot_gallery": True,
    "remove_config_comments": True,
    "show_signature": False,
}

_SECTION = re.compile(r"^(Args|Shape|Learned parameters|Returns|Yields|Raises|Warns|Example|Note):$")
_STAR = re.compile(r"(?<=[\[ (,])\*(?=[\w.])")  # as in [N, C, *size], which is not emphasis


def format_docstring(app, what, name, obj, options, lines):
    """Keep drawings as they are drawn, and tell a layer's learned parameters from its arguments."""
    formatted, in_section, in_drawing = [], False, False
    for number, line in enumerate(lines):
        if line == "Parameters:":
            line = "Learned parameters:"
        elif line.startswith("Source: "):
            line = f"**Source:** {line.removeprefix('Source: ')}"
        in_section = in_section or bool(_SECTION.match(line))
        starts = line.startswith("    ") and number > 0 and not lines[number - 1].strip()
        if starts and not in_section and not in_drawing:
            formatted += ["::", ""]
            in_drawing = True
        in_drawing = in_drawing and (line.startswith("    ") or not line.strip())
        formatted.append(line if in_drawing or ">>>" in line else _STAR.sub(r"\\*", line))
    lines[:] = formatted


def link_to_repository(app, path, *rest):
    """Turn links to files outside of the documentation into links to the repository."""
    text = rest[-1]
    prefix = "docs/" if "CHANGELOG" in str(path) else "../"
    target = "" if prefix == "docs/" else f"{REPOSITORY}/blob/main/"
    text[0] = text[0].replace(f"]({prefix}", f"]({target}")


def write_explorer(app, error):
    """Write the explorer, which docs/explorer.md embeds."""
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "_static" / "explorer.html").write_text(render_page(), encoding="utf-8")


def setup(app):
    """Register the hooks."""
    app.connect("build-finished", write_explorer)
    app.connect("source-read", link_to_repository)
    app.connect("include-read", link_to_repository)
    app.connect("autodoc-process-docstring", format_docstring, priority=100)
    write_api_pages(Path(app.srcdir) / "api")


#: The rooms with public names, in reading order, and what each page is called.
ROOMS = {
    "nn": "Layers",
    "sharing": "Sharings",
    "geometry": "Windows and sizes",
    "functional": "Functions",
    "convert": "Converting",
    "counting": "Counting",
    "explorer": "Explorer",
    "ledger": "Parameter summary",
    "tying": "Weight tying",
    "pattern": "Patterns",
    "symmetry": "Symmetry",
    "study": "The study",
    "diagnose": "The sharing test",
    "models": "Models",
    "testing": "Testing",
    "reference": "The oracle",
    "errors": "Errors",
}


def write_api_pages(folder):
    """Write a page per room, from its `__all__`, so that no public name can be missing."""
    folder.mkdir(exist_ok=True)
    for room, title in ROOMS.items():
        options = ":members:\n   :imported-members:"
        directive = f".. automodule:: weightshare.{room}\n   {options}"
        (folder / f"{room}.md").write_text(f"# {title}\n\n```{{eval-rst}}\n{directive}\n```\n")
