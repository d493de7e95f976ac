"""The findings, the table and the page of a study: wording, comparisons and escaping."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from typer.main import get_command

from tests.helpers.results import (
    MATCHED,
    MATCHES,
    RMSE,
    SCORES,
    make_facts,
    make_regression_facts,
    make_result,
    make_trial,
)
from weightshare.cli import app
from weightshare.study import StudyResult, StudySpec
from weightshare.study.report.command import make_command, read_environment
from weightshare.study.report.findings import answer, collect_findings
from weightshare.study.report.page import render_page
from weightshare.study.statistics.comparisons import count_comparisons
from weightshare.study.statistics.questions import collect_answered
from weightshare.study.statistics.scale import Scale
from weightshare.views.escape import escape_controls

EVIL = "<script>alert(1)</script> [red] **a** `b` | \x1b[31m\u202e"
SIZES = {
    ("train_sizes", "60 examples"): {
        "full": [0.7, 0.72, 0.71],
        "tiled:2": [0.6, 0.7, 0.65],
        MATCHED: [0.7, 0.7, 0.7],
        "local": [0.5, 0.52, 0.51],
    },
    ("schedules", "relax:3"): {"tiled:2": [0.981, 0.992, 0.984], "local": [0.9, 0.93, 0.92]},
}


@pytest.fixture(scope="module")
def result():
    return make_result(SCORES, matches=MATCHES, questions=SIZES)


@pytest.fixture(scope="module")
def page(result):
    return render_page(result)


def answer_all(result: StudyResult) -> dict[str, str]:
    """Return the answers of each finding by its question."""
    return {finding.question: " ".join(finding.answers) for finding in collect_findings(result)}


def render(result: StudyResult, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(result)
    return console.file.getvalue()


def test_a_spread_that_differs_between_rows_is_stated():
    unequal = make_result(
        {
            "full": [0.80, 0.90, 0.85, 0.75],
            "tiled:2": [0.901, 0.902, 0.903, 0.9],
            "local": [0.97, 0.98, 0.975, 0.985],
        }
    )
    note = (
        "The spread over seeds differs between rows: the standard deviation is 6.5 points for full and 0.1 "
        "points for tiled:2. Simultaneous intervals assume the same spread, so they are too narrow for rows "
        "with a larger one."
    )
    assert note in " ".join(str(unequal).split())
    assert note in render_page(unequal)


def test_equal_spreads_are_not_stated(result):
    assert "spread" not in str(result)


def test_the_best_row_is_compared_by_tukeys_intervals():
    """Of ten rows, the best one is far from the others by chance, which Dunnett's intervals ignore."""
    around = 0.01 * np.sqrt(3 / 5) * np.array([-1.5, -0.5, 0.5, 1.5])  # standard deviation 0.01
    scores = {str(i): (0.9 + around).tolist() for i in range(9)} | {"best": (0.922 + around).tolist()}
    assert "No other row is clearly worse." in answer_all(make_result(scores))["Which network is best?"]


def test_two_rows_are_called_by_their_number():
    apart = make_result({"full": [0.80, 0.82, 0.81], "local": [0.94, 0.95, 0.97]})
    assert "The other row is clearly worse." in answer_all(apart)["Which network is best?"]
    close = make_result({"full": [0.80, 0.82, 0.81], "local": [0.81, 0.80, 0.82]})
    assert "The other row is not clearly worse." in answer_all(close)["Which network is best?"]


def test_lower_is_better():
    result = make_result({"full": [3.0, 3.1, 3.2], "local": [2.0, 2.2, 2.1]}, scale=RMSE)
    assert result.verdict.startswith(
        "local (-1.00) is clearly better than full sharing in test RMSE (lower is better)."
    )
    answers = answer_all(result)
    assert "local has the lowest mean test RMSE, 2.100." in answers["Which network is best?"]
    assert "local is 1.00 below full in test RMSE" in answers["Does sharing improve RMSE?"]
    text, page = str(result), render_page(result)
    assert "RMSE ± half-width of the 95% CI over seeds (not over test examples); lower is better." in text
    assert "2.10 ± 0.25" in text
    assert "%</td>" not in page
    assert "accura" not in (text + page).lower()
    assert "epochs to a validation RMSE of" in text
    assert re.search(r'<tr class=" best">\s*<th scope="row"><span[^>]*></span>local</th>', page)


