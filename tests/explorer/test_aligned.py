"""Aligned against shifted pages: the task is what it says, and the page shows the recorded results."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tools import data_efficiency, explorer_aligned, pros_cons_table

DIGITS = np.arange(1, 11, dtype=np.uint8)[:, None, None] * np.ones(
    (1, 8, 8), np.uint8
)  # digit i has value i + 1
LABELS = np.arange(10)


@pytest.fixture(scope="module")
def aligned():
    return json.loads(pros_cons_table.ALIGNED.read_text())


@pytest.fixture(scope="module")
def digits():
    return json.loads(pros_cons_table.DIGITS.read_text())


def read_place(page):
    """Return the row and column of a number on its page."""
    rows, columns = np.nonzero(page)
    return int(rows.min()), int(columns.min())


def test_the_label_of_an_aligned_page_is_the_digit_at_a_fixed_place():
    pages, labels = explorer_aligned.make_pages(DIGITS, LABELS, 50, shifted=False, seed=0)
    assert pages.shape == (50, 12, 26)
    assert {read_place(page) for page in pages} == {explorer_aligned.MARGINS}
    assert (pages[:, 6, 9] == labels + 1).all()
    assert (pages[:, 6, 17] != labels + 1).any()  # the right digit does not determine the label


def test_the_same_digits_in_another_order_have_another_label():
    pages, labels = explorer_aligned.make_pages(DIGITS, LABELS, 200, shifted=False, seed=0)
    pairs = {(int(page[6, 9]), int(page[6, 17])): int(label) for page, label in zip(pages, labels)}
    swapped = [(pair, pair[::-1]) for pair in pairs if pair[0] != pair[1] and pair[::-1] in pairs]
    assert swapped
    assert all(pairs[one] != pairs[other] for one, other in swapped)


def test_shifting_moves_the_number_and_changes_nothing_else():
    centered, labels = explorer_aligned.make_pages(DIGITS, LABELS, 300, shifted=False, seed=0)
    shifted, same_labels = explorer_aligned.make_pages(DIGITS, LABELS, 300, shifted=True, seed=0)
    assert (labels == same_labels).all()
    vertical, horizontal = explorer_aligned.MARGINS
    places = [read_place(page) for page in shifted]
    assert {row for row, _ in places} == set(range(2 * vertical + 1))
    assert {column for _, column in places} == set(range(2 * horizontal + 1))
    for page, moved, (row, column) in zip(centered, shifted, places):
        assert (np.roll(page, (row - vertical, column - horizontal), (0, 1)) == moved).all()


def test_training_and_test_pages_have_no_digit_in_common(tmp_path):
    explorer_aligned.save_pages(tmp_path / "pages.npz", False, 40, 40)
    pages = np.load(tmp_path / "pages.npz")
    vertical, horizontal = explorer_aligned.MARGINS
    digits = {
        key: {
            page[vertical : vertical + 8, start : start + 8].tobytes()
            for page in pages[key]
            for start in (horizontal, horizontal + 8)
        }
        for key in ("x_train", "x_test")
    }
    assert not digits["x_train"] & digits["x_test"]


def test_a_tiny_measurement_has_the_recorded_schema(aligned, tmp_path):
    spec = replace(explorer_aligned.SPEC, sharings="full,local", seeds=2, epochs_max=1, width=2)
    tiny = explorer_aligned.measure(spec, 100, 50, tmp_path, show=lambda result: None)
    assert tiny.keys() == aligned.keys()
    assert all(row.keys() == aligned["rows"][0].keys() for row in tiny["rows"])
    assert pros_cons_table.format_aligned(tiny).count("\n") == len(tiny["rows"]) + 3


def test_recorded_results_are_complete(aligned):
    names = [row["sharing"] for row in aligned["rows"] if not row["matches"]]
    assert names == [str(sharing) for sharing in explorer_aligned.SPEC.sharings]
    assert aligned["task"] == explorer_aligned.TASK
    assert aligned["command"] == explorer_aligned.COMMAND
    assert aligned["seeds"] == explorer_aligned.SPEC.seeds
    assert aligned["training_images"] == explorer_aligned.TRAINING_IMAGES
    for row in aligned["rows"]:
        assert row["parameters"] > 0
        for kind in ("aligned", "shifted"):
            values = row[kind]["by_seed"]
            assert len(values) == aligned["seeds"]
            assert row[kind]["accuracy"] == pytest.approx(np.mean(values))
            low, high = row[kind]["ci"]
            assert low <= row[kind]["accuracy"] <= high


def test_the_order_turns(aligned):
    """The page says so: unshared is clearly better on aligned pages, and clearly worse on shifted ones."""
    assert aligned["local_minus_full"]["aligned"]["ci"][0] > 0
    assert aligned["local_minus_full"]["shifted"]["ci"][1] < 0


@pytest.mark.parametrize("kind", ["aligned", "shifted"])
def test_partly_shared_networks_are_good_on_both_kinds_of_pages(aligned, kind):
    accuracy = {row["sharing"]: row[kind]["accuracy"] for row in aligned["rows"]}
    assert min(accuracy["regional:1x2"], accuracy["lowrank:1"]) > accuracy["full"] + 0.2


def test_a_tiny_study_of_data_efficiency_has_the_recorded_schema(digits):
    spec = replace(data_efficiency.SPEC, seeds=2, epochs_max=1, width=2)
    tiny = data_efficiency.measure(spec, [60], show=lambda result: None)
    assert tiny.keys() == digits.keys()
    assert tiny["studies"][0].keys() == digits["studies"][0].keys()
    assert tiny["studies"][0]["rows"][0].keys() == digits["studies"][0]["rows"][0].keys()


def test_tables_of_the_page_are_those_of_the_results(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(pros_cons_table.PAGE.read_text())
    pros_cons_table.main(page)
    assert page.read_text() == pros_cons_table.PAGE.read_text(), "run `make pros-cons-table`"


#: Verdicts that the prose of the page repeats; change both if a new measurement changes them.
VERDICTS = {
    "fewer parameters": "confirmed",
    "faster convergence": "refuted here",
    "faster training": "confirmed",
    "cheaper epochs": "confirmed",
    "less overfitting": "no clear difference",
    "better generalization": "no clear difference",
    "robust to shifts": "confirmed",
}


def test_no_number_of_training_images_makes_a_clear_difference(digits):
    table = pros_cons_table.format_data_efficiency(digits)
    assert table.count("| no clear difference |") == len(digits["studies"])


def test_the_unshared_network_fits_the_shifted_pages_and_fails_on_others(aligned):
    local = aligned["rows"][-1]["shifted"]
    assert local["training_accuracy"] > 0.99
    assert local["accuracy"] < 0.5


@pytest.mark.parametrize("claim", VERDICTS)
def test_verdicts_in_the_prose_are_those_of_the_table(claim):
    row = re.search(rf"^\| {claim} \|.*\| ([^|]+) \|$", pros_cons_table.PAGE.read_text(), re.MULTILINE)
    assert row is not None
    assert row[1] == VERDICTS[claim]
