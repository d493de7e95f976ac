"""The verdict from the losses of the candidates."""

import numpy as np
import pytest

from weightshare.diagnose import Rule, decide
from weightshare.diagnose.verdict import is_promising, measure_saved
from weightshare.errors import ArgumentError


def draw(gain, n=1000, noise=0.1, seed=0, folds=2, controls=("continue", "blind", "wide"), saved=0.0):
    """Return losses with mean 1 in which relaxing gains `gain` over each control."""
    random = np.random.default_rng(seed)
    losses = {"relax": [1 - gain + 0.5 * random.random(n) - 0.25 for _ in range(folds)]}
    losses["start"] = [np.full(n, 1 + saved) for _ in range(folds)]
    for control in controls:
        losses[control] = [one + gain + noise * random.standard_normal(n) for one in losses["relax"]]
    return losses


@pytest.mark.parametrize(
    ("gain", "verdict", "reason"),
    [
        (0.05, "relax", "the gain over every control is above 1% of the loss"),
        (-0.05, "keep", "is below 1% of the loss"),
        (0.0, "keep", "is below 1% of the loss"),
        (0.01, "no verdict", "the gain is too close to 1% of the loss: 2,000 examples were judged, but "),
    ],
)
def test_verdict(gain, verdict, reason):
    found = decide({"a": draw(gain)}, Rule())["a"]
    assert found.verdict == verdict
    assert reason in found.reason
    assert found.gain.low < gain + 0.005
    assert found.gain.high > gain - 0.005


def test_a_model_that_is_not_trained_to_the_end():
    some, much = (decide({"a": draw(0.05, saved=saved)}, Rule())["a"] for saved in (0.04, 0.2))
    assert some.verdict == "relax"
    assert much.verdict == "no verdict"
    assert much.reason == "training further saves 20.1% of the loss, more than 1.5 times the gain (5.0%)"
    strict = decide({"a": draw(0.05, saved=0.06)}, Rule(most_saved=1))["a"]
    assert strict.reason == "training further saves 6.1% of the loss, more than the gain (5.0%)"
    assert decide({"a": draw(0.05, saved=0.2)}, Rule(most_saved=5))["a"].verdict == "relax"
    assert decide({"a": draw(0.0, saved=0.2)}, Rule())["a"].verdict == "keep"


def draw_shared(gain, **options):
    """Return losses of a layer with one kernel instead of several."""
    losses = draw(gain, controls=("continue",), **options)
    losses["restrict"] = losses.pop("relax")
    return losses


@pytest.mark.parametrize(
    ("gain", "verdict", "reason"),
    [
        (0.05, "share", "one kernel for all positions costs less than 1% of the loss"),
        (0.0, "share", "one kernel for all positions costs less than 1% of the loss"),
        (-0.05, "keep", "one kernel for all positions costs more than 1% of the loss"),
        (
            -0.01,
            "no verdict",
            "the cost of one kernel for all positions is too close to 1% of the loss: 2,000 examples ",
        ),
    ],
)
def test_verdict_on_sharing(gain, verdict, reason):
    found = decide({"a": draw_shared(gain)}, Rule())["a"]
    assert found.verdict == verdict
    assert reason in found.reason
    assert found.gain == found.gains["continue"]
    assert found.gain.low < gain + 0.005
    assert found.gain.high > gain - 0.005


def test_about_how_many_examples_are_needed_to_share():
    few, many = (decide({"a": draw_shared(-0.005, n=n, noise=0.3)}, Rule())["a"] for n in (400, 40_000))
    assert few.verdict == "no verdict"
    assert many.verdict == "share"
    assert int(few.reason.partition("about ")[2].split()[0].replace(",", "")) < 40_000
    least = decide({"a": draw_shared(0.05, n=20)}, Rule())["a"]
    assert (least.verdict, least.reason) == (
        "no verdict",
        "40 examples were judged, but at least 100 are needed",
    )


def test_layers_and_ties_are_corrected_together():
    untied = draw(0.004, controls=("continue", "blind"))
    untied["untie"] = untied.pop("relax")
    questions = {"a": draw(0.01), "b": draw_shared(0.0), "c.weight": untied}
    alone = {name: decide({name: losses}, Rule())[name] for name, losses in questions.items()}
    found = decide(questions, Rule())
    assert found["a"].p_value == pytest.approx(3 * alone["a"].p_value)
    assert found["c.weight"].p_value == pytest.approx(max(2 * alone["c.weight"].p_value, found["a"].p_value))
    assert found["b"].p_value == pytest.approx(max(alone["b"].p_value, found["c.weight"].p_value))
    assert all(found[name].gain.low < alone[name].gain.low for name in questions)
    assert not is_promising(questions["b"], 3, Rule())


def test_the_gain_is_over_the_best_control():
    losses = draw(0.05)
    losses["wide"] = draw(0.002)["wide"]
    losses["wide"] = [one + 0.002 for one in losses["relax"]]
    found = decide({"a": losses}, Rule())["a"]
    assert found.verdict == "keep"
    assert found.reason == "the gain over more channels is below 1% of the loss"
    assert found.gain.value == found.gains["wide"].value == pytest.approx(0.002, rel=0.1)