def test_an_error_on_the_test_set_that_is_larger_than_in_training_is_a_positive_gap():
    trials = [
        make_trial(name, seed, 3.0 + 0.1 * seed, RMSE, train_score=train + 0.1 * seed**slope)
        for name, train, slope in (("full", 2.5, 1), ("local", 1.0, 2))
        for seed in range(3)
    ]
    result = make_result({"full": [3.0], "local": [3.0]}, scale=RMSE, trials=trials)
    assert (
        "The gap between training and test RMSE is larger for local (1.93) than for full (0.500)."
        in answer_all(result)["Does sharing reduce overfitting?"]
    )


@pytest.mark.parametrize(
    ("size", "unit", "shift"),
    [((32,), "32 values", "2 positions"), ((4, 8, 8), "4 x 8 x 8 values", "2 positions")],
)
def test_other_numbers_of_axes(size, unit, shift):
    result = make_result({"full": [3.0, 3.1], "local": [2.0, 2.2]}, scale=RMSE,
                         facts=make_regression_facts(size=size))  # fmt: skip
    assert f"100 test examples of {unit}, 1 output, 2 seeds" in str(result)
    assert shift in answer_all(result)["What if test inputs are shifted?"]
    assert "the gap is filled with the values at the border" in " ".join(str(result).split())
    assert "pixel" not in str(result) + render_page(result)


def test_inputs_that_are_too_small_to_shift():
    names = {"full": [3.0, 3.1], "local": [2.0, 2.2]}
    trials = [make_trial(n, i, s, RMSE, score_shifted={}) for n, v in names.items() for i, s in enumerate(v)]
    small = make_result(names, scale=RMSE, trials=trials)
    assert "shift" not in str(small)
    assert 'id="shift"' not in render_page(small)
    assert "What if test inputs are shifted?" not in answer_all(small)


def test_a_metric_of_the_user():
    scale = Scale("F1 <b>\x1b", lower_is_better=False, is_fraction=False)
    result = make_result({"full": [0.5, 0.6], "local": [0.9, 0.8]}, scale=scale, facts=make_facts())
    assert "test F1 <b>\\x1b" in str(result)
    page = render_page(result)
    assert "F1 &lt;b&gt;\\x1b" in page
    assert "<b>" not in page


def test_a_score_without_an_interval_is_explained(result):
    sentence = "A row without ± has the same value with every seed."
    equal = make_result({"full": [0.9, 0.9], "local": [0.8, 0.9]})
    for text in (str(equal), render_page(equal)):
        assert sentence in text
    for text in (str(result), render_page(result), render_page(make_result({"full": [0.9]}))):
        assert sentence not in text


def test_a_clear_difference_is_reported_with_its_interval(result):
    answers = answer_all(result)
    assert (
        "local is 14.0 points below full in test accuracy (95% CI 12.0 to 16.0 points)."
        in answers["Does sharing improve accuracy?"]
    )
    assert (
        "tiled:2 is 3.5 points above full at width 24 in test accuracy"
        in answers["Is it the sharing or the size?"]
    )


def test_differences_without_spread_are_reported_without_a_verdict():
    same = make_result({"full": [0.9, 0.9], "local": [0.996, 0.996]})
    assert (
        "With every seed, test accuracy differs by the same amount between local (mean 99.6%) and full (mean "
        "90.0%), so this difference has no confidence interval."
    ) in answer_all(same)["Does sharing improve accuracy?"]
    assert "local (the same difference with every seed)" in same.verdict
    equal = make_result({"full": [0.9, 0.9], "local": [0.9, 0.9]})
    assert (
        "No difference in test accuracy with any seed: local vs. full."
        in answer_all(equal)["Does sharing improve accuracy?"]
    )
    assert "(no difference with any seed)" in equal.verdict


def with_curves(result, **curves):
    """Return the result with other learning curves for some rows, one per seed."""
    trials = [
        replace(trial, curve_score=curves.get(trial.sharing.replace(":", ""), ([0.1, 1.0],) * 3)[trial.seed])
        for trial in result.trials
    ]
    return StudyResult.from_trials(result.description, trials)


