"""Recipes: the paper's numbers, the user's go before them, mistakes are told."""

import dataclasses
import math
import re

import pytest
from absl import flags as absl_flags

from mma_tf.cli import flags
from mma_tf.cli.parsing import parse
from mma_tf.errors import UserError
from mma_tf.recipes import Recipe, is_named, resolve
from mma_tf.recipes.quantities import format_length, parse_number
from mma_tf.recipes.resolve import default_run_name, to_command, to_flagfile
from tests.recipes.commands import recipe_of

NORMS = ("linf", "l2")
MNIST = {
    "network": "lenet5",
    "train_steps": 100_000,
    "batch_size": 50,
    "optimizer": "adam",
    "learning_rate": (1e-4,),
    "learning_rate_steps": (),
    "weight_decay": 0.0,
    "attack_steps": 40,
    "augmentation": "none",
}
CIFAR10 = {
    "network": "wide_resnet",
    "depth": 28,
    "width": 4,
    "train_steps": 50_000,
    "batch_size": 128,
    "optimizer": "sgd",
    "momentum": 0.9,
    "learning_rate": (0.3, 0.09, 0.03, 0.009),
    "learning_rate_steps": (20_000, 30_000, 40_000),
    "weight_decay": 2e-4,
    "attack_steps": 10,
    "augmentation": "pad_crop_mirror",
}
# Every recipe of the authors shares these.
COMMON = {
    "search_steps": 10,
    "step_size_factor": 2.5,
    "max_eps_factor": 1.05,
    "clean_loss_coeff": 1 / 3,
    "validation_size": 5000,
    "trades_beta": 6.0,
    "ema": False,
    "precision": "float32",
    "kernel_init": "glorot_uniform",
    "learning_rate_decay": "piecewise",
    "warmup_steps": 0,
}
PAPER = {
    ("mnist", "linf"): {
        **MNIST,
        "min_eps": 0.1,
        "test_eps": 0.3,
        "test_step_size": 0.01,
    },
    ("mnist", "l2"): {
        **MNIST,
        "min_eps": 0.5,
        "test_eps": 2.0,
        "test_step_size": 0.125,
    },
    ("cifar10", "linf"): {
        **CIFAR10,
        "min_eps": 0.005,
        "test_eps": 8 / 255,
        "test_step_size": 2 / 255,
    },
    ("cifar10", "l2"): {
        **CIFAR10,
        "min_eps": 0.5,
        "test_eps": 1.0,
        "test_step_size": 0.25,
    },
}
PAPER_D_MAX = {
    ("mnist", "linf"): (0.45,),
    ("mnist", "l2"): (2.0, 4.0, 6.0),
    ("cifar10", "linf"): (12 / 255, 20 / 255, 32 / 255),
    ("cifar10", "l2"): (1.0, 2.0, 3.0),
}


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


def recipe_for(dataset="mnist", norm="linf", method="mma", **changes):
    return resolve(dataset, norm, method, overrides=changes).recipe


def derive(image_shape, num_train=50_000, norm="linf", **changes):
    return resolve(
        "flowers",
        norm,
        overrides=changes,
        image_shape=image_shape,
        num_train=num_train,
    )


@pytest.mark.parametrize(("dataset", "norm"), PAPER)
def test_has_the_papers_numbers(dataset, norm):
    recipe = dataclasses.asdict(recipe_for(dataset, norm))
    expected = {**COMMON, **PAPER[dataset, norm]}
    assert {name: recipe[name] for name in expected} == expected
    assert recipe["d_max"] in PAPER_D_MAX[dataset, norm]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar10"])
def test_named_datasets_need_no_look_at_the_data(dataset, norm):
    assert is_named(dataset)
    resolution = resolve(dataset, norm)
    assert dataset in resolution.notes[0]
    assert norm in resolution.notes[0]


