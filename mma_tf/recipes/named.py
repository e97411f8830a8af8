"""The recipes that have a name: a dataset and a norm.

MNIST and CIFAR-10 have the numbers of the authors' code (Ding et al., ICLR 2020, arXiv
1812.02637), which train on 5 and on 6.4 million examples; their `d_max` is one of the
paper's (MNIST linf 0.45, l2 2, 4, 6; CIFAR-10 linf 12, 20, 32 / 255, l2 1, 2, 3). How
often to validate and to save is ours, and so is all of digits. So is what `FAST` has in
their place: a larger batch and learning rate, warmed up and brought to zero, averaged
weights, in bfloat16; attacks of few steps, which in linf become shorter and in MMA
begin at a random search's best point around where the image's last search ended, on the
quarter of each batch that needs them most.
"""

from collections.abc import Mapping
from typing import Any

_MNIST: dict[str, Any] = {
    "validation_size": 5000,
    "augmentation": "none",
    "network": "lenet5",
    "train_steps": 100_000,
    "batch_size": 50,
    "optimizer": "adam",
    "learning_rate": (1e-4,),
    "attack_steps": 40,
    "test_attack_steps": 40,
    "validate_every": 1000,
    "save_every": 500,
    "test_examples": 1000,
}

_CIFAR10: dict[str, Any] = {
    "validation_size": 5000,
    "augmentation": "pad_crop_mirror",
    "network": "wide_resnet",
    "train_steps": 50_000,
    "batch_size": 128,
    "optimizer": "sgd",
    "learning_rate": (0.3, 0.09, 0.03, 0.009),
    "learning_rate_steps": (20_000, 30_000, 40_000),
    "weight_decay": 2e-4,
    "attack_steps": 10,
    "test_attack_steps": 10,
    "validate_every": 1000,
    "save_every": 500,
    "test_examples": 1000,
}

_DIGITS: dict[str, Any] = {
    "validation_size": 200,
    "augmentation": "none",
    "network": "small_cnn",
    "train_steps": 2000,
    "batch_size": 50,
    "optimizer": "adam",
    "learning_rate": (1e-3, 3e-4),
    "learning_rate_steps": (1500,),
    "attack_steps": 10,
    "test_attack_steps": 20,
    "validate_every": 200,
    "save_every": 200,
    "test_examples": 360,
    "compare_steps": 2000,
}

NAMED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("mnist", "linf"): {
        **_MNIST,
        "d_max": 0.45,
        "min_eps": 0.1,
        "test_eps": 0.3,
        "test_step_size": 0.01,
    },
    ("mnist", "l2"): {
        **_MNIST,
        "d_max": 4.0,
        "min_eps": 0.5,
        "test_eps": 2.0,
        "test_step_size": 0.125,
    },
    ("cifar10", "linf"): {
        **_CIFAR10,
        "d_max": 20 / 255,
        "min_eps": 0.005,
        "test_eps": 8 / 255,
        "test_step_size": 2 / 255,
    },
    ("cifar10", "l2"): {
        **_CIFAR10,
        "d_max": 2.0,
        "min_eps": 0.5,
        "test_eps": 1.0,
        "test_step_size": 0.25,
    },
    ("digits", "linf"): {
        **_DIGITS,
        "d_max": 0.3,
        "min_eps": 0.05,
        "test_eps": 0.15,
        "test_step_size": 0.15 / 8,
    },
    ("digits", "l2"): {
        **_DIGITS,
        "d_max": 1.5,
        "min_eps": 0.25,
        "test_eps": 0.75,
        "test_step_size": 0.75 / 8,
    },
}

# Height, width and channels that the lengths above are for.
IMAGE_SHAPES: Mapping[str, tuple[int, int, int]] = {
    "mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
    "digits": (8, 8, 1),
}

_FAST_MNIST: dict[str, Any] = {
    "kernel_init": "he_normal",
    "train_steps": 30_000,
    "batch_size": 128,
    "learning_rate": (1e-3,),
    "learning_rate_decay": "cosine",
    "warmup_steps": 200,
    "ema": True,
    "ema_momentum": 0.998,
    "precision": "mixed_bfloat16",
    "validate_every": 3000,
}

# In place of the numbers above.
FAST: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("mnist", "linf"): {
        **_FAST_MNIST,
        "attack_steps": 10,
        "step_decay": True,
        "step_size_factor": 5.0,
        "test_attack_steps": 20,
        "test_step_decay": True,
        "test_step_size": 0.15,
        "test_start_queries": 30,
    },
    ("mnist", "l2"): {**_FAST_MNIST, "attack_steps": 16},
}

# And in place of those for MMA, whose searches need not begin anew each time.
FAST_MMA: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("mnist", "linf"): {
        "first_attack_steps": 6,
        "attack_steps": 12,
        # Longer steps leave the point that the random search has found.
        "step_size_factor": 1.25,
        "start_queries": 40,
        "direction_memory": True,
        "search_share": 0.25,
    },
    ("mnist", "l2"): {"first_attack_steps": 8, "search_share": 0.25},
}
