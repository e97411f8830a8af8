"""An attack on many examples, in batches that are kept full.

An example that is done gives its place in the batch to the next one. What the attack
is at, at any moment, is a few arrays: saved and put back, the attack goes on as if
nothing had happened.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mma_tf.attacks.iterative import Attack, Problem, advance, is_done
from mma_tf.devices import has_gpu
from mma_tf.noise import seeds_of
from mma_tf.per_example import select
from mma_tf.types import LogitsFn, Tensor

# Free places are filled again as soon as they are this share of the batch.
_REFILL_SHARE = 8
# Where shapes are compiled, the batch is halved towards the end, down to this share.
_SMALLEST_SHARE = 8
# How long a call into the graph may take before Ctrl-C and progress get their turn.
_SECONDS_A_CALL = 1.0
_MOST_STEPS_A_CALL = 1024
_IDLE = -1

# Tells which examples are done with and what was found: (examples, points, sizes).
Report = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


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
    """

    fetch: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray
    todo: np.ndarray
    eps: np.ndarray
    targets: np.ndarray
    seed: Tensor

    @property
    def num_passes(self) -> int:
        """How often each example is attacked at most."""
        return self.targets.shape[1]


class Stream:
    """An attack bound to a classifier, compiled once for many uses.

    Args:
        attack: The attack with its parameters.
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        batch_size: Examples attacked at a time.
        stop_in_ball: Whether an example is done with its first error in the ball.
        result: Which points of a state are tried: by default its errors; for images
            that are made to be tried on another classifier, those of largest loss.
    """

    def __init__(
        self,
        attack: Attack,
        logits_fn: LogitsFn,
        *,
        batch_size: int,
        stop_in_ball: bool,
        result: str = "adversarial",
    ) -> None:
        self._attack = attack
        self._batch_size = batch_size
        self._stop_in_ball = stop_in_ball
        self._result = result
        # XLA pays on a GPU; on a CPU it is slower than the plain graph.
        self._jit = has_gpu()

        def begin(problem: Problem, seed: Tensor, keys: Tensor) -> tuple[Any, Any]:
            problem = problem._replace(seeds=seeds_of(seed, keys))
            return problem, attack.start(problem)

        def go_on(
            problem: Problem, state: Any, num_steps: Tensor, enough_done: Tensor
        ) -> tuple[Any, Tensor, Tensor]:
            state, count = advance(
                attack,
                logits_fn,
                problem,
                state,
                num_steps=num_steps,
                stop_in_ball=stop_in_ball,
                enough_done=enough_done,
            )
            done = is_done(attack, problem, state, stop_in_ball=stop_in_ball)
            return state, count, done

        def replace(fresh: Tensor, new: Any, old: Any) -> Any:
            return tf.nest.map_structure(lambda n, o: select(fresh, n, o), new, old)

        # Which arguments have an entry an example; the others never change their shape.
        self._begin = self._compiled(begin, batched=(True, False, True))
        self._go_on = self._compiled(go_on, batched=(True, True, False, False))
        self._replace = self._compiled(replace, batched=(True, True, True))

    def run(
        self,
        work: Work,
        *,
        is_solved: Callable[[np.ndarray], np.ndarray],
        report: Report,
        on_round: Callable[["Slots"], None],
        saved: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Attacks all that is to do.

        Args:
            work: What to do.
            is_solved: Tells of places of examples which need no further pass.
            report: Told what was found, as soon as it is.
            on_round: Called with what the attack is at, between two calls into the
                graph: for progress, to save, or to raise and so to stop.
            saved: As `Slots.arrays` gave it, to go on from there.
        """
        slots = Slots(work, self._size_for(len(work.todo) * work.num_passes))
        if saved is not None:
            slots.restore(saved, self._begin)
        steps = 1
        while True:
            slots.free_solved(is_solved, self._attack.num_iterations)
            if slots.wants_refill(_REFILL_SHARE):
                self._refill(slots, is_solved)
            active = slots.active
            if not active.any():
                return
            self._shrink(slots)
            active = slots.active
            size, num_active = len(active), int(active.sum())
            enough = size - num_active + max(num_active // _REFILL_SHARE, 1)
            done = np.zeros(size, bool)
            # How many calls this takes is a matter of time; when places are filled
            # again is not, so that every run makes the same batches.
            while (done | ~active).sum() < enough:
                began = time.monotonic()
                slots.state, count, is_done_now = self._go_on(
                    slots.problem, slots.state, tf.constant(steps), tf.constant(enough)
                )
                slots.num_evaluated += int(count) * size
                done = is_done_now.numpy()
                seconds = time.monotonic() - began
                slots.note_progress()
                on_round(slots)
                if seconds < _SECONDS_A_CALL / 2:
                    steps = min(2 * steps, _MOST_STEPS_A_CALL)
                elif seconds > 2 * _SECONDS_A_CALL:
                    steps = max(steps // 2, 1)
            self._finish(slots, done & active, report)

    def _compiled(self, function: Callable, *, batched: tuple[bool, ...]) -> Callable:
        traced = tf.function(function, jit_compile=self._jit, autograph=False)
        graphs: dict[Any, Callable] = {}

        def spec_of(values: Tensor, is_batched: bool) -> tf.TensorSpec:
            shape = values.shape.as_list()
            if is_batched and not self._jit:
                shape[0] = None
            return tf.TensorSpec(shape, values.dtype)

        # Called by the graph for any batch size, or under XLA for each: TensorFlow
        # warns of functions that are traced a few times, as this one is on purpose.
        def call(*arguments: Any) -> Any:
            size = tf.nest.flatten(arguments)[0].shape[0] if self._jit else None
            key = (size, *map(type, arguments))
            if key not in graphs:
                specs = [
                    tf.nest.map_structure(lambda v, each=each: spec_of(v, each), value)
                    for value, each in zip(arguments, batched, strict=True)
                ]
                graphs[key] = traced.get_concrete_function(*specs)
            return graphs[key](*arguments)

        return call

    def _size_for(self, tasks: int) -> int:
        if not self._jit:
            return min(self._batch_size, max(tasks, 1))
        size = self._batch_size
        while size > 1 and (size + 1) // 2 >= tasks:
            size = (size + 1) // 2
        return size

    def _refill(self, slots: "Slots", is_solved: Callable) -> None:
        places = np.flatnonzero(~slots.active)
        fresh = slots.take(places, is_solved)
        if not fresh.any():
            return
        problem, state = self._begin(*slots.new_problem())
        if slots.state is None:
            slots.problem, slots.state = problem, state
        else:
            mask = tf.constant(fresh)
            slots.problem = self._replace(mask, problem, slots.problem)
            slots.state = self._replace(mask, state, slots.state)
        slots.retire_idle(self._attack.num_iterations)

    def _shrink(self, slots: "Slots") -> None:
        """Makes the batch smaller when nothing is left to fill it with."""
        size, num_active = len(slots.active), int(slots.active.sum())
        if slots.has_more:
            return
        smaller = num_active
        if self._jit:
            # Each size is compiled anew, which soon takes longer than it saves.
            smaller = size
            least = max(num_active, self._batch_size // _SMALLEST_SHARE, 1)
            while smaller // 2 >= least:
                smaller //= 2
        if smaller < size:
            slots.keep(smaller)

    def _finish(self, slots: "Slots", done: np.ndarray, report: Report) -> None:
        sizes = slots.state.size.numpy()
        tried = done & np.isfinite(sizes) if self._result == "adversarial" else done
        places = np.flatnonzero(tried)
        if len(places):
            points = tf.gather(getattr(slots.state, self._result), places).numpy()
            report(slots.example[places], points, sizes[places])
        slots.release(done)


class Slots:
    """The places of a batch, what is in them, and what has still to come.

    Attributes:
        example: `[batch]` place of the example in each, or -1.
        problem: What is attacked, tensors `[batch, ...]`; None before the start.
        state: The attack's state; None before the start.
        num_evaluated: How many images, idle places included, went through a step.
        num_steps_left: Of all examples together, at most.
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
        keys = example * work.num_passes + self._pass
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


def ranked_targets(
    labels: np.ndarray, logits: np.ndarray, num_targets: int
) -> np.ndarray:
    """Returns the likeliest wrong classes, the likeliest first, `[examples, targets]`.

    Args:
        labels: `[examples]`.
        logits: `[examples, classes]` of the clean images.
        num_targets: At most classes - 1.
    """
    others = logits.astype(np.float64).copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return np.argsort(-others, axis=1, kind="stable")[:, :num_targets]
