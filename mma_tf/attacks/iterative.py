"""What all attacks that go step by step have in common, and how they are run.

An attack is a frozen dataclass: its parameters, how it starts, and one step. All that
changes is in a state, one entry an example, and each example counts its own steps. So
the examples of a batch may be at different steps, and one that is done can give its
place to another: `mma_tf.evaluation.stream` keeps batches full that way.
"""

from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from mma_tf.attacks.arguments import as_images, as_labels, as_radii, frozen
from mma_tf.losses.true_class import split_true_class
from mma_tf.noise import seeds_of
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import select
from mma_tf.types import LogitsFn, NormName, PerExample, Seed, Tensor, TensorLike

# Where AN-PGD begins if no error is known, in units of the box's diameter.
FIRST_RADIUS = 0.1


class Problem(NamedTuple):
    """What is attacked; each field has one entry an example.

    Attributes:
        images: `[batch, ...]`, floating, in [0, 1].
        labels: `[batch]`, whole numbers in [0, classes).
        targets: `[batch]`, the class that a targeted loss aims at.
        eps: `[batch]`, the radius of the ball; of attacks without one, AN-PGD begins at
            it, and the others leave it alone.
        seeds: `[batch, 2]` integers, of the example's own random numbers.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    eps: Tensor
    seeds: Tensor


class State(Protocol):
    """What every attack's state has; a NamedTuple of tensors, one entry an example."""

    @property
    def iteration(self) -> Tensor:
        """How many steps the example made, `[batch]` int32."""

    @property
    def adversarial(self) -> Tensor:
        """The misclassified point, where one was seen, `[batch, ...]`."""

    @property
    def size(self) -> Tensor:
        """A bound on its distance from the image, infinite if none, `[batch]`."""

    def _asdict(self) -> dict[str, Any]: ...

    def _replace(self, **changes: Any) -> Any: ...


class Attack(Protocol):
    """Parameters of an attack and its steps."""

    @property
    def norm(self) -> NormName:
        """The norm of the ball, or the one that is made small."""

    @property
    def has_ball(self) -> bool:
        """Whether it stays within `eps`; if not, it looks for the nearest error."""

    @property
    def num_iterations(self) -> int:
        """After so many steps an example is done."""

    @property
    def forward_passes(self) -> int:
        """Forward passes a step, those of gradients included."""

    @property
    def backward_passes(self) -> int:
        """Backward passes a step."""

    def start(self, problem: Problem) -> Any:
        """Returns the state before the first step."""

    def step(self, logits_fn: LogitsFn, problem: Problem, state: Any) -> Any:
        """Returns the state after a step of each example."""


class Found(NamedTuple):
    """What an attack found; each field has one entry an example.

    Attributes:
        images: `[batch, ...]` the misclassified points, in the box and, if the attack
            has a ball, in it; where none was found, the images themselves.
        size: `[batch]` their distances from the images, infinite where none was found.
    """

    images: Tensor
    size: Tensor


def search(
    attack: Attack,
    logits_fn: LogitsFn,
    images: TensorLike,
    labels: TensorLike,
    *,
    eps: PerExample | None = None,
    targets: TensorLike | None = None,
    seed: Seed = 0,
    stop_in_ball: bool = False,
) -> Found:
    """Returns the misclassified points that an attack finds.

    Args:
        attack: The attack with its parameters, as `APGD(norm="linf")`.
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        images: `[batch, ...]`, floating, in [0, 1].
        labels: `[batch]`, whole numbers in [0, classes).
        eps: Radius of the ball, a scalar or `[batch]`, in pixel units. Attacks without
            a ball need none, unless they are to stop in one; AN-PGD's first radius,
            which is a tenth of the box's diameter by default.
        targets: `[batch]`, the wrong class that a targeted loss aims at; by default
            the one with the largest logit.
        seed: A whole number or `[2]` integers; each example draws its own numbers.
        stop_in_ball: Whether an example is done with its first error in the `eps`-ball.

    Raises:
        ValueError: If the norm is unknown, a length is negative, of a wrong shape or
            missing, or the attack has no step; or, outside of a graph, if pixels or
            labels are out of range.
        TypeError: If `images` are not floating, or `labels` not whole numbers.
    """
    geometry = get_norm(attack.norm)
    if attack.num_iterations < 1:
        raise ValueError(
            f"Invalid `attack`: expected one with a step at least. Received: {attack}"
        )
    images, labels = as_images(images), as_labels(labels)
    if targets is None:
        targets = runner_up(labels, logits_fn(images))
    if eps is None:
        if attack.has_ball or stop_in_ball:
            raise ValueError(
                "Invalid `eps`: expected the radius of the ball to search, in pixel "
                f"units. Received: eps=None for {attack}"
            )
        eps = FIRST_RADIUS * geometry.diameter(images.shape[1:].num_elements())
    problem = Problem(
        images=images,
        labels=labels,
        targets=tf.cast(targets, tf.int32),
        eps=as_radii("eps", eps, images, norm=geometry),
        seeds=seeds_of(seed, tf.range(tf.shape(labels)[0])),
    )
    state, _ = advance(
        attack,
        logits_fn,
        problem,
        attack.start(problem),
        num_steps=2**31 - 1,
        stop_in_ball=stop_in_ball,
    )
    found = tf.math.is_finite(state.size)
    # Measured anew: an attack in a ball notes the ball's radius only.
    points = select(found, state.adversarial, images)
    distance = geometry.size(points - images)
    return Found(
        images=tf.stop_gradient(points),
        size=tf.where(found, distance, tf.constant(float("inf"), distance.dtype)),
    )


