"""Attacks: pure functions that search a classifier's errors near given images."""

from mma_tf.attacks.an_pgd import an_pgd
from mma_tf.attacks.boundary_search import Bracket, boundary_search
from mma_tf.attacks.pgd import pgd

__all__ = ["Bracket", "an_pgd", "boundary_search", "pgd"]
