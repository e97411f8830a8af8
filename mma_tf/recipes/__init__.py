"""Recipes: every number of a training, by dataset and norm. Standard library only."""

from mma_tf.recipes.resolve import Resolution, is_named, resolve
from mma_tf.recipes.schema import Recipe

__all__ = ["Recipe", "Resolution", "is_named", "resolve"]
