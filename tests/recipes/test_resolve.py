"""Recipes for data that have none of their own, at the borders of the cases."""

import pytest

from mma_tf.recipes.resolve import comparison_recipe, resolve, to_command
from tests.recipes.commands import recipe_of


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


@pytest.mark.parametrize(
    ("method", "own", "idle", "why"),
    [
        ("mma", {"eps": 0.2}, "--eps=0.2", "--method=mma and --search_steps=10"),
        (
            "mma",
            {"search_steps": 0, "min_eps": 0.2},
            "--min_eps=0.2",
            "--method=mma and --search_steps=0",
        ),
        ("pgd", {"trades_beta": 1.0}, "--trades_beta=1.0", "--method=pgd"),
        (
            "trades",
            {"clean_loss_coeff": 1.0},
            "--clean_loss_coeff=1.0",
            "--method=trad",
        ),
        ("standard", {"attack_steps": 3}, "--attack_steps=3", "--method=standard"),
        ("mma", {"momentum": 0.5}, "--momentum=0.5", "--optimizer=adam"),
        ("mma", {"ema_momentum": 0.5}, "--ema_momentum=0.5", "--ema=false"),
        ("mma", {"depth": 16}, "--depth=16", "--network=lenet5"),
        (
            "mma",
            {"network": "mine.keras", "kernel_init": "he_normal"},
            "--kernel_init=he_normal",
            "--network=mine.keras",
        ),
        (
            "mma",
            {"network": "mine.keras", "precision": "mixed_float16"},
            "--precision=mixed_float16",
            "--network=mine.keras",
        ),
        (
            "mma",
            {"search_steps": 0, "hinge": False},
            "--hinge=false",
            "--search_steps=0",
        ),
        (
            "mma",
            {"search_steps": 0, "margin_memory": False},
            "--margin_memory=false",
            "--search_steps=0",
        ),
    ],
)
def test_a_number_that_nothing_reads_is_told(method, own, idle, why):
    notes = resolve("mnist", "linf", method, overrides=own).notes
    (told,) = [note for note in notes if "changes nothing" in note]
    assert told.startswith(f"{idle} changes nothing with {why}")


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("mma", {"search_steps": 0, "eps": 0.2, "clean_loss_coeff": 0.0}),
        ("pgd", {"eps": 0.2, "attack_steps": 3}),
        ("trades", {"trades_beta": 1.0}),
        ("mma", {"optimizer": "sgd", "momentum": 0.5, "ema": True, "min_eps": 0.2}),
        ("mma", {"network": "wide_resnet", "depth": 16, "width": 1}),
        ("mma", {"network": "wide_resnet", "precision": "mixed_float16"}),
        ("mma", {"recipe": "fast", "network": "wide_resnet"}),
        # The numbers of a flagfile that are the recipe's own are no wish of the user's.
        ("mma", {"eps": 0.3, "momentum": 0.9, "trades_beta": 6.0}),
    ],
)
def test_of_numbers_that_are_read_or_not_the_users_nothing_is_said(method, own):
    notes = resolve("mnist", "linf", method, overrides=own).notes
    assert not any("changes nothing" in note for note in notes)


def test_what_the_user_did_not_set_gives_way_to_what_the_user_set():
    own = {"recipe": "fast", "attack_steps": 4, "train_steps": 150}
    found = resolve("mnist", "linf", overrides=own)
    assert found.recipe.first_attack_steps == 4
    assert 0 <= found.recipe.warmup_steps < 150
    for told in ("as attack_steps is 4", "as train_steps is 150"):
        assert any(told in note for note in found.notes)
    assert recipe_of(to_command(found.recipe)) == found.recipe


@pytest.mark.parametrize(
    ("dataset", "overrides"),
    [
        ("digits", {}),
        ("digits", {"step_decay": True, "hinge": False, "start_queries": 3}),
        ("digits", {"search_steps": 0, "compare_steps": 70}),
        ("mnist", {"recipe": "fast", "compare_steps": 500}),
    ],
)
def test_the_comparison_is_a_run_that_a_command_can_repeat(dataset, overrides):
    clean = comparison_recipe(resolve(dataset, "linf", overrides=overrides).recipe)
    assert clean.method == "standard"
    assert recipe_of(to_command(clean)) == clean


def test_the_comparison_lowers_its_learning_rate_in_time():
    own = {"train_steps": 4000, "compare_steps": 1000}
    clean = comparison_recipe(resolve("digits", "linf", overrides=own).recipe)
    assert (clean.train_steps, clean.learning_rate_steps) == (1000, (750,))
