"""What both sides of the comparison agree on; imports no framework.

The files between the processes are npz: the problem (see `benchmarks.torch_network`)
with `norm` and `eps`, and the answer, `points` `[num_images, height, width, channels]`,
`logits` of them by the side's own network, `seconds` and `library`.
"""

import dataclasses
from typing import Literal

# Attacks in a ball: how many images they find an error for.
BALL_ATTACKS = ("apgd_ce", "apgd_t", "fab_t", "square", "spsa", "autoattack")
# Attacks that make the error's distance small: its median.
SIZE_ATTACKS = ("fab_t_size", "ddn", "fmn")
ATTACKS = BALL_ATTACKS + SIZE_ATTACKS
NormName = Literal["linf", "l2"]
NORMS: tuple[NormName, ...] = ("linf", "l2")

# Which libraries have an attack, for which norms. Left out is what a library cannot
# do, or does in another way than what it is compared with; README.md says what.
_BOTH: frozenset[str] = frozenset(NORMS)
PEERS: dict[str, dict[str, frozenset[str]]] = {
    "apgd_ce": {"pyautoattack": _BOTH, "torchattacks": _BOTH},
    "apgd_t": {"pyautoattack": _BOTH, "torchattacks": frozenset({"linf"})},
    "fab_t": {"pyautoattack": _BOTH, "torchattacks": _BOTH},
    "square": {"pyautoattack": _BOTH, "torchattacks": _BOTH},
    "spsa": {"torchattacks": frozenset({"linf"})},
    "autoattack": {"pyautoattack": _BOTH},
    "fab_t_size": {"pyautoattack": _BOTH},
    "ddn": {"foolbox": frozenset({"l2"})},
    "fmn": {"adv-lib": _BOTH, "foolbox": frozenset({"linf"})},
}
LIBRARIES = ("pyautoattack", "torchattacks", "foolbox", "adv-lib")

# Of the exit status of `peer_attacks.py` where a package is missing.
MISSING_PACKAGE = 3

# AutoAttack's "standard" version.
APGD_STEPS = 100
APGD_RHO = 0.75
FAB_STEPS = 100
NUM_TARGETS = 9
SQUARE_QUERIES = 5000
SQUARE_FIRST_SHARE = 0.8

# Fewer samples than in the literature (1,024 pairs): they are what takes the time.
SPSA_STEPS = 40
SPSA_PAIRS = 32
SPSA_DELTA = 0.01
SPSA_LEARNING_RATE = 0.01

DDN_STEPS = 200
DDN_FIRST_RADIUS = 1.0
DDN_GAMMA = 0.05

FMN_STEPS = 200
FMN_FIRST_STEP_SIZE = 0.84
FMN_LAST_STEP_SIZE = 0.0084
FMN_FIRST_GAMMA = 0.05
# That of Foolbox is fixed.
FMN_LAST_GAMMA = 0.001


@dataclasses.dataclass(frozen=True)
class Run:
    """An attack on a problem.

    Attributes:
        attack: A name of `ATTACKS`.
        norm: "linf" or "l2".
        eps: Radius, in pixel units; attacks for sizes leave it alone.
        seed: Of all random numbers.
        batch_size: Images at a time.
    """

    attack: str
    norm: NormName
    eps: float
    seed: int
    batch_size: int