def test_about_how_many_examples_are_needed():
    few, many = (decide({"a": draw(0.02, n, noise=0.3)}, Rule())["a"] for n in (400, 40_000))
    assert few.verdict == "no verdict"
    assert many.verdict == "relax"
    assert int(few.reason.partition("about ")[2].split()[0].replace(",", "")) < 40_000


def test_fewer_examples_than_the_rule_requires():
    found = decide({"a": draw(0.05, n=20)}, Rule())["a"]
    assert found.verdict == "no verdict"
    assert found.reason == "40 examples were judged, but at least 100 are needed"
    assert decide({"a": draw(0.05, n=20, noise=0.01)}, Rule(least_examples=40))["a"].verdict == "relax"


def test_intervals_cover_the_gain():
    """95% of the intervals of three layers, all together, contain the gain; 300 networks."""
    rule, missed = Rule(controls=("continue",)), 0
    for seed in range(300):
        layers = {str(i): draw(0.02, n=200, seed=3 * seed + i, controls=("continue",)) for i in range(3)}
        missed += any(not d.gain.low <= 0.02 <= d.gain.high for d in decide(layers, rule).values())
    assert missed / 300 < 0.09


def test_p_values_have_holms_correction():
    gains = {"a": 0.01, "b": 0.0, "c": 0.004}
    alone = {name: decide({name: draw(gain)}, Rule())[name].p_value for name, gain in gains.items()}
    found = {name: d.p_value for name, d in decide({n: draw(g) for n, g in gains.items()}, Rule()).items()}
    assert found["a"] == pytest.approx(3 * alone["a"])
    assert found["c"] == pytest.approx(max(2 * alone["c"], found["a"]))
    assert found["b"] == pytest.approx(max(alone["b"], found["c"]))


def test_scale_of_the_loss_does_not_matter():
    losses = draw(0.03)
    scaled = {name: [1000 * one for one in folds] for name, folds in losses.items()}
    one, other = decide({"a": losses}, Rule())["a"], decide({"a": scaled}, Rule())["a"]
    assert one.verdict == other.verdict
    assert one.gain.value == pytest.approx(other.gain.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e6])
def test_undefined_losses(value):
    losses = draw(0.05)
    losses["continue"][1][3] = value
    found = decide({"a": losses, "b": draw(0.05)}, Rule())
    assert found["a"].verdict == "no verdict"
    assert found["a"].gain is None
    assert found["a"].gains == {}
    assert found["a"].reason == "the losses after training must be finite, with a positive mean"
    assert found["b"].verdict == "relax"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e160, 1e308])
def test_losses_whose_gain_is_not_finite(scale):
    losses = draw(0.05) | {"relax": [scale * np.linspace(0, 1, 1000)] * 2}
    found = decide({"a": losses, "b": draw(0.05)}, Rule())
    assert (found["a"].verdict, found["a"].gain, found["a"].p_value) == ("no verdict", None, None)
    assert found["b"].verdict == "relax"
    assert not is_promising(losses, 2, Rule())


@pytest.mark.filterwarnings("error")
def test_what_training_saves_is_undefined_if_it_is_not_finite():
    assert measure_saved({"start": [np.ones(9)], "continue": [np.full(9, 0.5)]}) == 1
    assert measure_saved({"start": [np.ones(9)], "continue": [np.full(9, 1e-320)]}) is None


def test_equal_losses_keep():
    same = [np.ones(200)]
    found = decide({"a": {"continue": same, "relax": same}}, Rule())["a"]
    assert found.verdict == "keep"
    assert found.p_value == 0.5
    assert found.gain.value == 0


def test_equal_losses_have_a_verdict_without_a_threshold():
    same = [np.ones(200)]
    found = decide(
        {"a": {"continue": same, "relax": same}, "b": {"continue": same, "restrict": same}}, Rule(0.0)
    )
    assert [one.verdict for one in found.values()] == ["keep", "share"]


def test_promising_layers_are_those_that_may_be_relaxed():
    assert is_promising(draw(0.05), 3, Rule())
    assert is_promising(draw(0.01), 3, Rule())
    assert not is_promising(draw(0.0), 3, Rule())
    assert not is_promising({"continue": [np.array([np.nan] * 3)], "relax": [np.ones(3)]}, 1, Rule())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"threshold": -1}, "Rule: threshold must be a number of at least 0, got -1."),
        ({"level": 1.0}, "Rule: level must be between 0 and 1, got 1.0."),
        ({"least_examples": 0}, "Rule: least_examples must be at least 1, got 0."),
        (
            {"controls": ("wide",)},
            "controls must be 'continue', followed by any of 'blind' and 'wide', got (",
        ),
        ({"controls": 5}, "controls must be 'continue', followed by any of 'blind' and 'wide', got 5."),
        ({"controls": ("continue", [])}, "any of 'blind' and 'wide', got ('continue', [])."),
    ],
)
def test_rules_are_checked(arguments, text):
    with pytest.raises(ArgumentError) as error:
        Rule(**arguments)
    assert text in str(error.value)
