"""Loading classifiers: ours, anyone's, and what is none."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf.errors import UserError
from mma_tf.export import export_classifier
from mma_tf.load import find_model, load_classifier, load_logits_fn

SHAPE = (6, 6, 1)
IMAGES = np.random.default_rng(0).random((3, *SHAPE)).astype("float32")


def network(*, classes=4, activation=None, batch_norm=True):
    layers = [
        keras.Input(SHAPE),
        keras.layers.Conv2D(4, 3, activation="softplus"),
        *([keras.layers.BatchNormalization()] if batch_norm else []),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(classes, activation=activation),
    ]
    model = keras.Sequential(layers)
    if batch_norm:
        # Statistics that differ from a batch's own.
        model.layers[1].moving_mean.assign([0.1, 0.2, 0.3, 0.4])
    return model


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    return network()


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "saved_model"
    trained.export(str(folder), verbose=False)
    return folder


def gradient(function, images):
    pixels = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logits = function(pixels)
    return logits.numpy(), tape.gradient(logits, pixels).numpy()


class Module(tf.Module):
    """A classifier that is no Keras model."""

    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(tf.random.stateless_normal([36, 4], (0, 1)))


def save_module(folder, *functions, callable_itself=False, input_dtype=tf.float32):
    """Saves a tf.Module with a signature for each (name, outputs of logits)."""
    module = Module()
    spec = tf.TensorSpec([None, *SHAPE], input_dtype, name="pixels")

    def logits(pixels):
        flat = tf.reshape(tf.cast(pixels, tf.float32), [-1, 36])
        return tf.matmul(flat, module.weights)

    signatures = {
        name: tf.function(
            lambda pixels, outputs=outputs: outputs(logits(pixels)), [spec]
        ).get_concrete_function()
        for name, outputs in functions
    }
    if callable_itself:
        Module.__call__ = tf.function(lambda self, pixels: logits(pixels), [spec])
        module(tf.zeros([1, *SHAPE], input_dtype))
    try:
        tf.saved_model.save(module, str(folder), signatures=signatures)
    finally:
        if callable_itself:
            del Module.__call__
    return folder


def one(logits):
    return {"scores": logits}


def two(logits):
    return {"scores": logits, "features": logits[:, :2]}


class TestWhatIsLoaded:
    def test_an_export_has_the_logits_and_gradients_of_the_model(
        self, trained, exported
    ):
        loaded = load_classifier(exported, IMAGES, num_classes=4)
        wanted = gradient(lambda x: trained(x, training=False), IMAGES)
        found = gradient(loaded.logits_fn, IMAGES)
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-6)
        np.testing.assert_allclose(found[1], wanted[1], atol=1e-6)
        assert (loaded.kind, loaded.signature) == ("saved_model", "serve")
        assert loaded.has_gradient
        assert loaded.num_classes == 4

    def test_a_keras_file_has_them_too(self, trained, tmp_path):
        trained.save(tmp_path / "model.keras")
        loaded = load_classifier(tmp_path / "model.keras", IMAGES, num_classes=4)
        wanted = gradient(lambda x: trained(x, training=False), IMAGES)
        found = gradient(loaded.logits_fn, IMAGES)
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-6)
        np.testing.assert_allclose(found[1], wanted[1], atol=1e-6)
        assert loaded.kind == "keras"

    @pytest.mark.parametrize("input_range", [(0.0, 1.0), (-1.0, 1.0)])
    def test_attacks_freeze_a_keras_file(self, trained, tmp_path, input_range):
        trained.save(tmp_path / "model.keras")
        loaded = load_classifier(
            tmp_path / "model.keras", IMAGES, input_range=input_range
        )
        frozen = loaded.logits_fn.freeze()
        assert frozen.function is not loaded.logits_fn.function
        low, high = input_range
        wanted = gradient(
            lambda x: trained(low + (high - low) * x, training=False), IMAGES
        )
        found = gradient(frozen, IMAGES)
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-5)
        np.testing.assert_allclose(found[1], wanted[1], atol=1e-5)

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_it_works_inside_a_graph(self, exported, jit_compile):
        loaded = load_classifier(exported, IMAGES)
        compiled = tf.function(loaded.logits_fn, jit_compile=jit_compile)
        np.testing.assert_allclose(
            compiled(IMAGES), loaded.logits_fn(IMAGES), atol=1e-5
        )

    def test_a_run_directory_means_its_best_model(self, trained, tmp_path):
        export_classifier(trained, tmp_path / "best", {})
        for path in (tmp_path, tmp_path / "best", tmp_path / "best" / "saved_model"):
            assert find_model(path) == tmp_path / "best" / "saved_model"

    def test_a_callable_object_without_signatures(self, tmp_path):
        folder = save_module(tmp_path / "m", callable_itself=True)
        loaded = load_classifier(folder, IMAGES, num_classes=4)
        assert loaded.signature is None
        assert loaded.has_gradient

    def test_the_only_signature_whatever_its_name(self, tmp_path):
        folder = save_module(tmp_path / "m", ("classify", one))
        assert load_classifier(folder, IMAGES).signature == "classify"

    def test_the_signature_that_is_named(self, tmp_path):
        folder = save_module(
            tmp_path / "m", ("classify", one), ("double", lambda x: {"y": 2 * x})
        )
        single = load_classifier(folder, IMAGES, signature="classify")
        double = load_classifier(folder, IMAGES, signature="double")
        np.testing.assert_allclose(
            double.logits_fn(IMAGES), 2 * single.logits_fn(IMAGES), rtol=1e-6
        )

    def test_a_range_of_pixels_is_met(self, tmp_path):
        inputs = keras.Input(SHAPE)
        wants_bytes = keras.Model(
            inputs, keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
        )
        wants_bytes.export(str(tmp_path / "m"), verbose=False)
        loaded = load_classifier(tmp_path / "m", IMAGES, input_range=(0, 255))
        np.testing.assert_allclose(
            loaded.logits_fn(IMAGES), wants_bytes(IMAGES * 255), rtol=1e-5
        )

    def test_a_model_of_bytes_has_no_gradient(self, tmp_path):
        folder = save_module(tmp_path / "m", ("serve_it", one), input_dtype=tf.uint8)
        loaded = load_classifier(folder, IMAGES, input_range=(0, 255))
        assert not loaded.has_gradient
        bytes_of = np.round(IMAGES * 255) / 255
        np.testing.assert_array_equal(
            loaded.logits_fn(IMAGES), loaded.logits_fn(bytes_of.astype("float32"))
        )

    def test_the_hash_is_that_of_the_files(self, exported, tmp_path):
        wanted = load_classifier(exported, IMAGES).sha256
        copy = shutil.copytree(exported, tmp_path / "copy")
        assert load_classifier(copy, IMAGES).sha256 == wanted
        keras.utils.set_random_seed(1)
        network().export(str(tmp_path / "other"), verbose=False)
        assert load_classifier(tmp_path / "other", IMAGES).sha256 != wanted

    def test_probabilities_are_loaded_here_and_refused_there(self, tmp_path):
        network(activation="softmax").export(str(tmp_path / "m"), verbose=False)
        load_classifier(tmp_path / "m", IMAGES)
        with pytest.raises(UserError, match="expected logits"):
            load_logits_fn(tmp_path / "m", IMAGES, num_classes=4)


class TestWhatIsNot:
    def refuse(self, path, message, **options):
        with pytest.raises(UserError, match=message) as caught:
            load_classifier(path, IMAGES, **options)
        assert "\n" not in str(caught.value)

    def test_nothing_there(self, tmp_path):
        self.refuse(tmp_path / "nowhere", "nothing of that name")

    def test_an_empty_folder(self, tmp_path):
        self.refuse(tmp_path, "no saved_model.pb in it")

    @pytest.mark.parametrize("name", ["model.h5", "model.pkl", "model.pt", "notes"])
    def test_other_formats_are_not_opened(self, name, tmp_path):
        (tmp_path / name).write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
        self.refuse(tmp_path / name, "file of another kind")

    def test_a_torn_keras_file(self, trained, tmp_path):
        path = tmp_path / "model.keras"
        trained.save(path)
        path.write_bytes(path.read_bytes()[:2000])
        self.refuse(path, "cannot be loaded")

    def test_a_lambda_layer_is_not_run(self, tmp_path):
        path = tmp_path / "model.keras"
        keras.Sequential(
            [
                keras.Input(SHAPE),
                keras.layers.Lambda(lambda x: 1 / 0 if False else x),
                keras.layers.Flatten(),
                keras.layers.Dense(4),
            ]
        ).save(path)
        self.refuse(path, "Lambda")

    def test_a_torn_graph(self, exported, tmp_path):
        copy = shutil.copytree(exported, tmp_path / "copy")
        graph = copy / "saved_model.pb"
        graph.write_bytes(graph.read_bytes()[:500])
        self.refuse(copy, "cannot be read as a SavedModel")

    def test_missing_variables(self, exported, tmp_path):
        copy = shutil.copytree(exported, tmp_path / "copy")
        shutil.rmtree(copy / "variables")
        self.refuse(copy, "cannot be read as a SavedModel")

    def test_several_signatures_want_a_choice(self, tmp_path):
        folder = save_module(tmp_path / "m", ("classify", one), ("embed", two))
        self.refuse(folder, r"several \(classify, embed\).*--signature")
        self.refuse(folder, "classify, embed", signature="serve")

    def test_two_outputs(self, tmp_path):
        folder = save_module(tmp_path / "m", ("serving_default", two))
        self.refuse(folder, r"2 outputs \((scores, features|features, scores)\)")
        inputs = keras.Input(SHAPE)
        flat = keras.layers.Flatten()(inputs)
        outputs = [keras.layers.Dense(4)(flat), keras.layers.Dense(3)(flat)]
        model = keras.Model(inputs, outputs)
        model.export(str(tmp_path / "k"), verbose=False)
        self.refuse(tmp_path / "k", "expected one output")
        model.save(tmp_path / "k.keras")
        self.refuse(tmp_path / "k.keras", "expected one output")

    def test_another_image_shape(self, exported):
        with pytest.raises(UserError, match="images of shape"):
            load_classifier(exported, np.zeros((2, 5, 6, 1), "float32"))

    def test_another_number_of_classes(self, exported):
        self.refuse(exported, "expected 10 logits", num_classes=10)

    def test_one_output_column(self, tmp_path):
        network(classes=1).export(str(tmp_path / "m"), verbose=False)
        self.refuse(tmp_path / "m", "2 or more logits")

    def test_bytes_want_their_range_said(self, tmp_path):
        folder = save_module(tmp_path / "m", ("serve_it", one), input_dtype=tf.uint8)
        self.refuse(folder, "--input_range=0,255")

    def test_a_range_that_contradicts_the_export(self, trained, tmp_path):
        description = {"input": {"range": [0.0, 1.0]}}
        export_classifier(trained, tmp_path / "best", description)
        assert json.loads((tmp_path / "best" / "classifier.json").read_text())
        self.refuse(tmp_path, "wants images in 0,1", input_range=(0, 255))

    @pytest.mark.parametrize("span", [(1, 0), (0, 0), (0, float("inf"))])
    def test_a_range_that_is_none(self, exported, span):
        self.refuse(exported, "--input_range", input_range=span)

    def test_a_signature_of_a_keras_file(self, trained, tmp_path):
        trained.save(tmp_path / "model.keras")
        self.refuse(tmp_path / "model.keras", "--signature", signature="serve")