@pytest.mark.parametrize("norm", NORMS)
def test_the_fast_recipe_differs_in_how_it_trains_and_not_in_what_for(norm):
    paper, fast = recipe_for(norm=norm), recipe_for(norm=norm, recipe="fast")
    assert fast.learning_rate_decay == "cosine"
    assert fast.attack_steps < paper.attack_steps
    same = ("network", "d_max", "min_eps", "clean_loss_coeff", "search_steps")
    for name in (*same, "test_eps", "validation_size"):
        assert getattr(fast, name) == getattr(paper, name)
    assert default_run_name(fast) != default_run_name(paper)


def test_the_users_numbers_go_before_those_of_the_fast_recipe():
    recipe = recipe_for(recipe="fast", batch_size=32)
    assert (recipe.batch_size, recipe.ema_momentum) == (32, 0.998)


@pytest.mark.parametrize("dataset", ["digits", "cifar10"])
def test_a_fast_recipe_that_there_is_not_is_refused(dataset):
    with pytest.raises(UserError, match=f"--recipe=fast with --dataset={dataset}"):
        recipe_for(dataset, recipe="fast")


def test_the_users_numbers_go_before_the_recipes():
    changes = {"d_max": 0.125, "batch_size": 7, "network": "lenet5", "ema": True}
    recipe = recipe_for("cifar10", **changes)
    for name, value in changes.items():
        assert getattr(recipe, name) == value
    assert recipe.train_steps == 50_000


def test_a_rate_of_the_users_own_is_not_bound_to_the_recipes_steps():
    recipe = recipe_for("cifar10", learning_rate=(0.1,))
    assert recipe.learning_rate_steps == ()
    steps = (100,)
    recipe = recipe_for("cifar10", learning_rate=(0.1, 0.01), learning_rate_steps=steps)
    assert recipe.learning_rate_steps == steps


def test_the_steps_alone_can_be_moved():
    recipe = recipe_for("cifar10", learning_rate_steps=(2, 3, 4))
    assert recipe.learning_rate == (0.3, 0.09, 0.03, 0.009)


def test_min_eps_follows_a_smaller_dmax_and_that_is_said():
    resolution = resolve("mnist", "linf", overrides={"d_max": 0.06})
    assert resolution.recipe.min_eps == 0.03
    assert any("min_eps" in note and "0.03" in note for note in resolution.notes)
    untouched = resolve("mnist", "linf", overrides={"d_max": 0.1})
    assert untouched.recipe.min_eps == 0.1
    assert not any("min_eps" in note for note in untouched.notes)


def test_a_min_eps_of_the_users_own_is_not_lowered_but_refused():
    with pytest.raises(UserError, match=r"--min_eps=0\.2"):
        recipe_for("mnist", d_max=0.1, min_eps=0.2)


def test_eps_of_the_baselines_is_that_of_the_evaluation():
    assert recipe_for("mnist", method="pgd").eps == 0.3
    assert recipe_for("mnist", method="pgd", test_eps=0.2).eps == 0.2
    assert recipe_for("mnist", method="pgd", eps=0.1).eps == 0.1


@pytest.mark.parametrize(
    ("image_shape", "network"),
    [
        ((28, 28, 1), "lenet5"),
        ((8, 8, 1), "small_cnn"),
        ((32, 32, 3), "wide_resnet"),
        ((96, 96, 3), "wide_resnet"),
    ],
)
@pytest.mark.parametrize("norm", NORMS)
def test_an_unknown_dataset_gets_a_recipe_by_its_shape_and_is_told(
    image_shape, network, norm
):
    assert not is_named("flowers")
    resolution = derive(image_shape, norm=norm)
    recipe = resolution.recipe
    assert recipe.dataset == "flowers"
    assert recipe.network == network
    assert recipe.validation_size == 5000
    # A mirror may change what an unknown image shows.
    assert recipe.augmentation in ("none", "pad_crop")
    # Nobody asked for a second training.
    assert recipe.compare_steps == 0
    told = " ".join(resolution.notes)
    assert "flowers" in told
    assert f"network={network}" in told
    assert f"batch_size={recipe.batch_size}" in told
    d_max = re.search(r"dmax=([^,]+),", told)[1]
    assert parse_number(d_max) == pytest.approx(recipe.d_max, rel=1e-5)


