"""What all training methods share: a Keras model around the classifier."""

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mma_tf.losses.cross_entropy import cross_entropy
from mma_tf.models.inference import at_least_float32, inference_logits_fn
from mma_tf.models.logits import check_logits
from mma_tf.noise import fold_in
from mma_tf.training.averaging import MovingStatistics, averaging_optimizer
from mma_tf.training.reduction import mean_over_global_batch, share_of_replica
from mma_tf.types import LogitsFn, Tensor

# Apart from the streams that order and augment the data, drawn from the same seed.
_ATTACK_STREAM = 2


@dataclasses.dataclass(frozen=True)
class Batch:
    """One training batch of one replica.

    Attributes:
        images: `[batch, height, width, channels]` in [0, 1].
        labels: `[batch]` whole numbers.
        index: `[batch]`, each example's stable number in the training data, or None.
        seed: `[2]`, this step's own seed.
        moves: `[batch, 3]`, how the images differ from those of other epochs, see
            `mma_tf.moves.move`; None if they do not.
    """

    images: Tensor
    labels: Tensor
    index: Tensor | None
    seed: Tensor
    moves: Tensor | None = None


class Objective(NamedTuple):
    """What a method makes of a batch.

    Attributes:
        loss: `[batch]`, whose mean over the global batch is descended.
        clean_logits: `[batch, classes]` of the images themselves.
        report: Numbers `[batch]` for the progress, by the names of the trackers.
        kept: What else `after_update` is to keep of it, by names of the method's own.
    """

    loss: Tensor
    clean_logits: Tensor
    report: dict[str, Tensor]
    kept: Mapping[str, Tensor] = MappingProxyType({})


