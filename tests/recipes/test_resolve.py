"""Recipes for data that have none of their own, at the borders of the cases."""

import pytest

from mma_tf.recipes.resolve import resolve, to_command


def derive(image_shape, num_train=20_000):
    return resolve("mine", "linf", image_shape=image_shape, num_train=num_train).recipe


@pytest.mark.parametrize(
    ("image_shape", "network"),
    [
        ((16, 16, 3), "small_cnn"),
        ((17, 8, 1), "lenet5"),
        ((64, 64, 1), "lenet5"),
        ((65, 64, 1), "wide_resnet"),
        ((17, 8, 3), "wide_resnet"),
    ],
)
def test_the_network_is_chosen_by_the_longer_side_and_colour(image_shape, network):
    assert derive(image_shape).network == network


@pytest.mark.parametrize(
    ("num_train", "epochs"), [(1400, 71), (60_000, 18), (10_000_000, 0.5)]
)
def test_tiny_images_are_seen_often_however_many_they_are(num_train, epochs):
    recipe = derive((8, 8, 1), num_train)
    seen = recipe.train_steps * recipe.batch_size / num_train
    assert seen == pytest.approx(epochs, rel=0.03)
    (drop,) = recipe.learning_rate_steps
    assert drop == pytest.approx(0.75 * recipe.train_steps, abs=1)
    assert recipe.train_steps // recipe.validate_every == 10


@pytest.mark.parametrize("name", ["run_dir", "norm", "dataset", "method"])
def test_what_is_no_number_of_a_recipe_cannot_be_overridden(name):
    with pytest.raises(ValueError, match=name):
        resolve("mnist", "linf", overrides={name: "linf"})


def test_a_shorter_training_lowers_its_learning_rate_sooner():
    usual = resolve("cifar10", "linf")
    assert not any("learning_rate_steps" in note for note in usual.notes)
    found = resolve("cifar10", "linf", overrides={"train_steps": 10_000})
    assert found.recipe.learning_rate_steps == (4000, 6000, 8000)
    assert any("4000,6000,8000" in note for note in found.notes)
    own = {"train_steps": 40_000, "learning_rate_steps": (1, 2, 3)}
    assert resolve("cifar10", "linf", overrides=own).recipe.learning_rate_steps == (
        1,
        2,
        3,
    )
    # Among a handful of steps there is no room: the rate stays the first one.
    few = resolve("cifar10", "linf", overrides={"train_steps": 2}).recipe
    assert few.learning_rate_steps == usual.recipe.learning_rate_steps


@pytest.mark.parametrize("steps", [2, 999, 10_000, 100_000])
def test_the_command_of_a_shorter_training_gives_its_recipe_again(steps):
    found = resolve("cifar10", "l2", overrides={"train_steps": steps}).recipe
    assert "--learning_rate_steps" not in to_command(found)
