"""What the comparison of training steps measures; imports no framework."""

import dataclasses
from typing import Any, Literal

from mma_tf.recipes.resolve import resolve
from mma_tf.recipes.schema import Recipe

Network = Literal["lenet5", "wide_resnet"]
# The recipes that the networks are trained by.
_DATASETS: dict[Network, str] = {"lenet5": "mnist", "wide_resnet": "cifar10"}

# Rates do not change what a step costs. At a recipe's own the weights, and with them
# the share of examples that the PyTorch side attacks, would change while it is timed.
_TIMED_LEARNING_RATE = 1e-8
_QUICK_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """A line of the table.

    Attributes:
        name: As `--cases` has it.
        network: A name of the registry.
        kind: "train" is a whole MMA step; "attack" is a step of the PGD that evaluates,
            on a SavedModel or on the Keras model itself.
        batch_size: Examples in a step.
        attack_steps: PGD steps in a training step, or in a call of the attack.
        search_steps: Bisections in a training step.
        precision: Of our side; PyTorch's is float32.
        steps_per_turn: Steps (or calls of the attack) timed together.
        goal: The ratio to reach, if one is set.
    """

    name: str
    network: Network
    kind: Literal["train", "attack_saved_model", "attack_keras"]
    batch_size: int
    attack_steps: int
    search_steps: int
    precision: str
    steps_per_turn: int
    goal: float | None

    @property
    def is_training(self) -> bool:
        """Whether it is a whole training step."""
        return self.kind == "train"

    def quick(self) -> "Case":
        """Returns the same with so few steps that it only shows whether it runs."""
        return dataclasses.replace(
            self,
            attack_steps=_QUICK_STEPS,
            search_steps=_QUICK_STEPS,
            steps_per_turn=1,
        )


def _training(
    name: str,
    network: Network,
    batch_size: int,
    attack_steps: int,
    steps_per_turn: int,
    goals: tuple[float | None, float | None],
) -> list[Case]:
    return [
        Case(
            name=name + suffix,
            network=network,
            kind="train",
            batch_size=batch_size,
            attack_steps=attack_steps,
            search_steps=10,
            precision=precision,
            steps_per_turn=steps_per_turn,
            goal=goal,
        )
        for suffix, precision, goal in (
            ("", "float32", goals[0]),
            ("-mixed", "mixed_bfloat16", goals[1]),
        )
    ]


def _evaluation(name: str, kind: Literal["attack_saved_model", "attack_keras"]) -> Case:
    # 250 is the batch of bin/evaluate.
    return Case(name, "lenet5", kind, 250, 10, 0, "float32", 2, 2.0)


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *_training("lenet5-50", "lenet5", 50, 40, 3, (2.5, 4.0)),
        *_training("lenet5-128", "lenet5", 128, 40, 2, (None, 4.0)),
        *_training("lenet5-256", "lenet5", 256, 40, 1, (None, 4.0)),
        *_training("wrn-32", "wide_resnet", 32, 10, 1, (1.5, 3.0)),
        _evaluation("eval-saved-model", "attack_saved_model"),
        _evaluation("eval-keras", "attack_keras"),
    )
}


def recipe_of(case: Case, *, timed: bool) -> Recipe:
    """Returns the recipe of `bin/train` with the case's numbers in it.

    Args:
        case: The case.
        timed: Whether the weights are to stay where they are; see above.
    """
    dataset = _DATASETS[case.network]
    overrides: dict[str, Any] = {
        "batch_size": case.batch_size,
        "attack_steps": case.attack_steps,
        "precision": case.precision,
        # Images must not be changed by one side alone.
        "augmentation": "none",
    }
    if case.is_training:
        overrides["search_steps"] = case.search_steps
    usual = resolve(dataset, "linf", overrides=overrides).recipe
    rate = _TIMED_LEARNING_RATE if timed else usual.learning_rate[-1]
    overrides["learning_rate"] = (rate,)
    return resolve(dataset, "linf", overrides=overrides).recipe


def parameters_of(case: Case, *, timed: bool) -> dict[str, Any]:
    """Returns what the PyTorch side has to know of the recipe, by our names."""
    recipe = recipe_of(case, timed=timed)
    names = (
        "network depth width batch_size optimizer momentum weight_decay attack_steps "
        "search_steps step_size_factor min_eps d_max clean_loss_coeff test_eps "
        "test_step_size"
    )
    parameters = {name: getattr(recipe, name) for name in names.split()}
    parameters["learning_rate"] = recipe.learning_rate[0]
    # The search never looks beyond the box's diameter, 1 in linf.
    parameters["max_eps"] = min(recipe.max_eps_factor * recipe.d_max, 1.0)
    return parameters
