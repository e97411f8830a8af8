"""The table that the terminal shows."""

import math

import numpy as np
import pytest

from mma_tf.evaluation.tables import eps_text, margin_text, text_table
from tests.report.made_up import make_check, make_evaluation


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


def row(text, name):
    """The cells of the line that begins with a name."""
    [line] = [part for part in text.splitlines() if part.startswith(name)]
    return [cell.strip() for cell in line.removeprefix(name).split("  ") if cell]


@pytest.mark.parametrize(
    ("eps", "text"),
    [
        (8 / 255, "8/255"),
        (0.5 / 255, "0.00196078"),
        (1 / 255, "1/255"),
        (128 / 255, "128/255"),
        (0.1, "0.1"),
        # A whole number of levels, but nobody writes 51/255.
        (0.2, "0.2"),
        (0.125, "0.125"),
        (1.0, "1"),
        (2.0, "2"),
        (0.0, "0"),
        (1e-9, "1e-09"),
        (np.float64(4 / 255), "4/255"),
    ],
)
def test_radii_read_as_people_write_them(eps, text):
    assert eps_text(eps) == text


def test_what_was_not_found_is_said_in_words():
    assert margin_text("median", math.inf) == "none found"
    assert margin_text("mean_of_found", math.nan) == "-"
    assert margin_text("median", 0.25) == "0.25"
    assert margin_text("not_found", 0.25) == "25.00 %"


def test_one_model_with_its_setting_and_caveat():
    text = text_table([make_evaluation("digits")])
    head = text.splitlines()[:2]
    assert "autoattack" in head[0]
    assert "linf, seed 5, 20 examples" in head[0]
    assert "Upper bounds of robustness: what these attacks found" in head[1]
    # Wilson: 17 and 7 of 20.
    assert row(text, "clean accuracy") == ["85.00 % [64.0 to 94.8]"]
    assert row(text, "robust accuracy, eps 0.1") == ["35.00 % [18.1 to 56.7]"]
    assert row(text, "AvgAcc") == ["60.00 %"]
    assert row(text, "AvgRobAcc") == ["47.50 %"]
    assert "digits: all 1 sanity checks passed." in text


def test_accuracy_falls_attack_by_attack():
    text = text_table([make_evaluation(eps=(0.1,))])
    assert row(text, "  apgd-ce") == ["40.00 %"]
    assert row(text, "  square") == ["35.00 %"]
    assert "AvgAcc" not in text


def test_models_stand_side_by_side_in_aligned_columns():
    names = ["first", "the second", "other"]
    text = text_table([make_evaluation(name) for name in names])
    assert row(text, "clean accuracy") == ["85.00 % [64.0 to 94.8]"] * 3
    lines = text.splitlines()
    [heading] = [
        line for line in lines if "the second" in line and "checks" not in line
    ]
    [clean] = [line for line in lines if line.startswith("clean")]
    starts = [at for at, _ in enumerate(clean) if clean[at:].startswith(" 85.00")]
    assert [heading.index(name) for name in names] == starts
    assert max(map(len, lines)) < 110


def test_long_names_do_not_tear_the_columns_apart():
    names = [f"runs/{'very-' * 12}long-{number}" for number in range(2)]
    text = text_table([make_evaluation(name) for name in names])
    assert f"model 1: {names[0]}" in text
    assert f"model 2: {names[1]}" in text
    # Nowhere but there.
    assert sum("very-" in line for line in text.splitlines()) == 2
    assert "model 2: all 1 sanity checks passed." in text


def test_doubts_come_with_meaning_and_advice():
    sure = make_evaluation("sure")
    doubtful = make_evaluation("doubtful", checks=(make_check(flagged=True),))
    text = text_table([sure, doubtful])
    assert "sure: all 1 sanity checks passed." in text
    assert "doubtful: 1 of 1 sanity checks FAILED:" in text
    for said in ("outputs are logits", "[0, 1].", "A softmax", "Export the model"):
        assert said in text


def test_margins_have_statistics_and_no_radii():
    text = text_table([make_evaluation(eps=(), norm="l2")])
    assert row(text, "  median") == ["0.07"]
    assert row(text, "  no error found") == ["10.00 %"]
    assert row(text, "  apgd-ce") == ["7 of 17"]
    assert "distance of the nearest error found, l2" in text
    assert "eps" not in text


def test_an_attack_that_one_model_was_spared_is_left_blank():
    other = make_evaluation("black box")
    stages = tuple(stage for stage in other.stages if stage.name == "square")
    other = make_evaluation("black box", stages=stages, has_gradient=False)
    text = text_table([make_evaluation(eps=other.eps), other])
    first = next(line for line in text.splitlines() if line.startswith("  apgd-ce"))
    assert first.split()[-1] == "-"


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "l2"},
        {"suite": "paper"},
        {"eps": (0.1,)},
        {"labels": np.zeros(20, int)},
    ],
)
def test_what_cannot_be_compared_is_refused(changes):
    with pytest.raises(ValueError, match="Invalid `evaluations`"):
        text_table([make_evaluation(), make_evaluation(**changes)])


def test_no_evaluation_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        text_table([])


def test_a_new_seed_is_named():
    text = text_table([make_evaluation(seed=1), make_evaluation(seed=0)])
    assert "seeds 0, 1" in text
