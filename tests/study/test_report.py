"""The table, the findings and the page of a study: wording, comparisons, and names that must be escaped."""

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
from weightshare.study.comparisons import count_comparisons
from weightshare.study.report.findings import collect_findings
from weightshare.study.report.page import render_page
from weightshare.study.rows import Row
from weightshare.study.summary import summarize
from weightshare.views.escape import escape_controls

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
    return render_page(result)


def test_the_page_has_all_sections_and_pictures(page):
    assert re.findall(r'<h2 id="(\w+)">', page) == [
        "findings", "table", "parameters", "learning", "shift", "kernels", "method"
    ]  # fmt: skip
    for row in ("full", "tiled:2", "lowrank:1", "local", "size-matched to lowrank:1"):
        assert row in page
    # three charts; mean kernels of four sharings, and kernels by position of the three that vary with it
    assert page.count("data:image/svg+xml;base64,") == 3
    assert page.count("data:image/png;base64,") == 4 + 3


def test_the_page_is_self_contained(page):
    assert not re.search(r"https?://", page)
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', page))
    assert not re.search(r"<(link|script|iframe)|@import|url\(", page)


def test_names_from_outside_are_escaped_on_the_page(page):
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>data" not in page


def test_names_from_outside_are_plain_text_in_the_terminal(result):
    text = str(result)
    assert "[red]<b>data" in text
    assert "\x1b" not in text
    named = replace(result, data=replace(result.data, name="a\x1b[31mb\nc"))
    assert "a\\x1b[31mb\\nc" in str(named)
    assert escape_controls("a\u202eb\u2028") == "a\\u202eb\\u2028"


def test_names_with_control_characters_are_written_out(tmp_path):
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


def test_kernel_pictures_state_how_much_varies_with_position(page):
    assert page.count("All positions have the same kernels.") == 1
    assert len(re.findall(r"% of the kernels(&#39;|') energy varies with position", page)) == 3


def with_accuracies(result, **accuracies):
    """Return the result with other test accuracies for some rows, one per seed."""
    trials = []
    for trial in result.trials:
        values = accuracies.get(trial.sharing.replace(":", ""))
        accuracy = trial.accuracy if values is None else values[trial.seed]
        shifted = dict.fromkeys(trial.accuracy_shifted, accuracy)
        trials.append(replace(trial, accuracy=accuracy, train_accuracy=1.0, accuracy_shifted=shifted))
    return replace(result, trials=tuple(trials))


def answer_all(result) -> dict[str, str]:
    """Return the answers of each finding by its question."""
    return {finding.question: " ".join(finding.answers) for finding in collect_findings(result)}


def test_a_clear_difference_is_reported_with_its_interval(result):
    clear = with_accuracies(
        result, full=(0.9, 0.901), tiled2=(0.8, 0.801), lowrank1=(0.9, 0.902), local=(0.7, 0.95)
    )
    answer = answer_all(clear)["Does sharing improve accuracy?"]
    assert "tiled:2 is 10.0 points below full in test accuracy (95% CI 9.7 to 10.3)." in answer
    assert "No clear difference in test accuracy: lowrank:1 vs. full and local vs. full." in answer
    assert "is larger for tiled:2" in answer_all(clear)["Does sharing reduce overfitting?"]


def test_values_without_spread_are_reported_without_a_verdict(result):
    same = (0.996, 0.996)
    fixed = with_accuracies(result, full=(1.0, 1.0), tiled2=same, lowrank1=(1.0, 1.0), local=(0.8, 0.9))
    answers = answer_all(fixed)
    sentence = (
        "With every seed, test accuracy is 99.6% for tiled:2 and 100.0% for full, so this difference has no "
        "confidence interval."
    )
    assert sentence in answers["Does sharing improve accuracy?"]
    assert (
        "No difference in test accuracy with any seed: lowrank:1 vs. full."
        in answers["Does sharing improve accuracy?"]
    )
    assert (
        "No clear difference in test accuracy: local vs. full." in answers["Does sharing improve accuracy?"]
    )
    assert (
        "the gap between training and test accuracy is 0.4 points for tiled:2 and 0.0 points for full"
        in answers["Does sharing reduce overfitting?"]
    )


