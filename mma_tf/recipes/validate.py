"""Whether a recipe's numbers make sense, told flag by flag."""

import difflib
import itertools
import math
from typing import NoReturn

from mma_tf.errors import UserError
from mma_tf.recipes.quantities import format_number, format_value
from mma_tf.recipes.schema import Recipe, field_default, field_infos, flag_name

_AT_LEAST_ONE = (
    "validation_size",
    "train_steps",
    "batch_size",
    "attack_steps",
    "validate_every",
    "test_attack_steps",
    "test_examples",
    "save_every",
    "width",
)
_NOT_NEGATIVE = (
    "augmentation_pad",
    "compare_steps",
    "first_attack_steps",
    "search_steps",
    "start_queries",
    "test_start_queries",
    "warmup_steps",
    "weight_decay",
    "trades_beta",
)
_POSITIVE = ("step_size_factor", "test_step_size")
_MMA_ALONE = (
    "first_attack_steps",
    "start_queries",
    "margin_memory",
    "direction_memory",
    "hinge",
    "search_share",
)
_ATTACKING = ("mma", "pgd", "pgdls", "trades")
# Fields, with what another field has to be for anything to read them.
_READ_IF: tuple[tuple[tuple[str, ...], str, tuple[object, ...]], ...] = (
    (("depth", "width"), "network", ("wide_resnet",)),
    (("kernel_init",), "network", ("small_cnn", "lenet5")),
    # A file's layers have one of their own.
    (("precision",), "network", ("small_cnn", "lenet5", "wide_resnet")),
    (("momentum",), "optimizer", ("sgd",)),
    (("ema_momentum",), "ema", (True,)),
    (("trades_beta",), "method", ("trades",)),
    (("clean_loss_coeff", "min_eps"), "method", ("mma",)),
    (("attack_steps", "step_size_factor", "compare_steps"), "method", _ATTACKING),
)
_BELOW_ONE = ("momentum", "ema_momentum", "label_smoothing")
# eps last: if it was not set it is test_eps, which is then the one to name.
_LENGTHS = ("d_max", "min_eps", "test_eps", "eps")
# What NumPy's generator takes.
LARGEST_SEED = 2**32 - 1


def parts_missing(method: str) -> tuple[str, ...]:
    """Returns the fields of which `method` takes no value but the default."""
    if method == "mma":
        return ()
    return (*_MMA_ALONE, "step_decay") if method == "standard" else _MMA_ALONE