class RobustModel(keras.Model):
    """A Keras model that trains the classifier it wraps by one of the methods.

    `fit` takes batches `(images, labels)`, or `({"image": images, "index": index},
    labels)` where a method keeps something for each example; the dictionary may tell
    the "moves" of augmented images, see `Batch`. `evaluate` and `predict` are the
    classifier's own. The classifier itself is `model.classifier`: save and
    export that, not the wrapper.

    Args:
        classifier: Any Keras model, images [0, 1] to logits `[batch, classes]`.
        weight_decay: Coupled L2: `weight_decay` * w is added to the gradient of every
            trainable weight (PyTorch's meaning; Keras optimisers' is decoupled).
        label_smoothing: Of the training loss, in [0, 1), see `cross_entropy`. Attacks
            and what is reported know nothing of it.
        seed: Of the attacks' random starts.

    Raises:
        UserError: If the classifier ends in a softmax or sigmoid.
    """

    # Names of the numbers that the method's objective reports.
    reported: tuple[str, ...] = ()

    def __init__(
        self,
        classifier: keras.Model,
        *,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        # The classifier casts for itself, and not its input, as half precision would
        # round an image by a good part of a perturbation.
        super().__init__(**{"autocast": False, **kwargs})
        check_logits(classifier)
        if weight_decay < 0:
            raise ValueError(
                "Invalid `weight_decay`: expected a number >= 0. "
                f"Received: weight_decay={weight_decay}"
            )
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                "Invalid `label_smoothing`: expected a number from 0 to below 1. "
                f"Received: label_smoothing={label_smoothing}"
            )
        self.classifier = classifier
        self.label_smoothing = label_smoothing
        self.weight_decay = weight_decay
        self.seed = seed
        self.steps_done = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="steps_done",
        )
        self.moving_statistics: MovingStatistics | None = None
        if classifier.built:
            self.moving_statistics = MovingStatistics(classifier)
        self.trackers = [keras.metrics.Mean(name=name) for name in self.reported]

    def objective(self, batch: Batch, tape: tf.GradientTape) -> Objective:
        """Returns the method's loss of each example; to be given by each method.

        Args:
            batch: The replica's part of the global batch.
            tape: Records the loss for the weights' gradient; attacks pause it.
        """
        raise NotImplementedError

    def training_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Returns the cross-entropy `[batch]`, smoothed, that training descends."""
        return cross_entropy(labels, logits, label_smoothing=self.label_smoothing)

    def after_update(self, batch: Batch, objective: Objective) -> None:
        """Called in each step when the optimiser has moved the weights."""

    def build(self, input_shape: Any) -> None:
        """Builds the classifier for images of `input_shape` (batch, height, ...)."""
        shape = input_shape["image"] if isinstance(input_shape, dict) else input_shape
        if not self.classifier.built:
            self.classifier.build(shape)
        if self.moving_statistics is None:
            self.moving_statistics = MovingStatistics(self.classifier)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        """Returns the classifier's logits.

        Args:
            inputs: Images, or a dictionary with them under "image".
            training: Whether the network is in training mode.
        """
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        return self.classifier(images, training=training)

    def compile(
        self,
        optimizer: Any = "adam",
        metrics: Iterable[Any] | None = ("accuracy",),
        **kwargs: Any,
    ) -> None:
        """Configures training, as `keras.Model.compile` does, without a loss.

        Raises:
            ValueError: If a loss is given: the loss belongs to the method.
        """
        if kwargs.pop("loss", None) is not None:
            raise ValueError(
                "Invalid `loss`: the training method brings its own. Received: a loss "
                "(leave it out, or train the classifier itself with Keras)"
            )
        metrics = list(metrics) if metrics is not None else None
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains the classifier, as `keras.Model.fit` does.

        An optimiser that averages weights leaves the averages in the classifier at the
        end, as Keras' own do, and those of batch normalisation's statistics with them
        (build a classifier that does not know its input before: `model.build(shape)`).
        """
        history = super().fit(*args, **kwargs)
        if averaging_optimizer(self) is not None and self.moving_statistics is not None:
            self.moving_statistics.put_in()
        return history

    def logits(self, images: Tensor) -> Tensor:
        """Returns the classifier's logits in training mode, in float32 at least."""
        return at_least_float32(self.classifier(images, training=True))

    @property
    def inference_logits_fn(self) -> LogitsFn:
        """The classifier as every attack sees it: moving statistics, no dropout."""
        return inference_logits_fn(self.classifier)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        images, labels, index, moves = unpack(data)
        seed = fold_in(self.seed, _ATTACK_STREAM, self.steps_done.value)
        with tf.control_dependencies(self._check(images, labels)):
            batch = Batch(tf.identity(images), labels, index, seed, moves)
        weights = self.classifier.trainable_variables
        with tf.GradientTape() as tape:
            objective = self.objective(batch, tape)
            loss = mean_over_global_batch(objective.loss)
            loss += share_of_replica(self._penalty(loss.dtype))
            loss = self.optimizer.scale_loss(loss)
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.after_update(batch, objective)
        self._follow_statistics()
        # The optimiser's own count stands still where a float16 step is skipped.
        self.steps_done.assign_add(1)
        for tracker in self.trackers:
            tracker.update_state(objective.report[tracker.name])
        self._loss_metric().update_state(objective.loss)
        return self.compute_metrics(images, labels, objective.clean_logits)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        images, labels, _, _ = unpack(data)
        logits = self.inference_logits_fn(images)
        self._loss_metric().update_state(cross_entropy(labels, logits))
        results = self.compute_metrics(images, labels, logits)
        trained = {tracker.name for tracker in self.trackers}
        return {name: value for name, value in results.items() if name not in trained}

    def _follow_statistics(self) -> None:
        """Makes the replicas' statistics one, and lets their averages follow."""
        if self.moving_statistics is None:
            return
        self.moving_statistics.share()
        optimizer = averaging_optimizer(self)
        if optimizer is not None:
            is_first = self.steps_done.value == 0
            momentum = tf.where(is_first, 0.0, optimizer.ema_momentum)
            self.moving_statistics.update(momentum)

    def _penalty(self, dtype: tf.DType) -> Tensor:
        """Returns coupled L2, and what the classifier's own regularisers add."""
        penalty = tf.zeros([], dtype)
        if self.weight_decay:
            weights = self.classifier.trainable_variables
            squares = tf.add_n([tf.nn.l2_loss(weight) for weight in weights])
            penalty += tf.cast(self.weight_decay * squares, dtype)
        for term in self.classifier.losses:
            penalty += tf.cast(term, dtype)
        return penalty

    def _loss_metric(self) -> keras.metrics.Metric:
        return next(metric for metric in self.metrics if metric.name == "loss")

    def _check(self, images: Tensor, labels: Tensor) -> list[tf.Operation]:
        """Checks in the graph: most batches are known only there. XLA drops them."""
        checks = [
            tf.debugging.assert_non_negative(
                images, "Invalid `images`: expected pixels in [0, 1]. Received: less."
            ),
            tf.debugging.assert_less_equal(
                images,
                tf.ones([], images.dtype),
                "Invalid `images`: expected pixels in [0, 1]. Received: more (divide "
                "bytes by 255; a network's own scaling belongs in a layer of it).",
            ),
        ]
        # Known of most classifiers; a subclassed Keras model has no output shape.
        shape = getattr(self.classifier, "output_shape", None)
        if shape is not None:
            classes = shape[-1]
            checks.append(
                tf.debugging.Assert(
                    tf.reduce_all((labels >= 0) & (labels < classes)),
                    [f"Invalid `labels`: expected 0 to {classes - 1}.", labels],
                )
            )
        return [check for check in checks if check is not None]


def unpack(data: Any) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Returns images, labels, index and moves of one batch as `fit` delivers it.

    The latter two are None where the batch does not tell them.

    Raises:
        ValueError: If the batch has no labels, or sample weights.
    """
    inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    if weights is not None:
        raise ValueError(
            "Invalid `sample_weight`: robust training weights all examples alike. "
            "Received: sample weights (leave them out)"
        )
    if labels is None:
        raise ValueError(
            "Invalid `y`: expected labels of shape [batch]. Received: None"
        )
    index = moves = None
    if isinstance(inputs, dict):
        index, moves = inputs.get("index"), inputs.get("moves")
        inputs = inputs["image"]
    if labels.shape.rank == 2 and labels.shape[-1] not in (1, None):
        raise ValueError(
            "Invalid `y`: expected class numbers of shape [batch]. Received: shape="
            f"{labels.shape} (of one-hot labels pass the argmax)"
        )
    labels = tf.reshape(labels, [-1])
    if labels.dtype not in (tf.int32, tf.int64):
        labels = tf.cast(labels, tf.int32)
    return tf.convert_to_tensor(inputs), labels, index, moves
