"""Averaged weights, for as long as they are looked at.

A Keras optimiser averages what it trains. The statistics of batch normalisation belong
to the weights that they were gathered with: `MovingStatistics` averages them alike.
"""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from mma_tf.types import Tensor


class MovingStatistics(keras.layers.Layer):
    """Averages of the moving statistics of a classifier's batch normalisation.

    Args:
        classifier: Built.
    """

    def __init__(
        self, classifier: keras.Model, *, name: str = "moving_statistics"
    ) -> None:
        super().__init__(name=name, trainable=False, autocast=False)
        statistics = [
            statistic
            for layer in classifier._flatten_layers(include_self=False)
            if isinstance(layer, keras.layers.BatchNormalization)
            for statistic in (layer.moving_mean, layer.moving_variance)
        ]
        # As an attribute they would be this layer's own weights, too.
        self._statistics = lambda: statistics
        for number, statistic in enumerate(statistics):
            # One by one: Keras' checkpoints do not look into lists.
            setattr(self, f"average_{number}", self._copy_of(statistic, number))

    @property
    def pairs(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Each statistic of the classifier, and its average."""
        statistics = self._statistics()
        averages = [getattr(self, f"average_{i}") for i in range(len(statistics))]
        return list(zip(statistics, averages, strict=True))

    def share(self) -> None:
        """Gives each replica the mean of the statistics that all have gathered.

        They attack with them, and a checkpoint, or a look at averaged weights, keeps
        those of one replica for all.
        """
        context = tf.distribute.get_replica_context()
        statistics = self._statistics()
        if context.num_replicas_in_sync == 1 or not statistics:
            return
        means = context.all_reduce(
            tf.distribute.ReduceOp.MEAN, [tf.identity(s.value) for s in statistics]
        )
        for statistic, mean in zip(statistics, means, strict=True):
            statistic.assign(mean)

    def update(self, momentum: Tensor) -> None:
        """Lets the averages follow: momentum of the old, the rest of the new values."""
        for statistic, average in self.pairs:
            old, new = average.value, statistic.value
            average.assign(momentum * old + (1 - momentum) * new)

    def put_in(self) -> None:
        """Puts the averages into the classifier."""
        for statistic, average in self.pairs:
            statistic.assign(average)

    def _copy_of(self, statistic: keras.Variable, number: int) -> keras.Variable:
        return self.add_weight(
            shape=statistic.shape,
            initializer=lambda shape, dtype: tf.cast(statistic.value, dtype),
            dtype=statistic.dtype,
            trainable=False,
            autocast=False,
            aggregation=statistic.aggregation,
            name=f"average_{number}",
        )


def averaging_optimizer(model: keras.Model) -> keras.optimizers.Optimizer | None:
    """Returns the optimiser of `model` if it averages weights, else None."""
    optimizer = getattr(model, "optimizer", None)
    # In half precision another one scales the loss around it.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return inner if getattr(inner, "use_ema", False) else None


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Puts the optimiser's averaged weights into `model`, and takes them out again.

    Does nothing where the optimiser keeps no averages (`use_ema=False`), or has none
    yet, before its first step. The weights come back bit by bit, so that training goes
    on as if nothing had happened.
    """
    if averaging_optimizer(model) is None or not model.optimizer.iterations.numpy():
        yield
        return
    moving: MovingStatistics | None = getattr(model, "moving_statistics", None)
    weights = model.trainable_variables
    statistics = [] if moving is None else [pair[0] for pair in moving.pairs]
    kept = [tf.identity(weight.value) for weight in (*weights, *statistics)]
    model.optimizer.finalize_variable_values(weights)
    if moving is not None:
        moving.put_in()
    try:
        yield
    finally:
        for weight, value in zip((*weights, *statistics), kept, strict=True):
            weight.assign(value)
