"""What is refused at the very ends of the ranges, and in which words."""

import dataclasses
import math

import pytest

from mma_tf import UserError
from mma_tf.recipes.resolve import resolve
from mma_tf.recipes.validate import validate


def check(norm="linf", image_shape=(8, 8, 1), **changes):
    recipe = resolve("digits", norm).recipe
    validate(dataclasses.replace(recipe, **changes), image_shape=image_shape)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_max": 8.0}, r"at most 1, .* Received: --dmax=8 \(did you mean 8/255\?\)$"),
        # 1000 / 255 would be beyond the box as well.
        ({"d_max": 1000.0}, "Received: --dmax=1000$"),
        ({"network": "lenet"}, r"--network=lenet \(did you mean lenet5\?\)$"),
        ({"network": "vgg"}, "--network=vgg$"),
        ({"momentum": 1.0}, "`--momentum`.*below 1"),
        ({"seed": 2**32}, "`--seed`.*from 0 to 4294967295"),
        ({"trades_beta": math.nan}, "`--trades_beta`"),
        ({"learning_rate": (math.nan, 0.1)}, "`--learning_rate`"),
    ],
)
def test_nonsense_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        check(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "l2", "d_max": 50.0, "image_shape": None},
        {"min_eps": 0.3, "d_max": 0.3},
        {"clean_loss_coeff": 0.0},
        {"clean_loss_coeff": 1.0},
        {"momentum": 0.0},
        {"ema_momentum": 0.0},
        {"seed": 2**32 - 1},
        {"network": "folder/mine.keras"},
    ],
)
def test_the_ends_of_the_ranges_are_allowed(changes):
    check(**changes)
