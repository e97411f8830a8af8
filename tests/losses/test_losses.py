"""Per-example losses: hand-made numbers, the authors' numbers, and inequalities."""

import math
import pathlib

import numpy as np
import pytest

from mma_tf import losses

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata"

LOGITS = np.array([[1.0, 3.0, 2.0], [-4.0, -5.0, -7.0]])
LABELS = np.array([1, 1])


def test_values_by_hand():
    lse = math.log(math.e + math.e**2)
    np.testing.assert_allclose(
        losses.logit_margin_loss(LABELS, LOGITS), [2 - 3, -4 + 5]
    )
    np.testing.assert_allclose(
        losses.soft_logit_margin_loss(LABELS, LOGITS),
        [lse - 3, math.log(math.exp(-4) + math.exp(-7)) + 5],
    )
    np.testing.assert_allclose(losses.carlini_wagner_loss(LABELS, LOGITS), [49.0, 51.0])
    np.testing.assert_allclose(
        losses.cross_entropy(LABELS, LOGITS)[0],
        math.log(math.exp(1) + math.exp(3) + math.exp(2)) - 3,
    )


def test_carlini_wagner_loss_ends_where_the_lead_is_fifty_logits():
    logits = [[0.0, 60.0], [0.0, 40.0]]
    np.testing.assert_allclose(losses.carlini_wagner_loss([1, 1], logits), [0.0, 10.0])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("loss", "field"),
    [
        (losses.cross_entropy, "xent"),
        (losses.logit_margin_loss, "logit_margin"),
        (losses.soft_logit_margin_loss, "soft_logit_margin"),
    ],
)
def test_authors_values(norm, loss, field):
    golden = np.load(TESTDATA / f"an_pgd_{norm}.npz")
    values = loss(golden["labels"], golden["logits"])
    np.testing.assert_allclose(values, golden[field], rtol=0, atol=1e-6)


def test_soft_margin_bounds_margin_and_gives_cross_entropy():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=5, size=(200, 7))
    labels = rng.integers(7, size=200)
    hard = losses.logit_margin_loss(labels, logits).numpy()
    soft = losses.soft_logit_margin_loss(labels, logits).numpy()
    assert np.all(hard <= soft + 1e-12)
    assert np.all(soft <= hard + math.log(6) + 1e-12)
    np.testing.assert_allclose(
        losses.cross_entropy(labels, logits), np.logaddexp(0, soft), rtol=1e-10
    )
    wrong = np.argmax(logits, axis=1) != labels
    np.testing.assert_array_equal(hard >= 0, wrong)


def test_label_smoothing_shares_a_part_of_the_target_among_all_classes():
    lse = math.log(math.exp(1) + math.exp(3) + math.exp(2))
    smoothed = losses.cross_entropy(LABELS, LOGITS, label_smoothing=0.3)
    np.testing.assert_allclose(smoothed[0], lse - 0.7 * 3 - 0.3 * 2)
    np.testing.assert_allclose(
        losses.cross_entropy(LABELS, LOGITS, label_smoothing=1e-12),
        losses.cross_entropy(LABELS, LOGITS),
    )


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_label_smoothing_keeps_the_dtype(dtype):
    import tensorflow as tf

    logits = tf.cast(tf.constant(LOGITS), dtype)
    values = losses.cross_entropy(LABELS, logits, label_smoothing=0.1)
    assert values.dtype == logits.dtype


@pytest.mark.parametrize(
    "name", [name for name in losses.__all__ if not name.startswith("targeted")]
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_dtype_goes_through(name, dtype):
    import tensorflow as tf

    logits = tf.cast(tf.constant(LOGITS), dtype)
    values = getattr(losses, name)(LABELS, logits)
    assert values.dtype == logits.dtype
    assert values.shape == [2]


@pytest.mark.parametrize(
    "name", [name for name in losses.__all__ if not name.startswith("targeted")]
)
@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_labels_may_be_small_whole_numbers(name, dtype):
    loss = getattr(losses, name)
    np.testing.assert_array_equal(
        loss(LABELS.astype(dtype), LOGITS), loss(LABELS, LOGITS)
    )