def test_speed_is_compared_if_every_seed_reached_the_target():
    slow = [0.1] * 9
    result = with_curves(
        make_result(SCORES, matches=MATCHES),
        tiled2=([*slow, 1.0], [*slow, 0.1, 1.0], [*slow, 0.1, 1.0]),
        local=([1.0], [0.1], [0.1]),
    )
    found = answer_all(result)["Does sharing speed up training?"]
    assert re.search(r"tiled:2 needs 8\.7 more epochs than full \(95% CI \d+\.\d to \d+\.\d\)\.", found)
    assert "tiled:2 needs 8.7 more epochs than full at width 24 (95% CI" in found
    assert "because not all seeds reached it: local (1 of 3)." in found
    assert "local vs." not in found


def test_the_number_of_comparisons_counts_simultaneous_ones_once(result):
    # score, gap, shift and epochs against full; score and epochs against the size-matched row; the best row
    assert count_comparisons(result.summary) == 4 + 2 + 1
    assert count_comparisons(result.summary, result.further) == 4 + 2 + 1 + 1 + 2
    caveat = "About 10 comparisons at the 95% level: a false positive is possible."
    assert caveat in str(result)
    assert caveat in render_page(result)


def test_one_seed_gives_no_comparisons():
    one = make_result({"full": [0.9], "local": [0.95]})
    answers = answer_all(one)
    assert "One seed does not show" in answers["Which network is best?"]
    assert "Does sharing improve accuracy?" not in answers
    assert "comparisons" not in str(one)
    assert "One seed gives no confidence intervals" in render_page(one)


def test_costs_are_counted(result):
    found = answer_all(result)["What does it cost?"]
    assert "local has 60 times as many parameters as full (60k vs. 1k)." in found
    assert "sharing saves memory, not arithmetic" in found


def test_questions_are_answered_with_intervals(result):
    sizes, schedules = collect_answered(result)
    assert sizes.settings == ("60 examples", "all")
    assert sizes.values == (60, 240)
    assert set(sizes.rows) == set(SCORES)
    text = " ".join(answer(result, sizes))
    assert "60 examples: local is 20.0 points below full in test accuracy" in text
    assert "tiled:2 vs. full (about" in text
    assert schedules.settings == ("none", "relax:3")
    assert "local [relax:3] is 10.7 points above local in test accuracy" in " ".join(
        answer(result, schedules)
    )


