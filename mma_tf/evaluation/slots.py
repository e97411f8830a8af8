"""What an attack on many examples has to do, and what its batch holds."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mma_tf.attacks.iterative import Problem
from mma_tf.types import Tensor

_IDLE = -1


@dataclasses.dataclass(frozen=True)
class Work:
    """What an attack has to do.

    Attributes:
        fetch: Places of examples to their images `[n, ...]` float32 in [0, 1].
        labels: `[examples]`.
        todo: `[n]` places of the examples that are to be attacked.
        eps: `[examples]` radii of the balls, in pixel units.
        targets: `[examples, passes]` the target class of each pass.
        seed: `[2]` integers; each example and pass draws its own numbers.
        first: Place of the first example among all that are judged, of which these may
            be a part: it draws the numbers that it would draw there.
    """

    fetch: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray
    todo: np.ndarray
    eps: np.ndarray
    targets: np.ndarray
    seed: Tensor
    first: int = 0

    @property
    def num_passes(self) -> int:
        """How often each example is attacked at most."""
        return self.targets.shape[1]


class Slots:
    """The places of a batch, what is in them, and what has still to come.

    Attributes:
        example: `[batch]` place of the example in each, or -1.
        problem: What is attacked, tensors `[batch, ...]`; None before the start.
        state: The attack's state; None before the start.
        num_evaluated: How many images, idle places included, went through a step.
        iterations: `[batch]` how many steps each place has made.
    """

    def __init__(self, work: Work, size: int) -> None:
        self._work = work
        self._next = 0
        self._pass = np.full(size, 0, np.int64)
        self.example = np.full(size, _IDLE, np.int64)
        self.problem: Any = None
        self.state: Any = None
        self.num_evaluated = 0
        self.iterations = np.zeros(size, np.int64)

    @property
    def active(self) -> np.ndarray:
        """Which places hold an example, `[batch]`."""
        return self.example != _IDLE

    @property
    def has_more(self) -> bool:
        """Whether examples, or further passes of them, are waiting."""
        return self._next < len(self._work.todo) * self._work.num_passes

    @property
    def waiting(self) -> tuple[int, int]:
        """The pass that is being handed out, and how many examples it has begun."""
        return divmod(self._next, max(len(self._work.todo), 1))

    def wants_refill(self, share: int) -> bool:
        """Whether enough places are free for a refill to pay."""
        free = int((~self.active).sum())
        return self.has_more and free * share >= len(self.active)

    def take(self, places: np.ndarray, is_solved: Callable) -> np.ndarray:
        """Puts waiting examples into free places, and returns which, `[batch]`."""
        fresh = np.zeros(len(self.example), bool)
        todo = self._work.todo
        free = iter(places)
        place = next(free, None)
        while place is not None and self.has_more:
            number, at = divmod(self._next, len(todo))
            self._next += 1
            if is_solved(todo[at : at + 1])[0]:
                continue
            self.example[place], self._pass[place] = todo[at], number
            fresh[place] = True
            place = next(free, None)
        return fresh

    def new_problem(self) -> tuple[Problem, Tensor, Tensor]:
        """Returns what the places hold, the seed, and the number of each attempt."""
        work = self._work
        # An idle place holds a copy of an example, lest a shape change.
        example = np.where(self.active, self.example, self.example[self.active][0])
        problem = Problem(
            images=tf.constant(work.fetch(example)),
            labels=tf.constant(work.labels[example], tf.int32),
            targets=tf.constant(work.targets[example, self._pass], tf.int32),
            eps=tf.constant(work.eps[example], tf.float32),
            seeds=tf.zeros([len(example), 2], tf.int64),
        )
        keys = (work.first + example) * work.num_passes + self._pass
        return problem, work.seed, tf.constant(keys, tf.int64)

    def retire_idle(self, num_iterations: int) -> None:
        """Lets idle places count as done."""
        if self.active.all():
            return
        iteration = tf.where(self.active, self.state.iteration, num_iterations)
        self.state = self.state._replace(iteration=iteration)

    def free_solved(self, is_solved: Callable, num_iterations: int) -> None:
        """Frees the places of examples that another pass was faster with."""
        active = self.active
        solved = np.zeros_like(active)
        solved[active] = is_solved(self.example[active])
        if solved.any():
            self.release(solved)
            self.retire_idle(num_iterations)

    def forget_errors(self, places: np.ndarray) -> None:
        """Lets the attack go on at places, `[batch]` of bools, as if none was found."""
        if places.any():
            size = tf.where(places, np.inf, self.state.size)
            self.state = self.state._replace(size=size)

    def release(self, places: np.ndarray) -> None:
        """Frees places, `[batch]` of bools."""
        self.example = np.where(places, _IDLE, self.example)

    def keep(self, size: int) -> None:
        """Makes the batch smaller, the held examples first."""
        order = np.argsort(~self.active, kind="stable")[:size]
        self.example, self._pass = self.example[order], self._pass[order]
        both = (self.problem, self.state)
        self.problem, self.state = tf.nest.map_structure(
            lambda values: tf.gather(values, order), both
        )
        self.note_progress()

    def note_progress(self) -> None:
        """Notes how far each place is."""
        self.iterations = self.state.iteration.numpy().astype(np.int64)

    def steps_left(self, num_iterations: int) -> int:
        """Returns how many steps all examples together may still take."""
        waiting = len(self._work.todo) * self._work.num_passes - self._next
        running = np.maximum(num_iterations - self.iterations, 0)[self.active]
        return int(running.sum()) + waiting * num_iterations

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all that is needed to go on from here."""
        saved = {
            "next": np.array(self._next),
            "pass": self._pass,
            "example": self.example,
            "num_evaluated": np.array(self.num_evaluated),
        }
        tensors = tf.nest.flatten((self.problem, self.state))
        return saved | {f"tensor_{i}": t.numpy() for i, t in enumerate(tensors)}

    def restore(self, saved: Mapping[str, np.ndarray], begin: Callable) -> None:
        """Puts back what `arrays` gave."""
        self._next = int(saved["next"])
        self._pass, self.example = saved["pass"], saved["example"]
        self.num_evaluated = int(saved["num_evaluated"])
        structure = begin(*self.new_problem())
        number = len(tf.nest.flatten(structure))
        tensors = [tf.constant(saved[f"tensor_{i}"]) for i in range(number)]
        self.problem, self.state = tf.nest.pack_sequence_as(structure, tensors)
        self.note_progress()
