"""Labelled images: where they come from, and how they reach training in batches."""

from mma_tf.data.examples import Examples, ImageDataset
from mma_tf.data.pipelines import evaluation_batches, training_batches, with_index
from mma_tf.data.sources import load

__all__ = [
    "Examples",
    "ImageDataset",
    "evaluation_batches",
    "load",
    "training_batches",
    "with_index",
]
