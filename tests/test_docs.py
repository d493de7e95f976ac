"""The pages are true: their Python runs and prints what they show, and outputs are those of the commands."""

import doctest
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

import weightshare
from tools import api_surface, outputs, pictures, symmetry_tables

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
#: Pages with Python blocks whose `print(...)  # output` comments are compared.
PRINTING = [
    "README.md",
    *(
        f"docs/{name}.md"
        for name in ("checkpoints", "consistency", "ledger", "moving", "sharing_test", "symmetry", "tying")
    ),
]


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PRINTING)
def test_python_blocks_print_what_their_comments_say(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "".join(re.findall(r"```python\n(.*?)```", read(page), re.DOTALL))
    exec(compile(code, page, "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    comments = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    if page == "README.md":
        assert comments[0] == printed[0]
        assert any("7,168" in line for line in printed)
        return
    assert len(printed) == len(comments)
    assert all(comment.startswith(line) for comment, line in zip(comments, printed))
    assert (tmp_path / "layer.onnx").exists() == (page == "docs/moving.md")


@pytest.mark.parametrize("page", [page for page in PAGES if "```pycon" in read(page)])
def test_sessions_are_as_shown(page):
    names, failures = {}, 0
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for block in re.finditer(r"```pycon\n(.*?)```", read(page), re.DOTALL):
        session = doctest.DocTestParser().get_doctest(block[1], names, page, page, 0)
        failures += runner.run(session, clear_globs=False).failed
        names |= session.globs
    assert not failures


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- output -->" in read(page)])
def test_outputs_are_those_of_the_commands(page):
    assert outputs.write_outputs(read(page)) == read(page), "run `make outputs`"


def test_tables_of_the_symmetry_page_are_what_the_code_computes(tmp_path):
    page = tmp_path / "symmetry.md"
    page.write_text(read("docs/symmetry.md"))
    symmetry_tables.main(str(page))
    assert page.read_text() == read("docs/symmetry.md"), "run `make symmetry-tables`"


def test_the_pictures_are_those_that_the_code_draws(tmp_path):
    pictures.main(tmp_path)
    drawn = sorted(tmp_path.iterdir())
    assert len(drawn) == 5
    for path in drawn:
        texts = path.read_text(), read(f"docs/images/{path.name}")
        words = [re.findall(r">([^<>]+)</text>", text) for text in texts]
        assert words[0] == words[1], "run `make pictures`"
        assert len(words[0]) > 10


def test_the_api_reference_lists_every_public_name():
    page = read("docs/api/index.md")
    for name in weightshare.__all__:
        if name != "__version__":
            assert re.search(rf"^ *{name}$", page, re.MULTILINE), f"docs/api/index.md does not list {name}"


def test_the_public_surface_is_the_one_on_record():
    """Names and signatures change only on purpose: `make api-surface` writes the file again."""
    assert api_surface.list_surface() == api_surface.GOLDEN.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example(path, capsys):
    assert len(path.read_text().splitlines()) < 60
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.long
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_relative_links_of_the_pages_lead_somewhere():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    folders = {str(parent) for file in files for parent in Path(file).parents}
    for page in [*PAGES, "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#]+)", read(page)):
            if not re.match(r"[a-z]+:", link):
                target = (ROOT / page).parent.joinpath(link).resolve().relative_to(ROOT)
                known = str(target) in files or str(target) in folders
                assert known or target.parts[:2] == ("docs", "auto_examples"), f"{page}: {link}"
