"""Attacks: pure functions that search a classifier's errors near given images.

`pgd` and `an_pgd` are what training uses. The attacks of evaluation are parameters,
`APGD(norm="linf")` say, with which `search` looks for errors.
"""

from mma_tf.attacks.an_pgd import an_pgd
from mma_tf.attacks.an_pgd_search import AnPGD
from mma_tf.attacks.apgd import APGD
from mma_tf.attacks.boundary_search import Bracket, boundary_search
from mma_tf.attacks.ddn import DDN
from mma_tf.attacks.fab import FAB
from mma_tf.attacks.fmn import FMN
from mma_tf.attacks.iterative import Found, search
from mma_tf.attacks.pgd import pgd
from mma_tf.attacks.pgd_search import PGD
from mma_tf.attacks.shorten import shorten
from mma_tf.attacks.spsa import SPSA
from mma_tf.attacks.square import Square

__all__ = [
    "APGD",
    "DDN",
    "FAB",
    "FMN",
    "PGD",
    "SPSA",
    "AnPGD",
    "Bracket",
    "Found",
    "Square",
    "an_pgd",
    "boundary_search",
    "pgd",
    "search",
    "shorten",
]
