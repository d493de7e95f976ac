"""The README's Python and the examples run and print what they say."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_readme_python(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "torch.Size([8, 16, 32, 32])" in printed
    assert "7,168" in printed


@pytest.mark.parametrize("page", ["consistency", "ledger", "moving", "symmetry", "tying"])
def test_a_pages_python(page, capsys, tmp_path, monkeypatch):
    """The page's examples, one after another; what a line prints stands behind it."""
    monkeypatch.chdir(tmp_path)
    code = "".join(re.findall(r"```python\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(), re.DOTALL))
    exec(compile(code, f"{page}.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    said = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert len(printed) == len(said)
    assert all(comment.startswith(line) for comment, line in zip(said, printed))
    assert (tmp_path / "layer.onnx").exists() == (page == "moving")


def test_the_tables_of_symmetry_are_what_the_code_computes(tmp_path):
    page = tmp_path / "symmetry.md"
    page.write_text((ROOT / "docs/symmetry.md").read_text())
    runpy.run_path(str(ROOT / "docs/symmetry.py"))["main"](str(page))
    assert page.read_text() == (ROOT / "docs/symmetry.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example(path, capsys):
    assert len(path.read_text().splitlines()) < 60
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out
