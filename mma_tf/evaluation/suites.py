"""Which attacks judge a classifier, in which order, with which parameters."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from mma_tf.attacks.an_pgd_search import AnPGD
from mma_tf.attacks.apgd import APGD
from mma_tf.attacks.ddn import DDN
from mma_tf.attacks.fab import FAB
from mma_tf.attacks.fmn import FMN
from mma_tf.attacks.iterative import Attack
from mma_tf.attacks.pgd_search import PGD
from mma_tf.attacks.spsa import SPSA
from mma_tf.attacks.square import Square
from mma_tf.errors import UserError
from mma_tf.losses.registry import is_targeted
from mma_tf.types import NormName

SUITES = ("paper", "autoattack", "black_box", "transfer", "margins", "quick")
# Of the paper's repeated PGD: so many random starts with each of two losses.
_PAPER_STARTS = 5
_PAPER_STEP = 1 / 4
# Of the targeted attacks of AutoAttack.
_NUM_TARGETS = 9
_QUICK_STEPS = 20
_QUICK_TARGETS = 3
# The nearest boundary is nearly always that of one of the likeliest wrong classes.
_MARGIN_TARGETS = 2


@dataclasses.dataclass(frozen=True)
class Stage:
    """An attack, and how often each example meets it.

    Attributes:
        name: As it is called in reports.
        attack: The attack with its parameters.
        num_passes: Random starts; or targets, the likeliest wrong class first.
        source: The model on which adversarial images are made; None for the one that
            is judged.
    """

    name: str
    attack: Attack
    num_passes: int = 1
    source: str | None = None

    @property
    def targeted(self) -> bool:
        """Whether each pass aims at another class."""
        if isinstance(self.attack, FAB):
            return True
        return is_targeted(getattr(self.attack, "loss", ""))

    @property
    def cost(self) -> int:
        """Passes through the network for one example, a backward one counting two."""
        attack = self.attack
        step = attack.forward_passes + 2 * attack.backward_passes
        return self.num_passes * attack.num_iterations * step

    def parameters(self) -> dict[str, object]:
        """Returns the attack's name and parameters, for a report."""
        attack: Any = self.attack
        names = [field.name for field in dataclasses.fields(attack) if field.repr]
        return {"class": type(attack).__name__} | {n: getattr(attack, n) for n in names}


def make_stages(
    suite: str,
    *,
    norm: NormName,
    num_classes: int,
    has_gradient: bool = True,
    sources: Sequence[str] = (),
    pgd_step: float | None = None,
) -> tuple[Stage, ...]:
    """Returns the attacks of a suite.

    - "paper": repeated PGD of Ding et al., ICLR 2020: 100 steps, five random starts
      with cross-entropy and five with the Carlini-Wagner loss.
    - "autoattack": the standard version of Croce & Hein, ICML 2020 (arXiv 2003.01690):
      APGD on cross-entropy, APGD on the targeted DLR loss and FAB with 9 targets each,
      Square with 5,000 queries. With fewer than 10 classes all wrong ones are targets;
      with 3, for which the targeted DLR loss is not defined, the untargeted one is
      used; with 2 no DLR loss is defined and APGD raises the difference of the logits.
    - "black_box": Square, and SPSA with the numbers of Ding et al.; no gradients.
    - "transfer": the paper's PGD on each of `sources`.
    - "margins": FAB, FMN, DDN (l2) and AN-PGD with restarts, for the shortest error.
    - "quick": APGD on both losses with few steps, for validation during training.

    Args:
        suite: One of `SUITES`.
        norm: "linf" or "l2".
        num_classes: Of the classifier, >= 2.
        has_gradient: Without, the black-box attacks take the place of any suite but
            "transfer".
        sources: Models that adversarial images come from, before all other attacks.
        pgd_step: Length of the paper's PGD steps, in units of eps; None for 1/4. The
            paper has 1/40 for MNIST in linf.

    Raises:
        UserError: If there is no such suite, or it cannot be made.
    """
    if suite not in SUITES:
        raise UserError(
            f"Invalid `suite`: expected {', '.join(SUITES)}. Received: suite={suite!r}"
        )
    if num_classes < 2:
        raise UserError(
            "Invalid classifier: expected at least two classes. Received: "
            f"{num_classes}"
        )
    if suite == "transfer" and not sources:
        raise UserError(
            "Invalid `suite`: transfer needs models that the images come from; name "
            "them by `transfer_from`. Received: suite='transfer'"
        )
    if suite == "margins" and sources:
        raise UserError(
            "Invalid `transfer_from`: suite margins tries no image of other models; "
            f"leave it out. Received: transfer_from={', '.join(sources)}"
        )
    if suite == "margins" and not has_gradient:
        raise UserError(
            "Invalid `suite`: margins are found by gradients, and this model gives "
            "none; use suite='black_box'. Received: suite='margins'"
        )
    if pgd_step is not None and not has_paper_pgd(suite, sources):
        raise UserError(
            "Invalid `pgd_step`: expected suite='paper' or models in `transfer_from` "
            f"with it. Received: pgd_step={pgd_step} with suite={suite!r} (leave it "
            "out)"
        )
    paper = _paper(norm, _PAPER_STEP if pgd_step is None else pgd_step)
    transfer = [
        dataclasses.replace(stage, name=f"{stage.name} from {source}", source=source)
        for source in sources
        for stage in paper
    ]
    if suite == "transfer":
        return tuple(transfer)
    if not has_gradient:
        return (*transfer, *_black_box(norm))
    if suite == "paper":
        return (*transfer, *paper)
    if suite == "autoattack":
        return (*transfer, *_autoattack(norm, num_classes))
    if suite == "black_box":
        return (*transfer, *_black_box(norm))
    if suite == "quick":
        targets = min(_QUICK_TARGETS, num_classes - 1)
        return (*transfer, *_apgd(norm, num_classes, _QUICK_STEPS, targets))
    return _margins(norm, num_classes)


