"""From a dataset, a norm and what the user set to a complete recipe."""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from typing import Any

from mma_tf.errors import UserError
from mma_tf.recipes.named import FAST, FAST_MMA, IMAGE_SHAPES, NAMED
from mma_tf.recipes.quantities import format_length, format_number, format_value
from mma_tf.recipes.schema import Recipe, field_default, field_infos, flag_name
from mma_tf.recipes.validate import fields_unread, parts_missing, validate
from mma_tf.types import NormName

# Arguments of `resolve` in their own right.
_SELECTORS = {"dataset", "norm", "method"}
# What a command says whatever the defaults are.
_COMMAND_BEGINS = ("dataset", "norm", "method", "d_max")
# Images up to this side are for a network of few and small layers.
_TINY = 16
# Images in grey beyond this side are no drawn figures, and LeNet5's first dense layer
# would be all there is of it: 200 million weights at 224.
_LARGEST_FOR_LENET = 64
# How often a short training is to see each image, within so many steps.
_EPOCHS = 20
_MOST_STEPS = 100_000


@dataclasses.dataclass(frozen=True)
class Resolution:
    """A complete recipe, and what is to be said of where it comes from.

    Attributes:
        recipe: Valid.
        notes: Sentences for the log: the recipe it derives from, the numbers chosen,
            and those of the user's that change nothing.
    """

    recipe: Recipe
    notes: tuple[str, ...]


def comparison_recipe(recipe: Recipe) -> Recipe:
    """Returns the training on clean images that `recipe` is to be compared with.

    It has `compare_steps` steps, and else all of `recipe` that method `standard` has.
    """
    steps, usual = recipe.compare_steps, recipe.train_steps
    missing = (*parts_missing("standard"), "search_steps")
    clean = dataclasses.replace(
        recipe,
        method="standard",
        train_steps=steps,
        learning_rate_steps=_fitted(recipe.learning_rate_steps, steps, usual),
        compare_steps=0,
        **{name: field_default(name) for name in missing},
    )
    validate(clean)
    return clean


def is_named(dataset: str) -> bool:
    """Returns whether there is a recipe for the dataset without looking at its data."""
    return dataset in IMAGE_SHAPES


def resolve(
    dataset: str,
    norm: NormName,
    method: str = "mma",
    *,
    overrides: Mapping[str, Any] | None = None,
    image_shape: tuple[int, int, int] | None = None,
    num_train: int | None = None,
) -> Resolution:
    """Returns the recipe for a dataset and a norm, with the user's numbers in it.

    Args:
        dataset: Any name; those that `is_named` have a recipe of their own.
        norm: "linf" or "l2".
        method: "mma", "standard", "pgd", "pgdls" or "trades".
        overrides: Values by field name, which go before the recipe's; "recipe" says
            whose these are.
        image_shape: Height, width and channels; needed unless `is_named(dataset)`.
        num_train: Training images there are; needed unless `is_named(dataset)`.

    Raises:
        UserError: If a number is out of its range, or the norm or method unknown.
        ValueError: If the data's shape is needed and missing, or an override is not a
            field.
    """
    overrides = dict(overrides or {})
    unknown = overrides.keys() - (field_infos().keys() - _SELECTORS)
    if unknown:
        raise ValueError(
            "Invalid `overrides`: expected fields of Recipe other than its selectors. "
            f"Received: {', '.join(sorted(unknown))}"
        )
    if norm not in ("linf", "l2"):
        raise UserError(
            f"Invalid `--norm`: expected one of linf, l2. Received: --norm={norm}"
        )
    base = overrides.pop("recipe", "paper")
    if base == "fast" and (dataset, norm) not in FAST:
        have_one = ", ".join(sorted({name for name, _ in FAST}))
        raise UserError(
            "Invalid `--recipe`: expected paper, since there is a fast recipe for "
            f"{have_one} alone. Received: --recipe=fast with --dataset={dataset}"
        )
    if is_named(dataset):
        image_shape = image_shape or IMAGE_SHAPES[dataset]
        numbers = _named(dataset, norm, method, base)
        notes = [f"Recipe: {dataset}, {norm}, {base}."]
    else:
        if image_shape is None or num_train is None:
            raise ValueError(
                "Invalid `image_shape`: expected the data's shape and number, since "
                f"there is no recipe for {dataset}. Received: None"
            )
        numbers, notes = _derive(dataset, norm, image_shape, num_train)
    completed, more_notes = _complete(numbers, overrides)
    recipe = Recipe(dataset=dataset, norm=norm, recipe=base, method=method, **completed)
    validate(recipe, image_shape=image_shape)
    notes += [*more_notes, *_notes_on_unread(recipe, numbers, overrides)]
    return Resolution(recipe, tuple(notes))


