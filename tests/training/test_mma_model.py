"""The MMA training step: the authors' gradient, neutral settings, memory, devices."""

import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf import MMAModel, UserError, losses
from mma_tf.best_model import validation_judgement
from mma_tf.recipes import resolve
from mma_tf.training import PGDModel, StandardModel, TRADESModel, mma_model
from tests.attacks.test_attacks import golden_network
from tests.classifiers import random_examples, small_network

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata"


def sgd(learning_rate=1.0):
    return keras.optimizers.SGD(learning_rate)


def indexed(images, labels, *, batch_size, index=None):
    index = np.arange(len(images)) if index is None else index
    data = tf.data.Dataset.from_tensor_slices(
        ({"image": images, "index": index.astype("int64")}, labels)
    )
    return data.batch(batch_size)


def make(classifier, **changes):
    settings = {
        "norm": "linf",
        "d_max": 0.2,
        "min_eps": 0.05,
        "attack_steps": 3,
        "search_steps": 6,
    }
    return MMAModel(classifier, **{**settings, **changes})


def weights_of(model):
    return [weight.copy() for weight in model.classifier.get_weights()]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_step_has_the_authors_gradient(norm, monkeypatch):
    keras.config.set_dtype_policy("float64")
    golden = np.load(TESTDATA / f"an_pgd_{norm}.npz")
    network = golden_network(golden)
    model = MMAModel(
        network,
        norm=norm,
        d_max=float(golden["d_max"]),
        max_eps_factor=float(golden["max_eps"]) / float(golden["d_max"]),
        num_examples=len(golden["labels"]),
        min_eps=1e-9,
        attack_steps=int(golden["num_pgd_steps"]),
        search_steps=int(golden["num_search_steps"]),
        step_size_factor=float(golden["step_scale"]),
        clean_loss_coeff=float(golden["clean_loss_coeff"]),
    )
    model.compile(sgd())
    # The authors' numbers were made without a random start.
    an_pgd = mma_model.an_pgd
    monkeypatch.setattr(
        mma_model,
        "an_pgd",
        lambda *args, **kwargs: an_pgd(*args, **kwargs, random_start=False),
    )
    index = np.arange(len(golden["labels"]))
    model.memory.store(tf.constant(index), golden["prev_eps"])
    data = indexed(golden["images"], golden["labels"], batch_size=len(index))
    model.fit(data, shuffle=False, verbose=0)
    for i, new in enumerate(network.get_weights()):
        gradient = golden[f"weight_{i}"] - new
        np.testing.assert_allclose(gradient, golden[f"grad_{i}"], rtol=0, atol=1e-6)
    remembered = model.memory.kept.numpy()
    np.testing.assert_allclose(remembered, golden["eps_all"], rtol=0, atol=1e-6)