def test_l2_lengths_grow_with_the_image_and_linf_lengths_do_not():
    small, large = (derive((s, s, 3), norm="l2").recipe for s in (32, 96))
    for name in ("d_max", "min_eps", "test_eps", "test_step_size"):
        assert getattr(large, name) == pytest.approx(3 * getattr(small, name))
    small, large = (derive((s, s, 3), norm="linf").recipe for s in (32, 96))
    assert large == small
    grey, colour = (derive((8, 8, c), norm="l2").recipe for c in (1, 3))
    assert colour.d_max == pytest.approx(math.sqrt(3) * grey.d_max)


def test_an_unknown_datasets_numbers_can_be_overridden():
    recipe = derive((96, 96, 3), norm="l2", d_max=0.5, validation_size=3).recipe
    assert (recipe.d_max, recipe.validation_size) == (0.5, 3)


@pytest.mark.parametrize("num_train", [2, 11, 60, 300])
def test_few_images_are_shared_between_training_and_validation(num_train):
    recipe = derive((8, 8, 1), num_train).recipe
    assert 1 <= recipe.validation_size <= num_train / 2
    assert 1 <= recipe.batch_size <= num_train - recipe.validation_size


def test_an_unknown_dataset_without_its_shape_is_a_programmers_mistake():
    with pytest.raises(ValueError, match="image_shape"):
        resolve("flowers", "linf")


def test_a_field_that_does_not_exist_is_a_programmers_mistake():
    with pytest.raises(ValueError, match="batchsize"):
        resolve("mnist", "linf", overrides={"batchsize": 3})


def test_a_command_keeps_steps_that_a_rate_of_ones_own_would_drop():
    overrides = {"learning_rate": (0.002, 0.001), "learning_rate_steps": (1500,)}
    recipe = resolve("digits", "linf", overrides=overrides).recipe
    assert "--learning_rate=0.002,0.001 --learning_rate_steps=1500" in to_command(
        recipe
    )


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("first_attack_steps", 2),
        ("hinge", False),
        ("margin_memory", False),
        ("search_share", 0.5),
        ("start_queries", 5),
        ("direction_memory", True),
    ],
)
def test_parts_of_mma_are_no_part_of_other_methods(part, value):
    with pytest.raises(UserError, match=f"--{part}=.*"):
        resolve("mnist", "linf", "pgd", overrides={part: value})
    with pytest.raises(UserError, match="--search_steps=0"):
        resolve("mnist", "linf", "trades", overrides={"search_steps": 0})


