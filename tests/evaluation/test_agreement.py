"""Our AutoAttack beside that of its authors, on one network in both frameworks.

`tests/testdata/autoattack_mnist_*.npz` hold the weights, 1,000 MNIST test images and
what the authors' code found; `benchmarks/independent_autoattack.py` made them.
"""

import pathlib

import keras
import numpy as np
import pytest

from mma_tf.evaluation import evaluate

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata"
STAGES = ("apgd_ce", "apgd_t", "fab_t", "square")


def reference_network(theirs):
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 4, 2, "same", activation="relu"),
            layers.Conv2D(32, 4, 2, "same", activation="relu"),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dense(10),
        ]
    )
    network.set_weights([theirs[f"weight_{i}"] for i in range(8)])
    return network


@pytest.fixture(params=["linf", "l2"])
def theirs(request):
    with np.load(TESTDATA / f"autoattack_mnist_{request.param}.npz") as file:
        return dict(file)


def test_the_network_is_the_same(theirs):
    images = theirs["images"].astype("float32") / 255
    np.testing.assert_allclose(
        reference_network(theirs)(images), theirs["logits"], atol=1e-4
    )


@pytest.mark.slow
def test_attack_by_attack_as_many_errors_as_the_authors_code(theirs):
    assert len(theirs["images"]) == 1000
    eps = float(theirs["eps"])
    found = evaluate(
        reference_network(theirs),
        theirs["images"].astype("float32") / 255,
        theirs["labels"],
        norm=str(theirs["norm"]),
        eps=eps,
        suite="autoattack",
    )
    assert found.accuracy == np.mean(theirs["robust_clean"])
    left = theirs["robust_clean"]
    for name, stage in zip(STAGES, found.stages, strict=True):
        assert stage.name == name.replace("_", "-")
        left = left & theirs[f"robust_{name}"]
        assert stage.accuracy <= np.mean(left) + 0.01, name
    assert 0.3 < np.mean(theirs["robust_autoattack"]) < 0.7
    assert found.robust_accuracy[eps] <= np.mean(theirs["robust_autoattack"]) + 0.003
    assert found.warnings == () or all(
        check.name == "black-box attacks add nothing" for check in found.warnings
    )