def test_clean_coefficient_one_is_plain_training():
    images, labels = random_examples(np.random.default_rng(0), 16)
    results = []
    for kind in (lambda c: make(c, clean_loss_coeff=1.0), StandardModel):
        keras.utils.set_random_seed(1)
        model = kind(small_network())
        model.compile(sgd(0.1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
        results.append(weights_of(model))
    for first, second in zip(*results, strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)


def test_standard_model_is_keras_own_training():
    images, labels = random_examples(np.random.default_rng(0), 16)
    keras.utils.set_random_seed(1)
    ours = StandardModel(small_network(batch_norm=True))
    ours.compile(sgd(0.1))
    theirs = small_network(batch_norm=True)
    theirs.set_weights(ours.classifier.get_weights())
    theirs.compile(
        sgd(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    for model in (ours, theirs):
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
    for first, second in zip(weights_of(ours), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)


def test_wrong_examples_are_trained_on_as_they_are_and_remembered_as_zero():
    images, _ = random_examples(np.random.default_rng(0), 8)
    network = small_network()
    wrong = (np.argmax(network(images), axis=1) + 1) % 3
    reference = small_network()
    reference.set_weights(network.get_weights())
    model = make(network, num_examples=8)
    model.compile(sgd(0.5))
    model.memory.store(tf.range(8), tf.fill([8], 0.15))
    model.fit(indexed(images, wrong, batch_size=8), shuffle=False, verbose=0)
    plain = StandardModel(reference)
    plain.compile(sgd(0.5))
    plain.fit(images, wrong, batch_size=8, shuffle=False, verbose=0)
    for first, second in zip(weights_of(model), weights_of(plain), strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(model.memory.kept.numpy(), np.zeros(8))


@pytest.mark.parametrize(("norm", "diameter"), [("linf", 1.0), ("l2", 6.0)])
def test_the_search_ends_where_the_box_does(norm, diameter):
    images, labels = random_examples(np.random.default_rng(0), 8)
    d_max = 0.99 * diameter
    settings = {"d_max": d_max, "max_eps_factor": 2.0, "margin_memory": False}
    model = make(small_network(), norm=norm, **settings)
    assert model.max_eps(images.shape[1:]) == diameter
    assert model.max_eps((60, 60, 1)) == min(2 * d_max, 1 if norm == "linf" else 60)
    model.compile(sgd())
    history = model.fit(images, labels, verbose=0).history
    assert 0 <= history["eps"][0] <= diameter
    judge = resolve("digits", norm, overrides={"d_max": 0.99, "max_eps_factor": 9.0})
    found = validation_judgement(judge.recipe, (2, 2, 1)).max_eps
    assert found == (1.0 if norm == "linf" else 2.0)


def test_memory_keeps_margins_by_index_and_starts_the_next_search_there(monkeypatch):
    images, labels = random_examples(np.random.default_rng(0), 12)
    network = small_network()
    labels = np.argmax(network(images), axis=1)
    model = make(network, num_examples=20, d_max=0.9)
    model.compile(sgd(0.0))
    index = np.random.default_rng(1).permutation(20)[:12]
    history = model.fit(
        indexed(images, labels, batch_size=4, index=index), shuffle=False, verbose=0
    )
    kept = model.memory.kept.numpy()
    assert np.all(kept[index] > 0)
    assert np.count_nonzero(kept) == 12
    np.testing.assert_allclose(history.history["eps"][0], kept[index].mean(), rtol=1e-5)
    starts, an_pgd = [], mma_model.an_pgd

    def spy(*args, **kwargs):
        starts.extend(kwargs["initial_eps"].numpy())
        return an_pgd(*args, **kwargs)

    monkeypatch.setattr(mma_model, "an_pgd", spy)
    model.compile(sgd(0.0), run_eagerly=True)
    data = indexed(images, labels, batch_size=4, index=index)
    model.fit(data, shuffle=False, verbose=0)
    np.testing.assert_allclose(starts, np.maximum(kept[index], 0.05))


def logs_of_steps(num_steps, **changes):
    """Returns the logs of steps on one batch that leave the weights alone."""
    keras.utils.set_random_seed(1)
    network = small_network()
    # Sure of itself, so that L_SLM < 0 nearly wherever L_LM is.
    last = network.layers[-1]
    last.set_weights([20 * weight for weight in last.get_weights()])
    images, _ = random_examples(np.random.default_rng(0), 8)
    labels = np.argmax(network(images), axis=1)
    model = make(network, num_examples=8, **changes)
    model.compile(sgd(0.0))
    seen = []
    model.fit(
        indexed(images, labels, batch_size=8),
        epochs=num_steps,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: seen.append(logs)
            )
        ],
    )
    return seen


def test_attack_steps_rise_from_the_first_to_the_last():
    settings = {"margin_memory": False, "d_max": 0.9}
    rising = logs_of_steps(
        4, attack_steps=9, first_attack_steps=1, ramp_steps=2, **settings
    )
    for step, num in enumerate((1, 5, 9, 9)):
        constant = logs_of_steps(4, attack_steps=num, **settings)
        assert rising[step]["eps"] == pytest.approx(constant[step]["eps"], rel=1e-6)
    assert rising[0]["eps"] != pytest.approx(rising[2]["eps"], rel=1e-3)


def test_without_memory_every_search_starts_at_min_eps():
    (first, second) = logs_of_steps(2, margin_memory=False, d_max=0.9)
    (kept, moved) = logs_of_steps(2, d_max=0.9)
    assert first["eps"] == kept["eps"]
    assert second["eps"] == pytest.approx(first["eps"], rel=0.05)
    assert moved["eps"] != second["eps"]


def test_without_hinge_images_beyond_d_max_are_trained_on():
    settings = {"d_max": 0.005, "min_eps": 0.005, "clean_loss_coeff": 0.0}
    (hinged,) = logs_of_steps(1, **settings)
    (free,) = logs_of_steps(1, hinge=False, **settings)
    assert hinged["at_d_max"] == free["at_d_max"] > 0.5
    assert free["loss"] > 1.2 * hinged["loss"]


def test_without_line_search_the_attack_has_a_fixed_length():
    (short,) = logs_of_steps(1, search_steps=0, fixed_eps=0.07)
    (long,) = logs_of_steps(1, search_steps=0, fixed_eps=0.14)
    # The others are classified wrong by L_SLM, and count as 0.
    num_right = 8 * short["eps"] / 0.07
    assert num_right == pytest.approx(round(num_right))
    assert num_right > 4
    assert long["eps"] == pytest.approx(2 * short["eps"])
    assert long["loss"] > short["loss"]
    # At d_max all the same: there is no margin for a hinge to be at.
    (longest,) = logs_of_steps(1, search_steps=0, fixed_eps=0.2)
    assert longest["loss"] > long["loss"]


def test_fit_without_index_warns_and_trains():
    images, labels = random_examples(np.random.default_rng(0), 60)
    model = make(small_network())
    model.compile(keras.optimizers.Adam(0.01))
    with pytest.warns(UserWarning, match="without a memory of margins"):
        history = model.fit(images, labels, epochs=12, batch_size=20, verbose=0)
    losses_seen = history.history["loss"]
    assert losses_seen[-1] < losses_seen[0]
    assert history.history["accuracy"][-1] > 0.8
    result = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert set(result) == {"loss", "accuracy"}
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), model.classifier.predict(images, verbose=0)
    )


def test_labels_of_a_byte_are_labels():
    images, labels = random_examples(np.random.default_rng(0), 20)
    losses_seen = []
    for dtype in ("uint8", "int32"):
        keras.utils.set_random_seed(0)
        model = StandardModel(small_network())
        model.compile(keras.optimizers.SGD(0.01))
        history = model.fit(images, labels.astype(dtype), shuffle=False, verbose=0)
        losses_seen.append(history.history["loss"])
        model.evaluate(images, labels.astype(dtype), verbose=0)
    assert losses_seen[0] == losses_seen[1]


def test_half_precision_does_not_round_the_images():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        seen = []
        classifier = small_network()

        class Seen(keras.Model):
            def call(self, images):
                seen.append(images.dtype)
                return classifier(images)

        model = StandardModel(Seen(autocast=False))
        model(tf.constant(random_examples(np.random.default_rng(0), 2)[0]))
    finally:
        keras.config.set_dtype_policy(before)
    assert seen[-1] == "float32"


def test_margins_grow_under_training():
    images, labels = random_examples(np.random.default_rng(0), 60)
    model = make(small_network(), num_examples=60)
    model.compile(keras.optimizers.Adam(0.01))
    data = indexed(images, labels, batch_size=20)
    history = model.fit(data, epochs=25, shuffle=False, verbose=0).history
    assert history["eps"][-1] > history["eps"][2] > 0


def test_weight_decay_adds_to_each_gradient():
    images, labels = random_examples(np.random.default_rng(0), 8)
    results = {}
    for decay in (0.0, 0.1):
        keras.utils.set_random_seed(1)
        model = StandardModel(small_network(), weight_decay=decay)
        model.compile(sgd(1.0))
        before = weights_of(model)
        model.fit(images, labels, batch_size=8, verbose=0)
        results[decay] = [b - a for b, a in zip(before, weights_of(model), strict=True)]
    for plain, decayed, weight in zip(results[0.0], results[0.1], before, strict=True):
        np.testing.assert_allclose(decayed - plain, 0.1 * weight, rtol=0, atol=1e-6)


def test_the_classifiers_own_regularisers_count():
    images, labels = random_examples(np.random.default_rng(0), 16)

    def classifier():
        layers = [
            keras.Input((6, 6, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l1"),
        ]
        return keras.Sequential(layers)

    ours = StandardModel(classifier())
    ours.compile(sgd(0.1))
    theirs = classifier()
    theirs.set_weights(ours.classifier.get_weights())
    theirs.compile(
        sgd(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    for model in (ours, theirs):
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
    for first, second in zip(weights_of(ours), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)
    robust = make(classifier(), num_examples=16)
    robust.compile(sgd(0.1))
    robust.fit(indexed(images, labels, batch_size=8), shuffle=False, verbose=0)


def test_same_seed_same_weights_and_another_seed_others():
    images, labels = random_examples(np.random.default_rng(0), 16)
    results = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(1)
        model = PGDModel(small_network(), norm="linf", eps=0.1, seed=seed)
        model.compile(sgd(0.1))
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
        results.append(weights_of(model)[0])
    np.testing.assert_array_equal(results[0], results[1])
    assert np.any(results[0] != results[2])


def test_pgdls_starts_without_perturbation_and_grows():
    images, labels = random_examples(np.random.default_rng(0), 16)
    model = PGDModel(small_network(), norm="linf", eps=0.2, ramp_steps=4)
    model.compile(sgd(0.0))
    radii = []
    for _ in range(6):
        radii.append(model.fit(images, labels, batch_size=16, verbose=0).history["eps"])
    np.testing.assert_allclose(np.ravel(radii), [0, 0.05, 0.1, 0.15, 0.2, 0.2])


def test_trades_without_weight_is_plain_training_and_its_divergence_is_positive():
    images, labels = random_examples(np.random.default_rng(0), 16)
    results = []
    for kind in (
        StandardModel,
        lambda c: TRADESModel(c, norm="l2", eps=0.5, beta=0.0),
        lambda c: TRADESModel(c, norm="l2", eps=0.5, beta=6.0),
    ):
        keras.utils.set_random_seed(1)
        model = kind(small_network())
        model.compile(sgd(0.1))
        history = model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
        results.append(weights_of(model)[0])
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-6)
    assert np.max(np.abs(results[0] - results[2])) > 1e-4
    assert history.history["divergence"][0] > 0


def test_batch_normalisation_moves_twice_a_step_and_not_in_the_attack():
    images, labels = random_examples(np.random.default_rng(0), 8)
    network = small_network(batch_norm=True)
    model = make(network, num_examples=8)
    norm = network.layers[1]
    labels = np.argmax(network(images), axis=1)
    means = []
    original = norm.call
    norm.call = lambda x, training=None, mask=None: (
        means.append(training),
        original(x, training=training, mask=mask),
    )[1]
    model.compile(sgd(0.0), run_eagerly=True)
    model.fit(indexed(images, labels, batch_size=8), shuffle=False, verbose=0)
    assert means.count(True) == 2
    assert means.count(False) == 3 + 6


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_trains_with_float32_weights(policy):
    keras.config.set_dtype_policy(policy)
    images, labels = random_examples(np.random.default_rng(0), 60)
    model = make(small_network(), num_examples=60)
    model.compile(keras.optimizers.Adam(0.01))
    data = indexed(images, labels, batch_size=20)
    history = model.fit(data, epochs=12, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert model.classifier.weights[0].dtype == "float32"
    assert int(model.steps_done.numpy()) == 36


@pytest.mark.parametrize(
    ("batch_norm", "changes"),
    [
        (True, {"norm": "l2", "start_queries": 2}),
        (False, {"search_share": 0.5, "start_queries": 2}),
        (False, {"search_share": 0.5, "start_queries": 2, "direction_memory": True}),
        (False, {"norm": "l2", "start_queries": 2, "direction_memory": True}),
    ],
)
def test_the_step_compiles_with_xla_and_gives_the_same(batch_norm, changes):
    images, _ = random_examples(np.random.default_rng(0), 16)
    results, directions = [], []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        classifier = small_network(batch_norm=batch_norm)
        # What is right from the start has a margin to find and a direction to keep.
        labels = np.argmax(classifier(images), -1)
        model = make(classifier, num_examples=16, **changes)
        model.compile(sgd(0.1), jit_compile=jit_compile)
        data = indexed(images, labels, batch_size=16)
        model.fit(data, epochs=2, shuffle=False, verbose=0)
        results.append([*weights_of(model), model.memory.kept.numpy()])
        if model.directions is not None:
            directions.append(tf.cast(model.directions.kept, tf.float32).numpy())
    for plain, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(plain, compiled, rtol=0, atol=1e-3)
    if directions:
        plain, compiled = directions
        assert np.any(plain)
        # They are kept with 8 significant bits.
        np.testing.assert_allclose(plain, compiled, rtol=2**-8, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"search_share": 0.5}, {"start_queries": 2}, {"direction_memory": True}],
)
def test_float64_goes_through(changes):
    keras.config.set_dtype_policy("float64")
    images, labels = random_examples(np.random.default_rng(0), 8)
    model = make(small_network(), num_examples=8, **changes)
    model.compile(sgd(0.1))
    data = indexed(images.astype("float64"), labels, batch_size=8)
    history = model.fit(data, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"][0])
    assert model.classifier.weights[0].dtype == "float64"


def test_any_keras_classifier_and_any_callback():
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)
            self.dropout = keras.layers.Dropout(0.5)

        def call(self, x, training=None):
            flat = keras.ops.reshape(x, (-1, 36))
            return self.dense(self.dropout(flat, training=training))

    images, labels = random_examples(np.random.default_rng(0), 20)
    model = make(Mine(), num_examples=20)
    model.compile("sgd")
    seen = []
    model.fit(
        indexed(images, labels, batch_size=10),
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: seen.append(sorted(logs))
            )
        ],
    )
    assert seen == [["accuracy", "at_d_max", "eps", "loss"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_max": 0.0}, r"d_max=0.0"),
        ({"d_max": 8.0}, r"did you mean 8/255\?"),
        ({"norm": "l3"}, r"norm='l3'"),
        ({"min_eps": 0.3}, r"min_eps=0.3"),
        ({"clean_loss_coeff": 1.5}, r"clean_loss_coeff=1.5"),
        ({"attack_steps": 0}, r"attack_steps=0"),
        ({"first_attack_steps": 0}, r"first_attack_steps=0"),
        ({"first_attack_steps": 2}, r"ramp_steps=0"),
        ({"search_steps": -1}, r"search_steps=-1"),
        ({"start_queries": -1}, r"start_queries=-1"),
        ({"search_steps": 0}, r"fixed_eps=0.0"),
        ({"search_steps": 0, "fixed_eps": 0.3}, r"fixed_eps=0.3"),
        ({"first_attack_steps": 4, "ramp_steps": 9}, r"first_attack_steps=4"),
        ({"max_eps_factor": 1.0}, r"max_eps_factor=1.0"),
        ({"step_size_factor": -1.0}, r"step_size_factor=-1.0"),
        ({"weight_decay": -1.0}, r"weight_decay=-1.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing=1.0"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make(small_network(), **changes)


def test_a_softmax_is_refused():
    network = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    with pytest.raises(UserError, match="logits"):
        make(network)


def test_a_loss_and_sample_weights_are_refused():
    images, labels = random_examples(np.random.default_rng(0), 8)
    model = StandardModel(small_network())
    with pytest.raises(ValueError, match="brings its own"):
        model.compile("sgd", loss="mse")
    model.compile("sgd")
    with pytest.raises(ValueError, match="sample_weight"):
        model.fit(images, labels, sample_weight=np.ones(8), verbose=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x * 255, y), "divide bytes by 255"),
        (lambda x, y: (x - 1, y), r"expected pixels in \[0, 1\]"),
        (lambda x, y: (x, y + 5), "expected 0 to 2"),
    ],
)
def test_bad_data_is_named(spoil, message):
    images, labels = spoil(*random_examples(np.random.default_rng(0), 8))
    model = StandardModel(small_network())
    model.compile("sgd")
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        model.fit(images, labels, verbose=0)


def test_one_hot_labels_are_refused():
    images, labels = random_examples(np.random.default_rng(0), 8)
    model = StandardModel(small_network())
    model.compile("sgd")
    with pytest.raises(ValueError, match="argmax"):
        model.fit(images, keras.utils.to_categorical(labels, 3), verbose=0)


def test_index_without_memory_and_memory_without_index_are_refused():
    images, labels = random_examples(np.random.default_rng(0), 8)
    forgetful = make(small_network())
    forgetful.compile("sgd")
    with (
        pytest.warns(UserWarning, match="memory"),
        pytest.raises(ValueError, match="num_examples=None"),
    ):
        forgetful.fit(indexed(images, labels, batch_size=8), shuffle=False, verbose=0)
    remembering = make(small_network(), num_examples=8)
    remembering.compile("sgd")
    with pytest.raises(ValueError, match="with_index"):
        remembering.fit(images, labels, verbose=0)


def test_accuracy_in_training_is_that_of_the_clean_images():
    images, labels = random_examples(np.random.default_rng(0), 40)
    model = PGDModel(small_network(), norm="linf", eps=1.0)
    model.compile(sgd(0.0))
    expected = np.mean(np.argmax(model.classifier(images), axis=1) == labels)
    history = model.fit(images, labels, batch_size=20, verbose=0).history
    np.testing.assert_allclose(history["accuracy"], [expected], rtol=1e-6)
    clean = np.mean(losses.cross_entropy(labels, model.classifier(images)))
    assert history["loss"][0] > clean
