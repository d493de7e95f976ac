"""The verdict of a study: its wording, and what it claims."""

import re

from tests.helpers.results import MATCHED, MATCHES, RMSE, SCORES, make_facts, make_result, make_trial
from weightshare.study.report.page import render_page


def test_the_verdict_names_clear_differences_and_separates_sharing_from_size():
    result = make_result(SCORES, matches=MATCHES)
    assert result.verdict == (
        "tiled:2 (+3.5 points) is clearly better than full sharing in test accuracy, and local (-14.0 "
        "points) is clearly worse. tiled:2 is also clearly better than a fully shared network of the same "
        "size. tiled:2 (+3.5 points) is clearly better than full sharing in accuracy on test examples "
        "shifted by 2 pixels, and local (-14.0 points) is clearly worse."
    )


def test_the_verdict_says_if_the_size_may_be_the_reason():
    same = make_result({**SCORES, MATCHED: [0.97, 0.99, 0.98]}, matches=MATCHES)
    assert (
        "For tiled:2, the gain may come from the size: a fully shared network of the same size is not "
        "clearly worse."
    ) in same.verdict
    larger = make_result({**SCORES, MATCHED: [0.991, 0.999, 0.996]}, matches=MATCHES)
    assert (
        "For tiled:2, the size alone explains the gain: a fully shared network of the same size is clearly "
        "better."
    ) in larger.verdict


def test_the_verdict_says_if_a_better_row_is_larger_and_has_no_row_of_its_size():
    larger = (
        "local has 60 times as many parameters as full, and no fully shared network of that size was "
        "trained, so the gain may come from the size."
    )
    scores = {"full": [0.80, 0.82, 0.81], "local": [0.94, 0.95, 0.97]}
    assert larger in make_result(scores).verdict
    assert "parameters" not in make_result({"full": scores["local"], "local": scores["full"]}).verdict


def test_the_verdict_warns_if_most_runs_stopped_at_the_epoch_limit():
    scores = {"full": [0.80, 0.82, 0.81], "local": [0.94, 0.95, 0.97]}

    def stop(*names):
        trials = [
            make_trial(name, seed, score, hit_cap=name in names)
            for name, values in scores.items()
            for seed, score in enumerate(values)
        ]
        return make_result(scores, trials=trials, epochs_max=2).verdict

    warning = "runs stopped at the limit of 2 epochs, so a difference may only mean that one network learns "
    assert f"All {warning}" in stop("full", "local")
    assert f"3 of 6 {warning}" in stop("full")
    assert warning not in stop()


def test_the_verdict_compares_with_the_untied_autoencoder():
    scores = {"full": [3.0, 3.1, 3.2], "full (tied)": [2.0, 2.1, 2.2], "local": [3.0, 3.2, 3.3]}
    verdict = make_result(scores, scale=RMSE).verdict
    assert verdict.startswith("full (tied) (-1.00) is clearly better than untied full sharing in test RMSE")


def test_the_verdict_on_thin_evidence_says_how_many_seeds_are_needed():
    thin = make_result({"full": [0.90, 0.95, 0.94], "tiled:2": [0.92, 0.94, 0.98]})
    assert re.fullmatch(
        r"No sharing is clearly better or worse than full sharing in test accuracy: tiled:2 "
        r"\(\+1\.7 points, about \d+ seeds needed\)\.",
        thin.verdict,
    )
    assert "Seeds needed: an estimate" in str(thin)
    hopeless = make_result({"full": [0.90, 0.95, 0.94], "tiled:2": [0.9401, 0.90, 0.95]})
    assert "(+0.0 points, more than 1,000 seeds needed)" in hopeless.verdict


def test_the_verdict_of_one_seed():
    one = make_result({"full": [0.9], "local": [0.95]})
    assert one.verdict == (
        "local has the highest test accuracy, 95.0%, with one seed. One seed does not show how much of this "
        "is chance; use at least three."
    )


def test_a_network_that_learned_nothing_is_called_that():
    facts = make_facts(majority=0.96, test_counts=(96, 4))
    shares = {"full": [1.0, 0.0], "local": [0.99, 0.25]}
    trials = [
        make_trial(name, seed, 0.96, class_scores=by_class)
        for name, by_class in shares.items()
        for seed in range(2)
    ]
    noise = make_result({"full": [0.96] * 2, "local": [0.96] * 2}, facts=facts, trials=trials)
    assert noise.verdict == (
        "No network is clearly more accurate than always predicting the most frequent class, which is "
        "correct for 96.0% of the test examples. This study does not show which sharing is better. The "
        "highest balanced accuracy (the mean over the classes) is 62.0%, and chance is 50.0%."
    )
    for text in (str(noise), render_page(noise)):
        assert "most frequent class has an accuracy of 96.0%" in " ".join(text.split())
    assert "± 0.0" not in str(noise) + render_page(noise)
    assert noise["full"].accuracy_ci is None
