"""Prose stays plain: habits that make a reader stumble are found by pattern, with what to write instead."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "docs", "examples", "benchmarks", "tools")
UNITS = "axis|position|image|epoch|side|channel|filter|step|layer|call|line|row|class|shift|tap|seed|pixel"
COUNTS = "one|two|three|four|values?|numbers?|taps|inputs|outputs|images|banks|kernels|biases|entry|entries"

#: A pattern, and what to write instead.
HABITS = {
    r"\banew\b": "again, recompute, reinitialize",
    r"\bof (ours|torch's|the user's)(?=[.,;:)]|$| (and|or|as|is|are|in|with|that)\b)": (
        "a `weightshare` layer, a `torch.nn` layer, user-supplied"
    ),
    r"(?<!there )(?<!There )\b(is|are) no (?!longer\b)[a-z]": "is not a, are not",
    rf"\b({COUNTS}) an? ({UNITS})\b": "per: one value per axis",
    r"\bbut for\b": "except",
    r"\bin (its|their) stead\b": "instead",
    r"\bway out\b": "hint",
    r"\bstep size\b": "learning rate",
    r"\btruth values?\b": "booleans",
    r"\bmultiplications with\b": "multiply-accumulates (MACs)",
    r"\d %(?!\s*[\w({}])": "95%, without a space",
    r"\b\w*(optimis|normalis|initialis|quantis|summaris|regularis|generalis|parametris|randomis)\w*": "-ize",
    r"\b\w*(colour|behaviour|neighbour|labell|modell)\w*": "American spelling, as in torch",
}
#: Where one of them is right: names of things outside, and texts about the words themselves.
ALLOWED = {"tests/test_english.py", "docs/images"}
FIRST_WORDS = ("The", "A", "An", "What", "Whether", "Of", "As", "By", "In", "How", "Where", "For", "To")


def texts():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            built = "auto_examples" in name or name.startswith(("docs/build", "docs/api"))
            is_text = path.suffix in (".py", ".pyi", ".md", ".jinja", ".rst", ".html")
            if is_text and not built and not name.startswith(tuple(ALLOWED)):
                yield name, path.read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "Makefile", "pyproject.toml"):
        yield name, (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("habit", HABITS)
def test_habits(habit):
    pattern = re.compile(habit)
    found = [
        f"{name}:{number}: {line.strip()[:90]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"write {HABITS[habit]!r} instead in\n" + "\n".join(found)


def test_docstrings_of_functions_begin_with_a_verb():
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            nouns = any(ast.unparse(d).endswith(("property", "fixture")) for d in node.decorator_list)
            first = (ast.get_docstring(node) or "").partition(" ")[0]
            if first in FIRST_WORDS and not nouns:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {first} ...")
    assert not found, "begin with a verb, or with 'Return':\n" + "\n".join(found)
