"""Write the questions of the explorer into docs/explorer.md: python -m tools.explorer_questions

Needs Node, which reads them from `web/src/chapters`.
"""

import json
import subprocess

from .blocks import ROOT, replace_block

PAGE = ROOT / "docs" / "explorer.md"
CODE = """
import {{ QUESTIONS }} from "{folder}/tour.js";
import {{ CHAPTERS }} from "{folder}/index.js";
console.log(JSON.stringify([QUESTIONS, CHAPTERS.map(({{ id, name }}) => ({{ id, name }}))]));
"""


def read_questions() -> list[tuple[str, list[dict[str, str]]]]:
    """Return the name of each chapter and its questions."""
    code = CODE.format(folder=(ROOT / "web" / "src" / "chapters").as_uri())
    command = ["node", "--input-type=module", "--eval", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    questions, chapters = json.loads(done.stdout)
    return [
        (chapter["name"], [one for one in questions if one["chapter"] == chapter["id"]])
        for chapter in chapters
    ]


def write_block() -> str:
    """Return the questions as a list of links for each chapter."""
    lines = []
    for name, questions in read_questions():
        lines += [f"**{name}**", ""]
        for question in questions:
            link = f"_static/explorer.html#q={question['id']}"
            lines.append(f'- <a href="{link}">{question["question"]}</a>')
        lines.append("")
    return "\n".join(lines[:-1])


if __name__ == "__main__":
    replace_block(PAGE, write_block(), "questions")
