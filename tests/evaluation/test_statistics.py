"""Wilson's interval, against published values."""

import pytest

from mma_tf.evaluation.statistics import wilson_interval


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_it_is_the_published_one(count, total, low, high):
    assert wilson_interval(count, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("total", [1, 20, 10_000])
def test_at_the_ends_one_side_is_the_end_itself(total):
    # There the other side is z^2 / (n + z^2) away.
    reach = 1.959964**2 / (total + 1.959964**2)
    assert wilson_interval(0, total) == pytest.approx((0, reach), abs=1e-6)
    assert wilson_interval(total, total) == pytest.approx((1 - reach, 1), abs=1e-6)
    assert wilson_interval(0, total).low == pytest.approx(0, abs=1e-15)
    assert wilson_interval(total, total).high <= 1


def test_errors_and_successes_mirror_each_other():
    low, high = wilson_interval(15, 20)
    assert wilson_interval(5, 20) == pytest.approx((1 - high, 1 - low))
    assert low < 0.75 < high


@pytest.mark.parametrize(("count", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_is_refused(count, total):
    with pytest.raises(ValueError, match=f"count={count}, total={total}"):
        wilson_interval(count, total)