def fields_unread(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Returns the fields whose value changes nothing, each with those that are why.

    Those that `validate` refuses for that reason are not among them.
    """
    unread: dict[str, tuple[str, ...]] = {
        name: (reason,)
        for names, reason, values in _READ_IF
        for name in names
        if getattr(recipe, reason) not in values
    }
    if recipe.method == "standard":
        unread["eps"] = ("method",)
    elif recipe.method == "mma":
        # A search starts at min_eps; without one, the attack is of length eps.
        idle = "min_eps" if recipe.search_steps == 0 else "eps"
        unread[idle] = ("method", "search_steps")
        if recipe.search_steps == 0:
            unread["hinge"] = ("search_steps",)
            if recipe.search_share == 1 and not recipe.direction_memory:
                unread["margin_memory"] = ("search_steps",)
    return unread


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
    # Each condition is what has to hold, so that one with a NaN does not.
    for name in _AT_LEAST_ONE:
        if not getattr(recipe, name) >= 1:
            _refuse(recipe, name, "a whole number >= 1")
    for name in _NOT_NEGATIVE:
        if not getattr(recipe, name) >= 0:
            _refuse(recipe, name, "a number >= 0")
    for name in _POSITIVE:
        if not getattr(recipe, name) > 0:
            _refuse(recipe, name, "a number > 0")
    for name in _BELOW_ONE:
        if not 0 <= getattr(recipe, name) < 1:
            _refuse(recipe, name, "a number from 0 to below 1")
    if not 0 <= recipe.seed <= LARGEST_SEED:
        _refuse(recipe, "seed", f"a whole number from 0 to {LARGEST_SEED}")
    for name in _LENGTHS:
        _check_length(recipe, name, image_shape)
    if not recipe.min_eps <= recipe.d_max:
        _refuse(
            recipe, "min_eps", f"a length up to --dmax={format_number(recipe.d_max)}"
        )
    if not 0 <= recipe.clean_loss_coeff <= 1:
        _refuse(recipe, "clean_loss_coeff", "a number from 0 to 1")
    if not 0 < recipe.search_share <= 1:
        _refuse(recipe, "search_share", "a share above 0, up to 1")
    if not recipe.max_eps_factor > 1:
        _refuse(recipe, "max_eps_factor", "a factor > 1")
    pad = field_default("augmentation_pad")
    if recipe.augmentation == "none" and recipe.augmentation_pad != pad:
        _refuse(recipe, "augmentation_pad", f"{pad}: --augmentation=none pads no image")
    if recipe.depth < 10 or recipe.depth % 6 != 4:
        _refuse(recipe, "depth", "10, 16, 22, 28 or another 6n + 4")
    _check_learning_rate(recipe)
    _check_method(recipe)
    _check_network(recipe)


def _check_length(
    recipe: Recipe, name: str, image_shape: tuple[int, int, int] | None
) -> None:
    value = getattr(recipe, name)
    if not value > 0:
        _refuse(recipe, name, "a length > 0 in pixel units, images being in [0, 1]")
    if recipe.norm == "linf":
        highest = 1.0
    else:
        highest = math.sqrt(math.prod(image_shape)) if image_shape else math.inf
    if value > highest:
        # Who writes a whole number of levels forgot to divide by their range.
        meant = f"{value:g}/255" if value < 255 else ""
        _refuse(
            recipe,
            name,
            f"a length of at most {highest:.4g}, since images are in [0, 1]",
            meant=meant,
        )


def _check_learning_rate(recipe: Recipe) -> None:
    if not recipe.learning_rate or not all(rate > 0 for rate in recipe.learning_rate):
        _refuse(recipe, "learning_rate", "one or more numbers > 0")
    steps = recipe.learning_rate_steps
    rising = all(a < b for a, b in itertools.pairwise((0, *steps)))
    wanted = len(recipe.learning_rate) - 1
    if recipe.learning_rate_decay == "cosine" and wanted:
        _refuse(recipe, "learning_rate", "one number, for --learning_rate_decay=cosine")
    for name in ("train_steps", "compare_steps"):
        steps_there = getattr(recipe, name)
        if steps_there and not recipe.warmup_steps < steps_there:
            _refuse(recipe, "warmup_steps", f"fewer than --{name}={steps_there}")
    if len(steps) != wanted or not rising:
        _refuse(
            recipe,
            "learning_rate_steps",
            f"{wanted} rising step(s), for {wanted + 1} value(s) of --learning_rate",
        )


def _check_method(recipe: Recipe) -> None:
    if recipe.first_attack_steps > recipe.attack_steps:
        _refuse(
            recipe,
            "first_attack_steps",
            f"at most --attack_steps={recipe.attack_steps}, to which they rise",
        )
    if recipe.method == "mma":
        if recipe.search_share < 1 and not recipe.margin_memory:
            _refuse(recipe, "search_share", "1 with --nomargin_memory")
        if recipe.direction_memory and not recipe.margin_memory:
            _refuse(recipe, "direction_memory", "false with --nomargin_memory")
        longest = recipe.max_eps_factor * recipe.d_max
        if recipe.search_steps == 0 and recipe.eps > longest:
            _refuse(
                recipe,
                "eps",
                "a length up to --max_eps_factor times --dmax, "
                f"{format_number(longest)}, with --search_steps=0",
            )
        return
    for name in parts_missing(recipe.method):
        if getattr(recipe, name) != field_default(name):
            _refuse(
                recipe,
                name,
                f"no value with --method={recipe.method}, which has no such part",
            )
    if recipe.search_steps == 0:
        _refuse(recipe, "search_steps", "a whole number >= 1, but with --method=mma")


def _check_network(recipe: Recipe) -> None:
    names = ("small_cnn", "lenet5", "wide_resnet")
    if recipe.network in names or recipe.network.endswith(".keras"):
        return
    near = difflib.get_close_matches(recipe.network, names, n=1)
    _refuse(
        recipe,
        "network",
        f"{', '.join(names)} or the path of a .keras file",
        meant="".join(near),
    )


def _refuse(recipe: Recipe, name: str, expected: str, *, meant: str = "") -> NoReturn:
    flag = f"--{flag_name(name)}"
    value = format_value(getattr(recipe, name))
    hint = f" (did you mean {meant}?)" if meant else ""
    raise UserError(
        f"Invalid `{flag}`: expected {expected}. Received: {flag}={value}{hint}"
    )
