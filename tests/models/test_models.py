"""Networks: shapes, sizes, precision, saving, and the check for logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf import UserError
from mma_tf.models import build, check_logits, lenet5, small_cnn, wide_resnet
from mma_tf.models.preprocessing import PerImageStandardization


def wide_resnet_weights(depth, width, classes=10):
    """Counts by the definition: convolutions, batch norms (4 numbers a channel)."""
    blocks, total, channels = (depth - 4) // 6, 3 * 9 * 16, 16
    for group in (16 * width, 32 * width, 64 * width):
        for _ in range(blocks):
            total += 4 * channels + 9 * channels * group + 4 * group + 9 * group**2
            total += channels * group if channels != group else 0
            channels = group
    return total + 4 * channels + channels * classes + classes


def test_sizes():
    assert lenet5().count_params() == 3_274_634
    assert wide_resnet(depth=10, width=2).count_params() == wide_resnet_weights(10, 2)
    assert wide_resnet(depth=16, width=1).count_params() == wide_resnet_weights(16, 1)


@pytest.mark.slow
def test_default_wide_resnet_is_28_4():
    assert wide_resnet().count_params() == wide_resnet_weights(28, 4)


def test_wide_resnet_of_width_one_halves_twice():
    network = wide_resnet(depth=10, width=1)
    shapes = {tuple(layer.output.shape[1:]) for layer in network.layers}
    assert {(32, 32, 16), (16, 16, 32), (8, 8, 64)} <= shapes


@pytest.mark.parametrize("network", ["small_cnn", "lenet5", "wide_resnet"])
@pytest.mark.parametrize(
    ("policy", "dtype"),
    [
        ("float32", "float32"),
        ("float64", "float64"),
        ("mixed_bfloat16", "float32"),
        ("mixed_float16", "float32"),
    ],
)
def test_logits_of_any_size_are_never_half_precision(network, policy, dtype):
    keras.config.set_dtype_policy(policy)
    model = build(network, input_shape=(12, 16, 2), num_classes=5, depth=10, width=1)
    logits = model(np.zeros((3, 12, 16, 2), "float32"))
    assert logits.shape == (3, 5)
    assert logits.dtype == dtype
    assert np.all(np.isfinite(logits))


@pytest.mark.parametrize("network", ["small_cnn", "lenet5", "wide_resnet"])
def test_images_of_a_float64_network_are_not_rounded(network):
    keras.config.set_dtype_policy("float64")
    model = build(network, input_shape=(8, 8, 1), num_classes=3, depth=10, width=1)
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 1))
    rounded = images.astype("float32").astype("float64")
    assert not np.array_equal(model(images), model(rounded))


def test_standardisation_is_tensorflows():
    images = np.random.default_rng(0).uniform(size=(3, 5, 6, 2)).astype("float32")
    images[1] = 0.7
    expected = tf.image.per_image_standardization(images)
    ours = PerImageStandardization()(images)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5)


def test_half_precision_does_not_round_what_is_standardised():
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = wide_resnet(depth=10, width=1)
    (layer,) = (x for x in network.layers if isinstance(x, PerImageStandardization))
    images = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype("float32")
    until = keras.Model(network.input, layer.output)
    expected = tf.image.per_image_standardization(images)
    np.testing.assert_allclose(until(images), expected, rtol=0, atol=2e-5)


def test_standardisation_of_a_flat_image_has_a_finite_gradient():
    images = tf.fill([1, 4, 4, 1], 0.5)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = tf.reduce_sum(PerImageStandardization()(images)[:, 0])
    assert np.all(np.isfinite(tape.gradient(outputs, images)))


@pytest.mark.parametrize("make", [small_cnn, lambda: wide_resnet(depth=10, width=1)])
def test_saving_and_exporting_keep_the_logits(make, tmp_path):
    model = make()
    images = np.random.default_rng(0).uniform(size=(2, *model.input_shape[1:]))
    images = images.astype("float32")
    logits = model(images).numpy()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again(images), logits)
    model.export(str(tmp_path / "saved_model"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    served = loaded.serve(images)
    np.testing.assert_allclose(served, logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("depth", [4, 12, 27, 0, -2])
def test_impossible_depth_is_named(depth):
    with pytest.raises(UserError, match=f"depth={depth}"):
        wide_resnet(depth=depth)


def test_unknown_network_is_named():
    with pytest.raises(UserError, match=r"lenet5, wide_resnet.*--network=resnet50"):
        build("resnet50", input_shape=(8, 8, 1), num_classes=10)


@pytest.mark.parametrize(("network", "side"), [("lenet5", 4), ("small_cnn", 2)])
def test_images_too_small_for_a_network_are_named(network, side):
    build(network, input_shape=(side, side, 1), num_classes=3)
    with pytest.raises(UserError, match=rf"{side}x{side}.*{network}.*{side - 1}x9"):
        build(network, input_shape=(side - 1, 9, 1), num_classes=3)


def dense(activation=None, classes=3, shape=(4, 4, 1)):
    layers = [
        keras.Input(shape),
        keras.layers.Flatten(),
        keras.layers.Dense(classes, activation=activation),
    ]
    return keras.Sequential(layers)


def with_batch_of(size):
    images = keras.Input((4, 4, 1), batch_size=size)
    return keras.Model(images, dense()(images))


def two_inputs():
    images = [keras.Input((4, 4, 1)), keras.Input((4, 4, 1))]
    return keras.Model(images, dense()(keras.layers.Add()(images)))


def two_outputs(make=list):
    images = keras.Input((4, 4, 1))
    logits = {"a": dense()(images), "b": dense()(images)}
    return keras.Model(images, logits if make is dict else list(logits.values()))


def test_own_network_is_loaded_with_its_weights(tmp_path):
    path = tmp_path / "mine.keras"
    mine = dense()
    mine.save(path)
    loaded = build(str(path), input_shape=(4, 4, 1), num_classes=3)
    images = np.ones((2, 4, 4, 1), "float32")
    np.testing.assert_array_equal(loaded(images), mine(images))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: dense(shape=(5, 4, 1)), r"images of shape \(4, 4, 1\)"),
        (lambda: dense(classes=4), "3 outputs"),
        (lambda: dense("softmax"), "pass logits"),
        (lambda: with_batch_of(2), r"any number of images.*\(2, 4, 4, 1\)"),
        (two_inputs, r"images of shape \(4, 4, 1\)"),
        (two_outputs, "3 outputs"),
    ],
)
def test_own_network_that_does_not_fit_is_named(model, message, tmp_path):
    path = tmp_path / "mine.keras"
    model().save(path)
    with pytest.raises(UserError, match=message):
        build(str(path), input_shape=(4, 4, 1), num_classes=3)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(UserError, match="exists"):
        build(str(tmp_path / "no.keras"), input_shape=(4, 4, 1), num_classes=3)
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(UserError, match="cannot be loaded"):
        build(str(tmp_path / "text.keras"), input_shape=(4, 4, 1), num_classes=3)


def test_a_network_saved_before_it_was_built_is_named(tmp_path):
    path = tmp_path / "mine.keras"
    config = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.warns(UserWarning, match="not yet been built"):
        config.save(path)
    with pytest.raises(UserError, match="call the model once before you save it"):
        build(str(path), input_shape=(4, 4, 1), num_classes=3)


class Hidden(keras.Model):
    """Its softmax is nowhere but in its code."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return keras.ops.softmax(self.dense(keras.ops.reshape(x, (-1, 16))))


