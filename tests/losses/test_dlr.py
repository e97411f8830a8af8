"""The difference of logits ratio: numbers by hand and what leaves it alone."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.losses.dlr import dlr_loss, target_difference, targeted_dlr_loss
from mma_tf.losses.registry import get_attack_loss, is_targeted

# Sorted: 5, 3, 2, -1.
LOGITS = np.array([[3.0, -1.0, 5.0, 2.0]] * 3)


def test_values_by_hand():
    # (best wrong - true) / (largest - third)
    np.testing.assert_allclose(
        dlr_loss([2, 0, 1], LOGITS), [(3 - 5) / 3, (5 - 3) / 3, (5 + 1) / 3]
    )


def test_targeted_values_by_hand():
    # (target - true) / (largest - mean of third and fourth)
    scale = 5 - (2 - 1) / 2
    np.testing.assert_allclose(
        targeted_dlr_loss([2, 2, 0], LOGITS, [0, 1, 3]),
        [(3 - 5) / scale, (-1 - 5) / scale, (2 - 3) / scale],
    )
    np.testing.assert_array_equal(
        target_difference([2, 2, 0], LOGITS, [0, 1, 3]), [-2.0, -6.0, -1.0]
    )


def test_only_the_four_largest_of_many_logits_count():
    many = np.concatenate([LOGITS, np.full([3, 6], -50.0)], axis=1)
    targets = [0, 1, 3]
    np.testing.assert_allclose(dlr_loss([2, 0, 1], many), dlr_loss([2, 0, 1], LOGITS))
    np.testing.assert_allclose(
        targeted_dlr_loss([2, 2, 0], many, targets),
        targeted_dlr_loss([2, 2, 0], LOGITS, targets),
    )


@pytest.mark.parametrize("loss", ["dlr", "targeted_dlr"])
@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (1e4, 0.0), (1.0, 30.0)])
def test_scale_and_shift_of_the_logits_do_not_matter(loss, scale, shift):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 10))
    labels = rng.integers(10, size=50)
    targets = (labels + rng.integers(1, 10, size=50)) % 10
    function = get_attack_loss(loss)
    np.testing.assert_allclose(
        function(labels, scale * logits + shift, targets),
        function(labels, logits, targets),
        rtol=1e-7,
    )


def test_dlr_tells_right_from_wrong_and_is_at_least_minus_one():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(500, 5))
    labels = rng.integers(5, size=500)
    values = dlr_loss(labels, logits).numpy()
    np.testing.assert_array_equal(values > 0, np.argmax(logits, axis=1) != labels)
    assert np.all(values >= -1)


@pytest.mark.parametrize("loss", ["dlr", "targeted_dlr"])
def test_equal_logits_give_no_nan_nor_does_their_gradient(loss):
    logits = tf.ones([2, 5])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = get_attack_loss(loss)([0, 1], logits, [1, 2])
    np.testing.assert_array_equal(values, [0, 0])
    assert np.all(np.isfinite(tape.gradient(values, logits)))


def test_too_few_classes_are_refused():
    with pytest.raises(ValueError, match=r"dlr_loss expects at least 3.*2 classes"):
        dlr_loss([0], [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"targeted_dlr_loss expects at least 4.*3 c"):
        targeted_dlr_loss([0], [[1.0, 2.0, 3.0]], [1])
    # Their own least numbers of classes are enough.
    np.testing.assert_allclose(dlr_loss([0], [[1.0, 2.0, 3.0]]), [1.0])


def test_losses_go_by_their_names():
    assert is_targeted("targeted_dlr")
    assert is_targeted("target_difference")
    assert not is_targeted("dlr")
    with pytest.raises(ValueError, match=r"cross_entropy.*dlr.*loss='ce'"):
        get_attack_loss("ce")
