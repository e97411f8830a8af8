"""What a recipe holds: one field for each number, and one flag for each field."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from mma_tf.types import NormName

Kind = Literal["text", "path", "choice", "bool", "int", "number", "ints", "numbers"]


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """What is told of a field, and how its flag is read.

    Attributes:
        help: Meaning and unit, for `--help`.
        kind: What its flag takes; a "number" may be a fraction such as 8/255.
        choices: What a "choice" may be.
        group: The heading it stands under in `--help`.
    """

    help: str
    kind: Kind
    choices: tuple[str, ...] = ()
    group: str = ""


def _field(
    group: str,
    kind: Kind,
    text: str,
    *,
    choices: Sequence[str] = (),
    default: Any = dataclasses.MISSING,
) -> Any:
    info = FieldInfo(text, kind, tuple(choices), group)
    return dataclasses.field(default=default, metadata={"info": info})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every number of a training run. Lengths are in pixel units, pixels in [0, 1].

    A field's flag has its name, but for `d_max`, whose flag is `--dmax`.
    """

    dataset: str = _field(
        "What to train on",
        "text",
        "digits, mnist, cifar10, another image classification dataset of "
        "tensorflow-datasets by its name, or image_folder for your own pictures",
    )
    norm: NormName = _field(
        "What to train for", "choice", "norm of the margin", choices=("linf", "l2")
    )
    recipe: str = _field(
        "What to train for",
        "choice",
        "whose numbers to begin with: paper has those of the authors' code, fast ones "
        "of ours, with fewer attack steps, in bfloat16 (mnist)",
        choices=("paper", "fast"),
        default="paper",
    )
    method: str = _field(
        "What to train for",
        "choice",
        "training method; OMMA is mma with --clean_loss_coeff=0",
        choices=("mma", "standard", "pgd", "pgdls", "trades"),
    )
    d_max: float = _field(
        "What to train for",
        "number",
        "margin to reach; up to --max_eps_factor times it margins are looked for and "
        "reported (pixel units, fractions such as 8/255 are read as such)",
    )
    train_split: str = _field(
        "What to train on",
        "text",
        "split of the dataset to train on; its first --validation_size images choose "
        "the best model",
        default="train",
    )
    test_split: str = _field(
        "What to train on", "text", "split for the closing evaluation", default="test"
    )
    validation_size: int = _field(
        "What to train on", "int", "images held out for validation"
    )
    augmentation: str = _field(
        "What to train on",
        "choice",
        "random change of training images: none, pad and crop, that and mirror",
        choices=("none", "pad_crop", "pad_crop_mirror"),
    )
    augmentation_pad: int = _field(
        "What to train on",
        "int",
        "pixels to pad with on each side, by so many an image moves at most",
        default=4,
    )
    network: str = _field(
        "Network",
        "text",
        "small_cnn, lenet5, wide_resnet, or the path of a .keras file of your own",
    )
    depth: int = _field("Network", "int", "layers of a wide_resnet, 6n + 4", default=28)
    width: int = _field(
        "Network", "int", "factor on the channels of a wide_resnet", default=4
    )
    kernel_init: str = _field(
        "Network",
        "choice",
        "how the kernels of lenet5 and small_cnn are drawn (a wide_resnet's: as its "
        "authors say)",
        choices=("glorot_uniform", "he_normal"),
        default="glorot_uniform",
    )
    train_steps: int = _field("Optimisation", "int", "training steps")
    batch_size: int = _field(
        "Optimisation", "int", "examples in a step, over all devices together"
    )
    optimizer: str = _field(
        "Optimisation", "choice", "optimiser", choices=("adam", "sgd")
    )
    learning_rate: tuple[float, ...] = _field(
        "Optimisation",
        "numbers",
        "learning rate, or the values of a piecewise constant one, with commas",
    )
    learning_rate_steps: tuple[int, ...] = _field(
        "Optimisation",
        "ints",
        "steps at which the second and each further learning rate begins, with commas",
        default=(),
    )
    learning_rate_decay: str = _field(
        "Optimisation",
        "choice",
        "piecewise: by --learning_rate_steps; cosine: half a cosine, from the one "
        "learning rate to 0 at the last step",
        choices=("piecewise", "cosine"),
        default="piecewise",
    )
    warmup_steps: int = _field(
        "Optimisation",
        "int",
        "steps in which the learning rate first rises from 0, in a line",
        default=0,
    )
    momentum: float = _field("Optimisation", "number", "momentum of sgd", default=0.9)
    weight_decay: float = _field(
        "Optimisation",
        "number",
        "coupled L2: so many times a weight is added to its gradient",
        default=0.0,
    )
    label_smoothing: float = _field(
        "Optimisation",
        "number",
        "share of the target that all classes have alike, in the training loss",
        default=0.0,
    )
    ema: bool = _field(
        "Optimisation",
        "bool",
        "evaluate and export exponentially averaged weights",
        default=False,
    )
    ema_momentum: float = _field(
        "Optimisation", "number", "decay of the averages, per step", default=0.999
    )
    attack_steps: int = _field("Attack in training", "int", "PGD steps")
    first_attack_steps: int = _field(
        "Attack in training",
        "int",
        "mma: PGD steps at the beginning, which rise in a line to --attack_steps; 0 = "
        "--attack_steps throughout",
        default=0,
    )
    search_steps: int = _field(
        "Attack in training",
        "int",
        "bisections of the line search, in training and in evaluation; 0 = mma without "
        "one, its attack having the fixed length --eps (evaluation makes 10)",
        default=10,
    )
    step_size_factor: float = _field(
        "Attack in training",
        "number",
        "length of a PGD step, in units of eps / attack_steps",
        default=2.5,
    )
    step_decay: bool = _field(
        "Attack in training",
        "bool",
        "let PGD's steps become shorter in a line, with this mean: finds more where "
        "gradients mislead",
        default=False,
    )
    start_queries: int = _field(
        "Attack in training",
        "int",
        "mma: queries of a random search (Square) whose best point PGD starts at, "
        "0 = at a random point: finds more where gradients mislead",
        default=0,
    )
    max_eps_factor: float = _field(
        "Attack in training",
        "number",
        "the line search, in training and in evaluation, looks up to so many times "
        "--dmax",
        default=1.05,
    )
    min_eps: float = _field(
        "Attack in training",
        "number",
        "mma: least length that AN-PGD starts with (pixel units)",
    )
    clean_loss_coeff: float = _field(
        "Attack in training",
        "number",
        "mma: weight of the clean loss in [0, 1]",
        default=1 / 3,
    )
    margin_memory: bool = _field(
        "Attack in training",
        "bool",
        "mma: start each image's search at the length its last one found, not at "
        "--min_eps",
        default=True,
    )
    direction_memory: bool = _field(
        "Attack in training",
        "bool",
        "mma: start each image's search in the direction in which its last one ended: "
        "finds more with each epoch",
        default=False,
    )
    hinge: bool = _field(
        "Attack in training",
        "bool",
        "mma: leave images alone whose margin reached --dmax",
        default=True,
    )
    search_share: float = _field(
        "Attack in training",
        "number",
        "mma: search the margins of only so large a share of each batch, of images "
        "first that were last seen below --dmax",
        default=1.0,
    )
    eps: float = _field(
        "Attack in training",
        "number",
        "radius for pgd, pgdls (at the end), trades and mma with --search_steps=0 "
        "(pixel units)",
    )
    trades_beta: float = _field(
        "Attack in training", "number", "weight of TRADES' divergence", default=6.0
    )
    validate_every: int = _field(
        "Evaluation", "int", "training steps between two validations"
    )
    test_eps: float = _field(
        "Evaluation",
        "number",
        "radius for robust accuracy, and of the PGD that the margin search follows "
        "(pixel units)",
    )
    test_step_size: float = _field(
        "Evaluation", "number", "length of a PGD step in evaluation (pixel units)"
    )
    test_attack_steps: int = _field("Evaluation", "int", "PGD steps in evaluation")
    test_step_decay: bool = _field(
        "Evaluation",
        "bool",
        "let these steps become shorter in a line, --test_step_size being their mean",
        default=False,
    )
    test_start_queries: int = _field(
        "Evaluation",
        "int",
        "queries of a random search (Square) whose best point this PGD starts at, 0 = "
        "at a random point",
        default=0,
    )
    test_examples: int = _field(
        "Evaluation", "int", "test images that the closing evaluation attacks"
    )
    compare_steps: int = _field(
        "Evaluation",
        "int",
        "train the same network on clean images for so many steps too, and print both; "
        "0 = do not",
        default=0,
    )
    seed: int = _field("Run", "int", "decides all that is random", default=0)
    precision: str = _field(
        "Run",
        "choice",
        "of the computation; weights and losses stay float32 (a .keras file's is its "
        "own)",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
    )
    deterministic: bool = _field(
        "Run",
        "bool",
        "the same command gives the same weights, bit by bit, even if resumed",
        default=True,
    )
    save_every: int = _field("Run", "int", "training steps between two checkpoints")


def field_infos() -> dict[str, FieldInfo]:
    """Returns what is told of each field, by its name, in the order of the class."""
    return {f.name: f.metadata["info"] for f in dataclasses.fields(Recipe)}


def field_default(name: str) -> Any:
    """Returns the default that holds for all recipes, or None if they differ."""
    (default,) = (f.default for f in dataclasses.fields(Recipe) if f.name == name)
    return None if default is dataclasses.MISSING else default


def flag_name(field: str) -> str:
    """Returns the flag of a field, without dashes."""
    return "dmax" if field == "d_max" else field
