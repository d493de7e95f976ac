import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from weightshare.study import StudySpec, run
from weightshare.study.findings import findings
from weightshare.study.report import render
from weightshare.views.escape import visible

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "[red]<b>data"
    for name, shade in ((EVIL.replace("/", "∕"), 40), ("[bold]\x1b[31mdog", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            pixels = np.full((6, 6), shade + 5 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    sharings = "full,tiled:2,lowrank:1,local"
    return run(StudySpec(f"folder:{folder}", sharings, seeds=2, width=3, epochs_max=2, accelerator="cpu"))


@pytest.fixture(scope="module")
def page(result):
    return render(result)


def test_sections(page):
    assert re.findall(r'<h2 id="(\w+)">', page) == [
        "findings", "table", "parameters", "learning", "shift", "kernels", "method"
    ]  # fmt: skip
    for row in ("full", "tiled:2", "lowrank:1", "local", "as many parameters as lowrank:1"):
        assert row in page
    # three charts; mean kernels of four sharings, and by position of the three that differ by position
    assert page.count("data:image/svg+xml;base64,") == 3
    assert page.count("data:image/png;base64,") == 4 + 3


def test_the_page_needs_nothing_else(page):
    assert not re.search(r"https?://", page)
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', page))
    assert not re.search(r"<(link|script|iframe)|@import|url\(", page)


def test_names_from_outside_are_escaped_on_the_page(page):
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>data" not in page


def test_names_from_outside_are_text_in_the_terminal(result):
    text = str(result)
    assert "[red]<b>data" in text
    assert "\x1b" not in text
    named = replace(result, data=replace(result.data, name="a\x1b[31mb\nc"))
    assert "a\\x1b[31mb\\nc" in str(named)
    assert visible("a\u202eb\u2028") == "a\\u202eb\\u2028"


def test_pictures_say_which_channel_differs(page):
    assert page.count("The same kernels everywhere.") == 1
    assert len(re.findall(r"% of the kernels(&#39;|') energy differs by position", page)) == 3


def with_accuracies(result, **accuracies):
    """The result with other test accuracies of some rows, one a seed."""
    trials = []
    for trial in result.trials:
        values = accuracies.get(trial.sharing.replace(":", ""))
        accuracy = trial.accuracy if values is None else values[trial.seed]
        shifted = dict.fromkeys(trial.accuracy_shifted, accuracy)
        trials.append(replace(trial, accuracy=accuracy, train_accuracy=1.0, accuracy_shifted=shifted))
    return replace(result, trials=tuple(trials))


def said(result) -> dict[str, str]:
    return {finding.question: " ".join(finding.answers).replace("\xa0", " ") for finding in findings(result)}


def test_a_clear_difference_is_said_with_its_interval(result):
    clear = with_accuracies(
        result, full=(0.9, 0.901), tiled2=(0.8, 0.801), lowrank1=(0.9, 0.902), local=(0.7, 0.95)
    )
    answer = said(clear)["Does sharing help or hold back?"]
    assert (
        "tiled:2 gets 10.0 points fewer than full on the test images (95 % interval 9.7 to 10.3)." in answer
    )
    assert "No clear difference on the test images: lowrank:1 against full and local against full." in answer
    assert "tiled:2 loses" in said(clear)["Does sharing regularise?"]


def test_one_seed_decides_nothing(result):
    one = replace(
        result,
        spec=replace(result.spec, seeds=1),
        trials=tuple(trial for trial in result.trials if trial.seed == 0),
    )
    answers = said(one)
    assert "one seed" in answers["Which network is most accurate?"]
    assert "Does sharing help or hold back?" not in answers
    assert not any("points" in answer for answer in answers.values())
    assert "With one seed there are no intervals" in render(one)


def test_costs_are_counted(result):
    answer = said(result)["What does it cost?"]
    assert "sharing saves memory, not arithmetic" in answer
    assert "lowrank:1 needs 2.0 times the multiply-adds" in answer
