"""From a recipe to a model that trains by its numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf.best_model import validation_judgement
from mma_tf.methods import make_classifier, make_model, make_trainable_model
from mma_tf.recipes import resolve
from mma_tf.training import mma_model, pgd_model, trades_model
from mma_tf.training.robust_model import Batch

SHAPE = (8, 8, 1)
# Where each method calls its attack.
ATTACKS = {
    "mma": (mma_model, "an_pgd"),
    "pgd": (pgd_model, "pgd"),
    "pgdls": (pgd_model, "pgd"),
    "trades": (trades_model, "pgd"),
}


@pytest.mark.parametrize("method", ATTACKS)
@pytest.mark.parametrize("step_decay", [False, True])
def test_the_attack_of_each_method_has_the_recipes_steps(
    method, step_decay, monkeypatch
):
    module, name = ATTACKS[method]
    attack, told = getattr(module, name), []

    def spy(*args, **kwargs):
        told.append(kwargs)
        return attack(*args, **kwargs)

    monkeypatch.setattr(module, name, spy)
    queries = 4 if method == "mma" else 0
    numbers = {
        "attack_steps": 3,
        "step_size_factor": 1.5,
        "step_decay": step_decay,
        "start_queries": queries,
    }
    recipe = resolve("digits", "linf", method, overrides=numbers).recipe
    classifier = make_classifier(recipe, image_shape=SHAPE, num_classes=10)
    model = make_trainable_model(
        recipe, classifier, image_shape=SHAPE, num_examples=8, jit_compile=False
    )
    images = np.full((8, *SHAPE), 0.5, np.float32)
    inputs = {"image": images, "index": np.arange(8)}
    model.fit(inputs, np.arange(8), batch_size=8, verbose=0)
    assert told
    for kwargs in told:
        assert int(kwargs["num_steps"]) == 3
        assert kwargs["step_decay"] is step_decay
        assert kwargs.get("num_start_queries", 0) == queries
        assert kwargs.get("step_size_factor", 1.5) == 1.5


@pytest.mark.parametrize("method", ["standard", *ATTACKS])
def test_the_loss_of_each_method_is_smoothed_as_the_recipe_says(method):
    recipe = resolve(
        "digits", "linf", method, overrides={"label_smoothing": 0.4}
    ).recipe
    # Its logits are the same for all images, so that no attack changes them.
    bias = np.linspace(-2, 2, 10).astype(np.float32)
    classifier = keras.Sequential(
        [keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer="zeros")]
    )
    classifier.build((None, *SHAPE))
    classifier.layers[-1].set_weights([np.zeros((64, 10)), bias])
    model = make_model(recipe, classifier, num_examples=10)
    # All wrong: of the right ones, MMA leaves the second loss out.
    labels = np.arange(9)
    batch = Batch(
        images=tf.fill((9, *SHAPE), 0.5),
        labels=tf.constant(labels),
        index=tf.range(9),
        seed=tf.constant([0, 0]),
    )
    with tf.GradientTape() as tape:
        loss = model.objective(batch, tape).loss
    lse = np.log(np.sum(np.exp(bias)))
    np.testing.assert_allclose(loss, lse - 0.6 * bias[labels], rtol=1e-5)


def test_validation_attacks_as_the_recipe_says():
    numbers = {
        "test_eps": 0.25,
        "test_attack_steps": 3,
        "test_step_size": 0.125,
        "test_step_decay": True,
        "test_start_queries": 5,
    }
    recipe = resolve("digits", "linf", overrides=numbers).recipe
    judge = validation_judgement(recipe, SHAPE)
    assert judge.describe() == (
        "PGD-3, linf, eps 0.25, falling steps of mean 0.125, 1 run with SLM loss, the "
        "first from 5 random queries"
    )
