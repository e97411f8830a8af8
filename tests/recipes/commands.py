"""What a command of `bin/train` trains by."""

import shlex

from absl import flags as absl_flags

from mma_tf.cli import flags
from mma_tf.cli.parsing import parse
from mma_tf.recipes import resolve


def recipe_of(command):
    """Returns the recipe of a command whose dataset has one by name."""
    values = absl_flags.FlagValues()
    flags.define(values)
    parse(shlex.split(command)[1:], values)
    names = (values.dataset, values.norm, values.method)
    return resolve(*names, overrides=flags.overrides(values)).recipe