def advance(
    attack: Attack,
    logits_fn: LogitsFn,
    problem: Problem,
    state: Any,
    *,
    num_steps: Tensor | int,
    stop_in_ball: bool,
    enough_done: Tensor | int | None = None,
) -> tuple[Any, Tensor]:
    """Returns the state after steps of each example that is not done, and their number.

    Args:
        attack: The attack.
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        problem: What is attacked.
        state: As `attack.start` made it, or this function.
        num_steps: At most so many; fewer if all examples are done.
        stop_in_ball: Whether an example is done with its first error in the `eps`-ball.
        enough_done: Return as soon as so many examples are done; by default all.
    """
    logits_fn = frozen(logits_fn)
    if enough_done is None:
        enough_done = tf.shape(problem.labels)[0]

    def unfinished(count: Tensor, state: Any) -> Tensor:
        done = is_done(attack, problem, state, stop_in_ball=stop_in_ball)
        return (count < num_steps) & (tf.math.count_nonzero(done) < enough_done)

    def step(count: Tensor, state: Any) -> tuple[Tensor, Any]:
        done = is_done(attack, problem, state, stop_in_ball=stop_in_ball)
        after = attack.step(logits_fn, problem, state)
        kept = tf.nest.map_structure(
            lambda old, new: select(done, old, new), state, after
        )
        return count + 1, kept

    enough_done = tf.cast(enough_done, tf.int64)
    count, state = tf.while_loop(
        unfinished, step, (tf.constant(0), state), parallel_iterations=1
    )
    return state, count


def is_done(
    attack: Attack, problem: Problem, state: State, *, stop_in_ball: bool
) -> Tensor:
    """Returns which examples need no further step, `[batch]`."""
    done = state.iteration >= attack.num_iterations
    return done | (state.size <= problem.eps) if stop_in_ball else done


def is_error(labels: Tensor, logits: Tensor) -> Tensor:
    """Returns which examples are misclassified, `[batch]`.

    The one definition: a tie counts as an error, and so does a logit that is no number.
    """
    true_logit, others = split_true_class(labels, logits)
    # Not by their maximum: in a graph that leaves out what is no number.
    return ~tf.reduce_all(others < true_logit[:, tf.newaxis], axis=-1)


def runner_up(labels: Tensor, logits: Tensor) -> Tensor:
    """Returns the wrong class with the largest logit, `[batch]`."""
    _, others = split_true_class(labels, logits)
    return tf.argmax(others, axis=-1, output_type=tf.int32)


def keep_smallest(state: Any, points: Tensor, size: Tensor, adversarial: Tensor) -> Any:
    """Returns the state with those `points` noted that are errors closer than known.

    Args:
        state: A state with `adversarial` and `size`.
        points: `[batch, ...]`.
        size: `[batch]` distances of `points` from the images.
        adversarial: `[batch]` which of them are errors.
    """
    closer = adversarial & (size < state.size)
    return state._replace(
        adversarial=select(closer, points, state.adversarial),
        size=tf.where(closer, size, state.size),
    )


def nothing_found(images: Tensor) -> Tensor:
    """Returns the `size` of a state in which no error was seen yet, `[batch]`."""
    return tf.fill([tf.shape(images)[0]], tf.constant(float("inf"), images.dtype))