def _named(dataset: str, norm: str, method: str, base: str) -> dict[str, Any]:
    """Returns the numbers of a recipe that has a name."""
    numbers = dict(NAMED[dataset, norm])
    if base == "fast":
        numbers.update(FAST[dataset, norm])
        numbers.update(FAST_MMA[dataset, norm] if method == "mma" else {})
    return {k: v for k, v in numbers.items() if k not in parts_missing(method)}


def _complete(
    numbers: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Puts the user's numbers in, and fits those that depend on them."""
    usual = numbers["train_steps"]
    numbers = {**numbers, **overrides}
    if "learning_rate" in overrides and "learning_rate_steps" not in overrides:
        # A rate of the user's own is not bound to the steps of the recipe's.
        numbers["learning_rate_steps"] = ()
    fitted = _fitted_to_steps(numbers, usual)
    notes = []
    for name, (value, reason) in fitted.items():
        if name not in overrides and numbers.get(name, value) != value:
            numbers[name] = value
            notes.append(
                f"{name} is {format_value(value)}, as {reason} is {numbers[reason]}."
            )
    numbers.setdefault("eps", numbers["test_eps"])
    has_memory = numbers.get("margin_memory", True)
    for name, off in (("search_share", "1"), ("direction_memory", "false")):
        if not has_memory and name in numbers.keys() - overrides.keys():
            del numbers[name]
            notes.append(f"{name} is {off}, as the memory of margins is off.")
    if "min_eps" not in overrides and numbers["min_eps"] > numbers["d_max"] > 0:
        numbers["min_eps"] = numbers["d_max"] / 2
        notes.append(
            f"min_eps is lowered to {format_number(numbers['min_eps'])}, half of dmax, "
            "since a search cannot start beyond dmax."
        )
    return numbers, notes


def _notes_on_unread(
    recipe: Recipe, numbers: Mapping[str, Any], overrides: Mapping[str, Any]
) -> list[str]:
    """Returns a sentence for each number of the user's own that nothing reads.

    It is no mistake: the flagfile of a run has every number.
    """
    notes = []
    unread = fields_unread(recipe)
    for name in [name for name in unread if name in overrides]:
        others = {key: overrides[key] for key in overrides if key != name}
        usual = _complete(numbers, others)[0].get(name, field_default(name))
        if overrides[name] != usual:
            why = " and ".join(_flag(recipe, reason) for reason in unread[name])
            notes.append(f"{_flag(recipe, name)} changes nothing with {why}.")
    return notes


def _fitted_to_steps(
    numbers: Mapping[str, Any], usual: int
) -> dict[str, tuple[Any, str]]:
    """Returns what fits `numbers`' steps, with the field that each is bound to."""
    steps, attack_steps = numbers["train_steps"], numbers["attack_steps"]
    bounds = numbers.get("learning_rate_steps", ())
    fitted = {"learning_rate_steps": (_fitted(bounds, steps, usual), "train_steps")}
    warmup_steps = numbers.get("warmup_steps", 0)
    if warmup_steps >= steps:
        fitted["warmup_steps"] = (warmup_steps * steps // usual, "train_steps")
    if numbers.get("first_attack_steps", 0) > attack_steps:
        fitted["first_attack_steps"] = (attack_steps, "attack_steps")
    return fitted


def _fitted(bounds: tuple[int, ...], steps: int, usual: int) -> tuple[int, ...]:
    """Returns steps of a training that is longer or shorter than usual."""
    fitted = tuple(bound * steps // usual for bound in bounds)
    # Among a handful of steps there is no room for them.
    return fitted if sorted({0, *fitted}) == [0, *fitted] else bounds


def _derive(
    dataset: str, norm: str, image_shape: tuple[int, int, int], num_train: int
) -> tuple[dict[str, Any], list[str]]:
    height, width, channels = image_shape
    if max(height, width) <= _TINY:
        base = "digits"
    elif channels == 1 and max(height, width) <= _LARGEST_FOR_LENET:
        base = "mnist"
    else:
        base = "cifar10"
    numbers = dict(NAMED[base, norm])
    numbers["compare_steps"] = 0
    if numbers["augmentation"] == "pad_crop_mirror":
        # What a mirror does to the content of unknown images, digits say, is unknown.
        numbers["augmentation"] = "pad_crop"
    if norm == "l2":
        # A change of the same size in each pixel is longer in a larger image.
        scale = math.sqrt(math.prod(image_shape) / math.prod(IMAGE_SHAPES[base]))
        for name in ("d_max", "min_eps", "test_eps", "test_step_size"):
            numbers[name] *= scale
    numbers["validation_size"] = max(1, min(5000, num_train // 10))
    left = num_train - numbers["validation_size"]
    numbers["batch_size"] = max(1, min(numbers["batch_size"], left))
    if base == "digits":
        _fit_steps(numbers, left)
    chosen = ", ".join(
        f"{flag_name(name)}={format_value(value)}"
        for name, value in sorted(numbers.items())
    )
    return numbers, [
        f"There is no recipe for {dataset}: its {num_train} training images of "
        f"{height}x{width}x{channels} get that of {base}, {norm}, fitted to the size.",
        f"Chosen, before your flags: {chosen}.",
    ]


def _fit_steps(numbers: dict[str, Any], num_train: int) -> None:
    """Lengthens a training that is short because digits are few."""
    usual = numbers["train_steps"]
    wanted = _EPOCHS * num_train // numbers["batch_size"]
    steps = max(usual, min(wanted, _MOST_STEPS))
    numbers["train_steps"] = steps
    bounds = numbers.get("learning_rate_steps", ())
    numbers["learning_rate_steps"] = _fitted(bounds, steps, usual)
    numbers["validate_every"] = numbers["validate_every"] * steps // usual


def default_run_name(recipe: Recipe) -> str:
    """Returns `<dataset>-<norm>-<method>-<length>-s<seed>`, safe as a folder's name.

    That of a recipe other than the paper's has its name before the seed.
    """
    lengths = {"mma": (recipe.d_max,), "standard": ()}
    length = lengths.get(recipe.method, (recipe.eps,))
    dataset = recipe.dataset.replace("/", "_").replace(":", "_")
    parts = [dataset, recipe.norm, recipe.method, *map(format_length, length)]
    if recipe.recipe != "paper":
        parts.append(recipe.recipe)
    return "-".join([*parts, f"s{recipe.seed}"])


def to_flagfile(recipe: Recipe) -> str:
    """Returns the recipe as the text of a flagfile, every number exactly."""
    return "".join(f"{_flag(recipe, name)}\n" for name in field_infos())


def default_flags() -> str:
    """Returns, as the text of a flagfile, the defaults that hold for all recipes."""
    names = {name: field_default(name) for name in field_infos()}
    known = {name: value for name, value in names.items() if value is not None}
    return "".join(f"{_flag_text(name, value)}\n" for name, value in known.items())


def to_command(recipe: Recipe) -> str:
    """Returns the shortest command that trains by the recipe.

    A number that is the default of the recipe for its dataset, norm and method is left
    out; where that depends on the data, none is.
    """
    names = [name for name in field_infos() if name not in _COMMAND_BEGINS]
    if is_named(recipe.dataset):
        needed: set[str] = set()
        # A number that is set can change what others are by default.
        while (found := _resolved(recipe, needed)) != recipe:
            needed |= {n for n in names if getattr(recipe, n) != getattr(found, n)}
        for name in sorted(needed):
            # One that is set can have made another one right.
            if _resolved(recipe, needed - {name}) == recipe:
                needed.remove(name)
        is_ours = recipe.recipe != "paper"
        names = [n for n in names if n in needed or (is_ours and n == "recipe")]
    flags = [_flag(recipe, name) for name in (*_COMMAND_BEGINS, *names)]
    return shlex.join(["bin/train", *flags])


def _resolved(recipe: Recipe, names: set[str]) -> Recipe:
    """Returns what a command with these fields of `recipe` would train by."""
    selectors = {n: getattr(recipe, n) for n in (*sorted(_SELECTORS), "recipe")}
    named = _named(recipe.dataset, recipe.norm, recipe.method, recipe.recipe)
    overrides = {name: getattr(recipe, name) for name in ("d_max", *names)}
    numbers, _ = _complete(named, overrides)
    return Recipe(**selectors, **numbers)


def _flag(recipe: Recipe, name: str) -> str:
    return _flag_text(name, getattr(recipe, name))


def _flag_text(name: str, value: Any) -> str:
    flag = flag_name(name)
    if field_infos()[name].kind == "bool":
        return f"--{flag}={str(value).lower()}"
    if isinstance(value, tuple):
        return f"--{flag}={','.join(map(repr, value))}"
    return f"--{flag}={repr(value) if isinstance(value, float) else value}"