def has_paper_pgd(suite: str, sources: Sequence[str]) -> bool:
    """Returns whether the paper's PGD is among the attacks, given gradients.

    Args:
        suite: One of `SUITES`.
        sources: Models that adversarial images come from.
    """
    return suite == "paper" or bool(sources)


def _paper(norm: NormName, pgd_step: float) -> list[Stage]:
    losses = {"pgd-ce": "cross_entropy", "pgd-cw": "carlini_wagner"}
    return [
        Stage(name, PGD(norm, 100, pgd_step * 100, loss), _PAPER_STARTS)
        for name, loss in losses.items()
    ]


def _apgd(
    norm: NormName, num_classes: int, num_steps: int, num_targets: int
) -> list[Stage]:
    first = Stage("apgd-ce", APGD(norm, num_steps, "cross_entropy"))
    if num_classes == 2:
        return [first, Stage("apgd-lm", APGD(norm, num_steps, "logit_margin"))]
    if num_classes == 3:
        return [first, Stage("apgd-dlr", APGD(norm, num_steps, "dlr"))]
    second = Stage("apgd-t", APGD(norm, num_steps, "targeted_dlr"), num_targets)
    return [first, second]


def _autoattack(norm: NormName, num_classes: int) -> list[Stage]:
    targets = min(_NUM_TARGETS, num_classes - 1)
    return [
        *_apgd(norm, num_classes, 100, targets),
        Stage("fab-t", FAB(norm), targets),
        Stage("square", Square(norm)),
    ]


def _black_box(norm: NormName) -> list[Stage]:
    return [Stage("square", Square(norm)), Stage("spsa", SPSA(norm))]


def _margins(norm: NormName, num_classes: int) -> tuple[Stage, ...]:
    likeliest = min(_MARGIN_TARGETS, num_classes - 1)
    ddn = DDN(loss="target_difference")
    return (
        Stage("fab-t", FAB(norm), min(_NUM_TARGETS, num_classes - 1)),
        Stage("fmn", FMN(norm)),
        Stage("fmn-t", FMN(norm, loss="target_difference"), likeliest),
        *(
            [Stage("ddn", DDN()), Stage("ddn-t", ddn, likeliest)]
            if norm == "l2"
            else []
        ),
        Stage("an-pgd", AnPGD(norm)),
        Stage("an-pgd-t", AnPGD(norm, loss="target_difference"), likeliest),
    )
