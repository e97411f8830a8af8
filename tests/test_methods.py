"""From a recipe to a model that trains by its numbers."""

import numpy as np
import pytest

from mma_tf.methods import make_classifier, make_trainable_model
from mma_tf.recipes import resolve
from mma_tf.training import mma_model, pgd_model, trades_model

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
    numbers = {"attack_steps": 3, "step_size_factor": 1.5, "step_decay": step_decay}
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
        assert kwargs.get("step_size_factor", 1.5) == 1.5
