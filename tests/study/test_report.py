import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from weightshare import parse_sharing
from weightshare.study import StudySpec, run
from weightshare.study.report.findings import findings
from weightshare.study.report.page import render
from weightshare.study.report.table import as_table, caption
from weightshare.study.rows import Row
from weightshare.study.summary import comparisons, summarise
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


def test_names_that_no_page_can_hold(tmp_path):
    folder = tmp_path / "data\u202e"
    for name in ("cat\udcff", "dog\x1b[31m", "emu\u202egnp"):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(np.full((6, 6), 9 * number, dtype=np.uint8)).save(folder / name / f"{number}.png")
    out = tmp_path / "out\udcff"
    spec = StudySpec(f"folder:{folder}", "full", seeds=1, width=2, epochs_max=1, out=out, accelerator="cpu")
    run(spec)
    page = (out / "report.html").read_text(encoding="utf-8")
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["data"]["class_names"] == ["cat\\udcff", "dog\\x1b[31m", "emu\\u202egnp"]
    for name in results["data"]["class_names"]:
        assert name in page
    assert results["spec"]["data"] == results["data"]["name"] == f"folder:{tmp_path}/data\\u202e"
    assert not re.search("[\udc80-\udcff\x1b\u202e]", page + json.dumps(results, ensure_ascii=False))
    assert json.loads(run(spec).to_json()) == results


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


def test_values_without_spread_are_named_without_a_verdict(result):
    same = (0.996, 0.996)
    fixed = with_accuracies(result, full=(1.0, 1.0), tiled2=same, lowrank1=(1.0, 1.0), local=(0.8, 0.9))
    answers = said(fixed)
    sentence = (
        "With every seed tiled:2 gets 99.6 % and full 100.0 % on the test images: seeds alone cannot "
        "give this "
        "difference an interval."
    )
    assert sentence in answers["Does sharing help or hold back?"]
    assert (
        "The same with every seed on the test images: lowrank:1 as full."
        in answers["Does sharing help or hold back?"]
    )
    assert (
        "No clear difference on the test images: local against full."
        in answers["Does sharing help or hold back?"]
    )
    assert "tiled:2 has 0.4 points and full 0.0 points of gap" in answers["Does sharing regularise?"]
    assert "decide as much" not in str(answers)


def with_curves(result, **curves):
    """The result with other learning curves of some rows, one a seed."""
    names = {trial.sharing.replace(":", ""): trial.sharing for trial in result.trials}
    given = {names[name]: values for name, values in curves.items()}
    trials = tuple(
        replace(trial, curve_accuracy=given.get(trial.sharing, ([0.1, 1.0],) * 2)[trial.seed])
        for trial in result.trials
    )
    layers = {row.sharing: Row(row.sharing, parse_sharing(row.layer_sharing), row.width, row.matches,
              row.parameters, row.macs) for row in result.summary}  # fmt: skip
    target, summary = summarise(list(layers.values()), trials)
    return replace(result, trials=trials, target=target, summary=tuple(summary))


def test_speed_is_compared_where_every_seed_got_there(result):
    slow = [0.1] * 9
    answer = said(
        with_curves(
            result,
            tiled2=([*slow, 1.0], [*slow, 0.1, 1.0]),
            local=([1.0], [0.1]),
            lowrank1=([1.0, 1.0], [0.1, 1.0]),
        )
    )["Does sharing learn faster?"]
    assert "tiled:2 needs 8.5 epochs more than full on the way there (95 % interval 2.1 to 14.9)." in answer
    assert "tiled:2 needs 8.5 epochs more than full at width 6 on the way there" in answer
    assert "No clear difference on the way there: lowrank:1 against full" in answer
    assert "Not every seed gets there, so these are not compared: local (1 of 2 seeds)." in answer
    assert "local against" not in answer


def test_how_to_read_the_intervals(result):
    assert "over seeds, not over test images;\none test image is worth" in caption(result)
    number = comparisons(result.summary)
    assert number == 4 * 3 + 2 * 2 + 5
    text = " ".join(str(result).split())
    assert f"makes about {number} comparisons at 95 %: one in twenty may be chance" in text
    page = " ".join(render(result).split())
    assert f"With about {number} comparisons at 95 %, one in twenty may be chance." in page
    assert f"one is worth {100 / result.data.test:.2g} points" in page


def with_four_shifts(result):
    rows = [
        replace(row, accuracy_shifted=dict.fromkeys("1234", 0.5), parameters=304_394, macs=4_750_000)
        for row in result.summary
    ]
    return replace(result, summary=tuple(rows))


def test_a_narrow_table_keeps_the_names(result):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(as_table(with_four_shifts(result), 80))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    head = text[text.index("para-") : text.index("───")].split()
    assert [word for word in head if word.isdigit()] == ["1", "4"]
    assert "seconds" not in head
    assert "adds" not in head
    assert "…" not in text
    body = " ".join(text[text.index("───") :].split())
    for name in ("full", "tiled:2", "lowrank:1", "local", "full (width 6, as many"):
        assert f" {name} " in body
    wide = Console(file=io.StringIO(), width=120, color_system=None)
    wide.print(as_table(with_four_shifts(result), 120))
    assert all(word in wide.file.getvalue() for word in ("seconds", "adds", "1 px", "2 px", "3 px", "4 px"))


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
