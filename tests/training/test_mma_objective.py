"""The MMA objective by hand."""

import numpy as np

from mma_tf import losses
from mma_tf.training.mma_objective import mma_objective

LABELS = np.array([0, 0, 0, 0])
CLEAN = np.array([[2.0, 0.0], [3.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
MIXED = np.array([[0.1, 0.0], [0.2, 0.0], [-1.0, 0.0], [-0.1, 0.0]])
CORRECT = np.array([True, True, False, True])
EPS = np.array([0.1, 0.3, 0.0, 0.31])


def objective(coefficient, d_max=0.3):
    return mma_objective(
        labels=LABELS,
        clean_logits=CLEAN,
        mixed_logits=MIXED,
        correct=CORRECT,
        eps=EPS,
        d_max=d_max,
        clean_loss_coeff=coefficient,
    ).numpy()


def test_active_hinged_and_wrong_examples():
    clean, mixed = (
        losses.cross_entropy(LABELS, CLEAN),
        losses.cross_entropy(LABELS, MIXED),
    )
    expected = [
        clean[0] / 3 + 2 * mixed[0] / 3,
        clean[1] / 3,
        clean[2],
        clean[3] / 3,
    ]
    np.testing.assert_allclose(objective(1 / 3), expected)


def test_coefficient_one_is_the_clean_loss_and_zero_has_none_of_it():
    np.testing.assert_allclose(objective(1.0), losses.cross_entropy(LABELS, CLEAN))
    mixed = losses.cross_entropy(LABELS, MIXED).numpy()
    np.testing.assert_allclose(objective(0.0), [mixed[0], 0, mixed[2], 0])


def test_hinge_leaves_only_the_wrong_examples_where_all_margins_are_reached():
    values = objective(0.0, d_max=1e-9)
    np.testing.assert_array_equal(values > 0, ~CORRECT)