def test_questions_have_tables_of_their_own(result, page):
    text = str(result)
    assert "[60 examples]" not in text.split("\n\nFewer training examples")[0]
    assert re.search(r"\n sharing +60 examples +all\n", text)
    assert re.search(r"\n tiled:2 +65\.0 ± 12\.4 +98\.5 ± 1\.2\n", text)
    assert 'id="train_sizes"' in page
    assert 'id="schedules"' in page
    assert 'id="widths"' not in page


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_a_narrow_table_has_everything(width):
    scores = {f"{name}": values for name, values in SCORES.items()}
    shifted = {str(i): 0.5 for i in (1, 2, 3, 4)}
    trials = [make_trial(n, i, s, score_shifted=shifted) for n, v in scores.items() for i, s in enumerate(v)]
    text = render(make_result(scores, matches=MATCHES, trials=trials), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for heading in ("meters", "MACs", "accuracy", "1 px", "4 px", "epochs", "seconds"):
        assert heading in text
    folded = re.sub(r"\s", "", text)
    for cell in ("95.0±2.5", "81.0±2.5", "60k", "50.0"):
        assert cell in folded


@pytest.mark.parametrize("width", range(30, 131, 3))
def test_a_table_of_short_names_fits(width):
    text = render(make_result({"full": [3.0, 3.1], "local": [2.0, 2.0001]}, scale=RMSE), width)
    assert max(map(len, text.splitlines())) <= width
    assert "seconds" in text.split("RMSE ± half")[0]
    assert "…" not in text


def test_classes_at_each_position():
    facts = make_facts(task="pixel-classification", test_counts=())
    trials = [make_trial(name, seed, 0.5, class_scores=[]) for name in ("full", "local") for seed in (0, 1)]
    result = make_result({"full": [0.5] * 2, "local": [0.5] * 2}, facts=facts, trials=trials)
    assert "which is correct for 50.0% of the test positions." in result.verdict
    assert 'id="classes"' not in render_page(result)


def test_an_unfinished_study_says_so_and_compares_the_seeds_that_rows_share():
    trials = [make_trial("full", i, s) for i, s in enumerate([0.9, 0.91, 0.2])]
    trials += [make_trial("local", i, s) for i, s in enumerate([0.80, 0.82])]
    result = make_result({"full": [0.9] * 3, "local": [0.8] * 3}, trials=trials)
    assert "The study is not finished: 5 of 6 trials have a result." in str(result)
    assert "local is 9.5 points below full" in answer_all(result)["Does sharing improve accuracy?"]
    assert "The study is not finished" in render_page(result)


def test_the_page_begins_with_the_verdict_and_ends_with_the_command(page):
    assert re.findall(r'<h2 id="(\w+)">', page) == [
        "table", "findings", "charts", "train_sizes", "schedules", "classes", "method", "environment",
        "command",
    ]  # fmt: skip
    assert page.index("</h1>") < page.index('id="verdict"') < page.index("<table")
    assert "weightshare study digits --sharing full,tiled:2,regional:4,lowrank:4,local" in page
    assert page.count("data:image/svg+xml;base64,") == 3 + 2


def test_the_page_states_data_settings_and_environment():
    facts = make_facts(notes=("Turned 3 images upright.",), fill="the value of the background")
    page = " ".join(render_page(make_result(SCORES, facts=facts, epochs_max=7)).split())
    for text in (
        "240 training, 60 validation and 100 test examples of 8 x 8 pixels",
        "Turned 3 images upright.",
        "the gap is filled with the value of the background",
        "At most 7 epochs",
        "<dt>torch</dt><dd>2.11</dd>",
        "<dt>device</dt><dd>cpu (x86_64)</dd>",
        "--epochs-max 7",
        "mean over classes (balanced accuracy)",
    ):
        assert text in page


def test_the_page_is_self_contained(page):
    assert not re.search(r"https?://", page)
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', page))
    assert not re.search(r"<(link|script|iframe)|@import|url\(", page)


def test_names_from_outside_are_plain_text():
    name = escape_controls(EVIL)
    facts = make_facts(name=name, class_names=(name, "dog"), notes=(name,))
    questions = {("layers", EVIL): {"local": [0.9, 0.8]}}
    result = make_result(
        {"full": [0.5, 0.6], EVIL: [0.9, 0.95], "local": [0.8, 0.9]},
        facts=facts,
        questions=questions,
        data=name,
        model=EVIL,
    )
    page = render_page(result)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    for text in (page, str(result), render(result, 80)):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "[red]" in str(result)


def test_many_classes_are_cut_to_the_worst():
    names = tuple(f"class {k}" for k in range(100))
    facts = make_facts(class_names=names, outputs=100, test_counts=(1,) * 100, majority=0.01)
    shares = [1.0] * 60 + [0.1] * 40
    trials = [make_trial("full", 0, 0.64, class_scores=shares)]
    page = render_page(make_result({"full": [0.64]}, facts=facts, trials=trials))
    assert "class 60<" in page
    assert "class 59<" not in page
    assert "The 40 classes with the lowest accuracy, of 100." in page


def test_the_command_repeats_the_study():
    spec = StudySpec(
        "npz:my data.npz", "full,along:0,1", seeds=5, metric="balanced_accuracy", resize=(8, 9),
        train_images=50, train_sizes="60,30", augment="shift:1", learning_rate=0.01, epochs_max=7, out="x",
    )  # fmt: skip
    command = make_command(spec.to_dict())
    assert command == (
        "weightshare study 'npz:my data.npz' --sharing full,along:0,1 --seeds 5 --metric balanced_accuracy "
        "--resize 8x9 --train-images 50 --train-sizes 30,60 --augment shift:1 --epochs-max 7 "
        "--learning-rate 0.01"
    )
    known = {name for option in get_command(app).commands["study"].params for name in option.opts}
    names = {name.replace("_", "-") for name in spec.to_dict()} - {"data", "sharings", "start"}
    assert {f"--{name}" for name in names} <= known, "every option of a study can be given"


def test_values_of_the_environment_that_differ_are_all_shown():
    one, other = (make_trial("full", seed, 0.9, environment={"torch": f"2.{seed}"}) for seed in (1, 2))
    result = make_result({"full": [0.9, 0.9]}, trials=[one, other])
    assert read_environment(result) == {"torch": "2.1, 2.2"}