def hidden_in_a_functional_model():
    images = keras.Input((4, 4, 1))
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(images))
    return keras.Model(images, keras.ops.softmax(logits))


def ending_in(*layers):
    return keras.Sequential([keras.Input((4, 4, 1)), dense(), *layers])


def sigmoid_as_an_operation():
    images = keras.Input((4, 4, 1))
    return keras.Model(images, keras.ops.sigmoid(dense()(images)))


@pytest.mark.parametrize(
    "model",
    [
        lambda: dense("softmax"),
        lambda: dense("sigmoid"),
        lambda: keras.Sequential([dense(), keras.layers.Softmax()]),
        lambda: keras.Sequential([keras.Input((4, 4, 1)), dense("softmax")]),
        hidden_in_a_functional_model,
        lambda: keras.Sequential([keras.Input((4, 4, 1)), Hidden()]),
        lambda: keras.Sequential([keras.layers.Dense(3, activation="softmax")]),
        sigmoid_as_an_operation,
        lambda: ending_in(keras.layers.Activation("sigmoid", dtype="float32")),
        lambda: ending_in(
            keras.layers.Activation("sigmoid"),
            keras.layers.Dropout(0.5),
            keras.layers.Activation("linear", dtype="float32"),
        ),
    ],
)
def test_probabilities_are_seen(model):
    with pytest.raises(UserError, match="pass logits"):
        check_logits(model())


@pytest.mark.parametrize(
    "model",
    [
        dense,
        lambda: dense("relu"),
        lambda: lenet5((8, 8, 1)),
        small_cnn,
        # A gate inside is no end.
        lambda: keras.Sequential([dense("sigmoid"), keras.layers.Dense(3)]),
        lambda: ending_in(keras.layers.Activation("linear", dtype="float32")),
        # Shifts all logits of an image alike: no loss and no margin changes.
        lambda: ending_in(keras.layers.Activation("log_softmax")),
    ],
)
def test_logits_are_let_through(model):
    check_logits(model())


@pytest.mark.parametrize("make", [list, dict])
def test_several_outputs_are_named(make):
    with pytest.raises(UserError, match=f"one output.*a {make.__name__}"):
        check_logits(two_outputs(make))