def with_curves(result, **curves):
    """Return the result with other learning curves for some rows, one per seed."""
    names = {trial.sharing.replace(":", ""): trial.sharing for trial in result.trials}
    given = {names[name]: values for name, values in curves.items()}
    trials = tuple(
        replace(trial, curve_accuracy=given.get(trial.sharing, ([0.1, 1.0],) * 2)[trial.seed])
        for trial in result.trials
    )
    layers = {row.sharing: Row(row.sharing, parse_sharing(row.layer_sharing), row.width, row.matches,
              row.parameters, row.macs) for row in result.summary}  # fmt: skip
    target, summary = summarize(list(layers.values()), trials)
    return replace(result, trials=trials, target=target, summary=tuple(summary))


def test_speed_is_compared_if_every_seed_reached_the_target(result):
    slow = [0.1] * 9
    answer = answer_all(
        with_curves(
            result,
            tiled2=([*slow, 1.0], [*slow, 0.1, 1.0]),
            local=([1.0], [0.1]),
            lowrank1=([1.0, 1.0], [0.1, 1.0]),
        )
    )["Does sharing speed up training?"]
    assert "tiled:2 needs 8.5 more epochs than full (95% CI 2.1 to 14.9)." in answer
    assert "tiled:2 needs 8.5 more epochs than full at width 6 (95% CI" in answer
    assert "No clear difference in the number of epochs to target: lowrank:1 vs. full" in answer
    assert "because not all seeds reached it: local (1 of 2)." in answer
    assert "local vs." not in answer


def test_table_and_page_explain_the_intervals(result):
    number = count_comparisons(result.summary)
    assert number == 4 * 3 + 2 * 2 + 5
    text = " ".join(str(result).split())
    assert (
        "± half-width of the 95% CI over seeds (not over test images); one test image = 33 percentage" in text
    )
    assert f"About {number} comparisons at the 95% level: expect one or two false positives." in text
    page = " ".join(render_page(result).split())
    assert f"About {number} comparisons at the 95% level: expect one or two false positives." in page
    assert f"changes the accuracy by {100 / result.data.test:.2g} percentage points" in page


def with_four_shifts(result):
    rows = [
        replace(row, accuracy_shifted=dict.fromkeys("1234", 0.5), parameters=304_394, macs=4_750_000)
        for row in result.summary
    ]
    return replace(result, summary=tuple(rows))


def test_a_narrow_table_keeps_the_names(result):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(with_four_shifts(result))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    head = text[text.index("para-") : text.index("───")].split()
    assert [word for word in head if word.isdigit()] == ["1", "4"]
    assert "seconds" not in head
    assert "MACs" not in head
    assert "…" not in text
    body = " ".join(text[text.index("───") :].split())
    for name in ("full", "tiled:2", "lowrank:1", "local", "full (width 6,"):
        assert f" {name} " in body
    wide = Console(file=io.StringIO(), width=120, color_system=None)
    wide.print(with_four_shifts(result))
    assert all(word in wide.file.getvalue() for word in ("seconds", "MACs", "1 px", "2 px", "3 px", "4 px"))


def test_one_seed_gives_no_comparisons(result):
    one = replace(
        result,
        spec=replace(result.spec, seeds=1),
        trials=tuple(trial for trial in result.trials if trial.seed == 0),
    )
    answers = answer_all(one)
    assert "One seed does not show" in answers["Which network is most accurate?"]
    assert "Does sharing improve accuracy?" not in answers
    assert not any("points" in answer for answer in answers.values())
    assert "One seed gives no confidence intervals" in render_page(one)


def test_costs_are_counted(result):
    answer = answer_all(result)["What does it cost?"]
    assert "sharing saves memory, not arithmetic" in answer
    assert "lowrank:1 computes 2.0 times as many MACs as full." in answer
