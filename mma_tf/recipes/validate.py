"""Whether a recipe's numbers make sense, told flag by flag."""

import difflib
import itertools
import math

from mma_tf.errors import UserError
from mma_tf.recipes.schema import Recipe, field_infos, flag_name

_AT_LEAST_ONE = (
    "validation_size",
    "train_steps",
    "batch_size",
    "attack_steps",
    "search_steps",
    "validate_every",
    "test_attack_steps",
    "test_examples",
    "save_every",
    "width",
)
_NOT_NEGATIVE = ("compare_steps", "weight_decay", "trades_beta", "momentum", "seed")
_POSITIVE = ("step_size_factor", "test_step_size")
_LENGTHS = ("d_max", "min_eps", "eps", "test_eps")


def validate(
    recipe: Recipe, *, image_shape: tuple[int, int, int] | None = None
) -> None:
    """Checks every number of `recipe`.

    Args:
        recipe: What to check.
        image_shape: Height, width and channels, where they are known: no length can be
            beyond the box.

    Raises:
        UserError: For the first number that is out of its range, in a sentence that
            names its flag.
    """
    for name, info in field_infos().items():
        if info.choices and getattr(recipe, name) not in info.choices:
            _refuse(recipe, name, f"one of {', '.join(info.choices)}")
    for name in _AT_LEAST_ONE:
        if getattr(recipe, name) < 1:
            _refuse(recipe, name, "a whole number >= 1")
    for name in _NOT_NEGATIVE:
        if getattr(recipe, name) < 0:
            _refuse(recipe, name, "a number >= 0")
    for name in _POSITIVE:
        if getattr(recipe, name) <= 0:
            _refuse(recipe, name, "a number > 0")
    for name in _LENGTHS:
        _check_length(recipe, name, image_shape)
    if recipe.min_eps > recipe.d_max:
        _refuse(recipe, "min_eps", f"a length up to --dmax={recipe.d_max:g}")
    if not 0 <= recipe.clean_loss_coeff <= 1:
        _refuse(recipe, "clean_loss_coeff", "a number from 0 to 1")
    if recipe.max_eps_factor <= 1:
        _refuse(recipe, "max_eps_factor", "a factor > 1")
    if not 0 <= recipe.ema_momentum < 1:
        _refuse(recipe, "ema_momentum", "a number from 0 to below 1")
    if recipe.depth < 10 or recipe.depth % 6 != 4:
        _refuse(recipe, "depth", "10, 16, 22, 28 or another 6n + 4")
    _check_learning_rate(recipe)
    _check_network(recipe)


def _check_length(
    recipe: Recipe, name: str, image_shape: tuple[int, int, int] | None
) -> None:
    value = getattr(recipe, name)
    if value <= 0:
        _refuse(recipe, name, "a length > 0 in pixel units, images being in [0, 1]")
    if recipe.norm == "linf":
        highest = 1.0
    else:
        highest = math.sqrt(math.prod(image_shape)) if image_shape else math.inf
    if value > highest:
        hint = f"; did you mean {value:g}/255?" if value <= 255 else ""
        _refuse(
            recipe,
            name,
            f"a length of at most {highest:.4g}, since images are in [0, 1]{hint}",
        )


def _check_learning_rate(recipe: Recipe) -> None:
    if not recipe.learning_rate or any(rate <= 0 for rate in recipe.learning_rate):
        _refuse(recipe, "learning_rate", "one or more numbers > 0")
    steps = recipe.learning_rate_steps
    rising = all(a < b for a, b in itertools.pairwise((0, *steps)))
    wanted = len(recipe.learning_rate) - 1
    if len(steps) != wanted or not rising:
        _refuse(
            recipe,
            "learning_rate_steps",
            f"{wanted} rising step(s), for {wanted + 1} value(s) of --learning_rate",
        )


def _check_network(recipe: Recipe) -> None:
    names = ("small_cnn", "lenet5", "wide_resnet")
    if recipe.network in names or recipe.network.endswith(".keras"):
        return
    near = difflib.get_close_matches(recipe.network, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    _refuse(recipe, "network", f"{', '.join(names)} or the path of a .keras file{hint}")


def _refuse(recipe: Recipe, name: str, expected: str) -> None:
    value = getattr(recipe, name)
    flag = f"--{flag_name(name)}"
    if isinstance(value, tuple):
        value = ",".join(f"{item:g}" for item in value)
    elif isinstance(value, float):
        value = f"{value:g}"
    raise UserError(f"Invalid `{flag}`: expected {expected}. Received: {flag}={value}")