@pytest.mark.parametrize("method", ["standard", "pgd", "pgdls", "trades"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_of_the_fast_recipe_other_methods_get_what_they_have(norm, method):
    mma = recipe_for(norm=norm, recipe="fast")
    other = resolve("mnist", norm, method, overrides={"recipe": "fast"}).recipe
    assert mma.first_attack_steps > 0 == other.first_attack_steps
    assert mma.search_share < 1 == other.search_share
    assert other.step_decay is (mma.step_decay and method != "standard")
    for name in ("batch_size", "learning_rate", "ema", "train_steps", "precision"):
        assert getattr(other, name) == getattr(mma, name)


def test_where_directions_cannot_be_kept_a_recipe_that_keeps_them_does_not():
    assert recipe_for(norm="linf", recipe="fast").direction_memory
    overrides = {"recipe": "fast", "margin_memory": False}
    resolution = resolve("mnist", "linf", overrides=overrides)
    assert not resolution.recipe.direction_memory
    why = "the memory of margins is off"
    assert f"direction_memory is false, as {why}." in resolution.notes


def test_without_the_memory_the_fast_recipe_searches_whole_batches():
    overrides = {"recipe": "fast", "margin_memory": False}
    resolution = resolve("mnist", "linf", overrides=overrides)
    assert resolution.recipe.search_share == 1
    assert "search_share is 1, as the memory of margins is off." in resolution.notes
    assert to_command(resolution.recipe).endswith("=fast --margin_memory=false")
    with pytest.raises(UserError, match="--search_share="):
        resolve("mnist", "linf", overrides={**overrides, "search_share": 0.25})


@pytest.mark.parametrize(
    ("overrides", "ending"),
    [
        ({}, "--dmax=0.45"),
        ({"recipe": "fast"}, "--dmax=0.45 --recipe=fast"),
        (
            {"recipe": "fast", "hinge": False, "d_max": 0.3, "train_steps": 7000},
            "--dmax=0.3 --recipe=fast --train_steps=7000 --hinge=false",
        ),
        (
            {"learning_rate": (0.1, 1e-2), "learning_rate_steps": (9,)},
            "--dmax=0.45 --learning_rate=0.1,0.01 --learning_rate_steps=9",
        ),
        ({"test_eps": 0.2, "eps": 0.3}, "--dmax=0.45 --eps=0.3 --test_eps=0.2"),
        ({"d_max": 0.05, "min_eps": 0.01}, "--dmax=0.05 --min_eps=0.01"),
        ({"d_max": 0.05}, "--dmax=0.05"),
    ],
)
def test_the_command_of_a_recipe_gives_that_recipe(overrides, ending):
    recipe = resolve("mnist", "linf", overrides=overrides).recipe
    command = to_command(recipe)
    assert command == f"bin/train --dataset=mnist --norm=linf --method=mma {ending}"
    assert recipe_of(command) == recipe


MISTAKES = [
    ({"d_max": 0.0}, "--dmax=0", "> 0"),
    ({"d_max": -0.1}, "--dmax=-0.1", "> 0"),
    ({"d_max": 8.0}, "--dmax=8", "8/255"),
    ({"d_max": 1.5}, "--dmax=1.5", "at most 1"),
    ({"d_max": math.nan}, "--dmax=nan", "length"),
    ({"min_eps": 0.0}, "--min_eps=0", "> 0"),
    ({"min_eps": 0.5}, "--min_eps=0.5", "--dmax=0.45"),
    ({"eps": 2.0}, "--eps=2", "2/255"),
    ({"test_eps": 0.0}, "--test_eps=0", "> 0"),
    ({"test_step_size": 0.0}, "--test_step_size=0", "> 0"),
    ({"step_size_factor": 0.0}, "--step_size_factor=0", "> 0"),
    ({"clean_loss_coeff": 1.1}, "--clean_loss_coeff=1.1", "0 to 1"),
    ({"clean_loss_coeff": -0.1}, "--clean_loss_coeff=-0.1", "0 to 1"),
    ({"max_eps_factor": 1.0}, "--max_eps_factor=1", "> 1"),
    ({"recipe": "slow"}, "--recipe=slow", "paper, fast"),
    ({"kernel_init": "zeros"}, "--kernel_init=zeros", "he_normal"),
    ({"learning_rate_decay": "step"}, "--learning_rate_decay=step", "cosine"),
    ({"warmup_steps": -1}, "--warmup_steps=-1", ">= 0"),
    ({"warmup_steps": 100_000}, "--warmup_steps=100000", "--train_steps=100000"),
    (
        {"warmup_steps": 50, "compare_steps": 50},
        "--warmup_steps=50",
        "--compare_steps=50",
    ),
    (
        {"learning_rate_decay": "cosine", "learning_rate": (0.1, 0.01)},
        "--learning_rate=0.1,0.01",
        "one number",
    ),
    ({"ema_momentum": 1.0}, "--ema_momentum=1", "below 1"),
    ({"momentum": -0.1}, "--momentum=-0.1", "from 0"),
    ({"label_smoothing": 1.0}, "--label_smoothing=1", "below 1"),
    ({"weight_decay": -1e-4}, "--weight_decay=-0.0001", ">= 0"),
    ({"trades_beta": -1.0}, "--trades_beta=-1", ">= 0"),
    ({"seed": -1}, "--seed=-1", "whole number"),
    ({"compare_steps": -1}, "--compare_steps=-1", ">= 0"),
    ({"augmentation_pad": -1}, "--augmentation_pad=-1", ">= 0"),
    ({"search_share": 0.0}, "--search_share=0", "above 0"),
    ({"search_share": 1.1}, "--search_share=1.1", "up to 1"),
    (
        {"search_share": 0.5, "margin_memory": False},
        "--search_share=0.5",
        "--nomargin_memory",
    ),
    (
        {"direction_memory": True, "margin_memory": False},
        "--direction_memory=true",
        "--nomargin_memory",
    ),
    ({"augmentation_pad": 2}, "--augmentation_pad=2", "--augmentation=none"),
    ({"validation_size": 0}, "--validation_size=0", ">= 1"),
    ({"train_steps": 0}, "--train_steps=0", ">= 1"),
    ({"batch_size": 0}, "--batch_size=0", ">= 1"),
    ({"attack_steps": 0}, "--attack_steps=0", ">= 1"),
    ({"search_steps": -1}, "--search_steps=-1", ">= 0"),
    ({"test_start_queries": -1}, "--test_start_queries=-1", ">= 0"),
    ({"start_queries": -1}, "--start_queries=-1", ">= 0"),
    ({"first_attack_steps": -1}, "--first_attack_steps=-1", ">= 0"),
    ({"first_attack_steps": 99}, "--first_attack_steps=99", "--attack_steps=40"),
    ({"search_steps": 0, "eps": 0.9}, "--eps=0.9", "--max_eps_factor"),
    ({"validate_every": 0}, "--validate_every=0", ">= 1"),
    ({"test_attack_steps": 0}, "--test_attack_steps=0", ">= 1"),
    ({"test_examples": 0}, "--test_examples=0", ">= 1"),
    ({"save_every": 0}, "--save_every=0", ">= 1"),
    ({"width": 0}, "--width=0", ">= 1"),
    ({"depth": 27}, "--depth=27", "6n + 4"),
    ({"depth": 4}, "--depth=4", "6n + 4"),
    ({"learning_rate": ()}, "--learning_rate=", "> 0"),
    ({"learning_rate": (0.1, 0.0)}, "--learning_rate=0.1,0", "> 0"),
    ({"learning_rate": (0.1, 0.01)}, "--learning_rate_steps=", "1 rising"),
    ({"learning_rate_steps": (5,)}, "--learning_rate_steps=5", "0 rising"),
    (
        {"learning_rate": (3.0, 2.0, 1.0), "learning_rate_steps": (7, 7)},
        "--learning_rate_steps=7,7",
        "2 rising",
    ),
    (
        {"learning_rate": (2.0, 1.0), "learning_rate_steps": (0,)},
        "--learning_rate_steps=0",
        "1 rising",
    ),
    ({"network": "lenet"}, "--network=lenet", "did you mean lenet5?"),
    ({"network": "net.h5"}, "--network=net.h5", ".keras"),
    ({"optimizer": "rmsprop"}, "--optimizer=rmsprop", "adam, sgd"),
    ({"precision": "float16"}, "--precision=float16", "mixed_float16"),
    ({"augmentation": "mirror"}, "--augmentation=mirror", "pad_crop_mirror"),
]


@pytest.mark.parametrize(
    ("changes", "received", "expected"), MISTAKES, ids=[m[1] for m in MISTAKES]
)
def test_a_mistake_is_one_sentence_with_flag_value_and_what_is_allowed(
    changes, received, expected
):
    with pytest.raises(UserError) as caught:
        recipe_for(**changes)
    message = str(caught.value)
    flag = received.partition("=")[0]
    assert f"`{flag}`" in message
    assert f"Received: {received}" in message
    assert expected in message
    assert "\n" not in message


def test_an_unknown_norm_or_method_is_told():
    with pytest.raises(UserError, match=r"linf, l2.*--norm=l1"):
        resolve("mnist", "l1")
    with pytest.raises(UserError, match=r"mma, standard.*--method=fgsm"):
        resolve("mnist", "linf", "fgsm")


@pytest.mark.parametrize(
    ("dataset", "diagonal", "shown"),
    [
        ("mnist", 28.0, "28"),
        ("digits", 8.0, "8"),
        ("cifar10", math.sqrt(32 * 32 * 3), "55.4"),
    ],
)
def test_an_l2_length_is_at_most_the_boxs_diagonal(dataset, diagonal, shown):
    assert recipe_for(dataset, "l2", d_max=diagonal).d_max == diagonal
    with pytest.raises(UserError, match=rf"`--dmax`.* at most {shown}"):
        recipe_for(dataset, "l2", d_max=diagonal + 0.01)


def test_the_largest_linf_length_is_allowed():
    assert recipe_for("mnist", "linf", d_max=1.0).d_max == 1.0


@pytest.mark.parametrize(
    ("method", "changes", "name"),
    [
        ("mma", {"d_max": 8 / 255}, "cifar10-linf-mma-8_255-s0"),
        ("mma", {"d_max": 0.125, "seed": 3}, "cifar10-linf-mma-0.125-s3"),
        ("pgd", {"eps": 0.25, "d_max": 0.5}, "cifar10-linf-pgd-0.25-s0"),
        ("trades", {}, "cifar10-linf-trades-8_255-s0"),
        ("standard", {}, "cifar10-linf-standard-s0"),
    ],
)
def test_the_runs_name_tells_what_distinguishes_it(method, changes, name):
    assert default_run_name(recipe_for("cifar10", method=method, **changes)) == name


def test_the_runs_name_is_one_folder():
    recipe = dataclasses.replace(recipe_for(), dataset="corrupted/glass:1.0.0")
    assert "/" not in default_run_name(recipe)
    assert ":" not in default_run_name(recipe)


def read_back(path, image_shape=None, num_train=None) -> Recipe:
    values = absl_flags.FlagValues()
    flags.define(values)
    parse([f"--flagfile={path}"], values)
    return resolve(
        values.dataset,
        values.norm,
        values.method,
        overrides=flags.overrides(values),
        image_shape=image_shape,
        num_train=num_train,
    ).recipe


@pytest.mark.parametrize(
    "recipe",
    [
        *(recipe_for(d, n) for d in ("digits", "mnist", "cifar10") for n in NORMS),
        recipe_for(
            "mnist",
            "l2",
            "trades",
            d_max=1 / 3,
            min_eps=1e-17 / 3,
            learning_rate=(1 / 3, 1e-9),
            learning_rate_steps=(10,),
            network="my own/net #1.keras",
            train_split="train[:50%]",
            ema=True,
            deterministic=False,
        ),
    ],
    ids=lambda recipe: default_run_name(recipe),
)
def test_a_flagfile_gives_the_identical_recipe(recipe, tmp_path):
    path = tmp_path / "flags.txt"
    path.write_text(to_flagfile(recipe), "utf-8")
    assert read_back(path) == recipe


def test_a_flagfile_holds_every_number_of_an_unknown_dataset(tmp_path):
    recipe = derive((96, 96, 3), norm="l2").recipe
    path = tmp_path / "flags.txt"
    path.write_text(to_flagfile(recipe), "utf-8")
    # Data of another shape would get other numbers, were not all of them in the file.
    assert read_back(path, image_shape=(32, 32, 3), num_train=70) == recipe


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        ("0.3", 0.3),
        ("1e-4", 1e-4),
        ("-2", -2.0),
        (" 1 / 4 ", 0.25),
    ],
)
def test_reads_numbers_as_people_write_them(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize(
    "text", ["", "8/", "/255", "1/0", "1/2/3", "a", "nan", "inf", "1e999", "inf/inf"]
)
def test_what_is_no_number_is_told(text):
    with pytest.raises(UserError, match="number") as caught:
        parse_number(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (8 / 255, "8_255"),
        (20 / 255, "20_255"),
        (0.3, "0.3"),
        (0.125, "0.125"),
        (2.0, "2"),
        (10.0, "10"),
        (1.0, "1"),
        (math.pi / 10, "0.314159"),
    ],
)
def test_lengths_have_short_names(value, name):
    assert format_length(value) == name
