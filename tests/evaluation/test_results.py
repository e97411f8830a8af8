"""What an evaluation says of its arrays."""

import math

import numpy as np
import pytest

from mma_tf.evaluation.statistics import wilson_interval
from tests.report.made_up import make_check, make_evaluation


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


def test_accuracies_are_shares_of_all_examples():
    evaluation = make_evaluation()
    assert evaluation.num_examples == 20
    assert evaluation.accuracy == 17 / 20
    # Sizes up to 0.05 and 0.1 are broken: 5 and 10 of them.
    assert evaluation.robust_accuracy == {0.05: 12 / 20, 0.1: 7 / 20}
    assert evaluation.interval() == wilson_interval(17, 20)
    assert evaluation.interval(0.1) == wilson_interval(7, 20)


def test_averages_over_the_radii_with_and_without_zero():
    evaluation = make_evaluation()
    assert evaluation.average_robust_accuracy() == pytest.approx((12 + 7) / 40)
    assert evaluation.average_accuracy() == pytest.approx((17 + 12 + 7) / 60)


def test_margins_have_no_averages_over_radii():
    evaluation = make_evaluation(eps=())
    assert evaluation.robust_accuracy == {}
    assert evaluation.average_robust_accuracy() is None
    assert evaluation.average_accuracy() is None


def test_margin_statistics_count_what_was_not_found_as_the_largest():
    found = make_evaluation(eps=()).margin_statistics()
    assert found["not_found"] == 2 / 20
    assert found["mean_of_found"] == pytest.approx(0.01 * sum(range(1, 16)) / 18)
    assert found["decile_1"] == 0
    assert found["median"] == pytest.approx(0.07)
    assert found["decile_9"] == pytest.approx(0.15)
    mostly_unknown = make_evaluation(eps=(), sizes=[0.1] + [np.inf] * 19)
    assert mostly_unknown.margin_statistics()["median"] == math.inf


def test_statistics_where_nothing_was_found():
    found = make_evaluation(eps=(), sizes=[np.inf] * 4).margin_statistics()
    assert math.isnan(found["mean_of_found"])
    assert found["not_found"] == 1


def test_only_flagged_checks_are_warnings():
    doubt = make_check(flagged=True)
    evaluation = make_evaluation(checks=(make_check(), doubt))
    assert evaluation.warnings == (doubt,)
    assert make_evaluation().warnings == ()


def test_stages_are_told_apart_by_their_radius():
    evaluation = make_evaluation()
    assert [stage.num_attacked for stage in evaluation.stages_at(0.1)] == [12, 8]
    assert evaluation.stages_at(None) == []
