"""An attack on many examples, in batches that are kept full.

An example that is done gives its place in the batch to the next one. What the attack
is at, at any moment, is a few arrays: saved and put back, the attack goes on as if
nothing had happened.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mma_tf.attacks.iterative import Attack, Problem, advance, is_done
from mma_tf.devices import has_gpu
from mma_tf.evaluation.slots import Slots, Work
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

# Takes what was found, (examples, points, sizes), and returns which of it holds.
Report = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


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
        on_round: Callable[[Slots], None],
        saved: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Attacks all that is to do.

        Args:
            work: What to do.
            is_solved: Tells of places of examples which need no further pass.
            report: Told what was found, as soon as it is. What does not hold does not
                end an example's pass before its last step.
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

    def _refill(self, slots: Slots, is_solved: Callable) -> None:
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

    def _shrink(self, slots: Slots) -> None:
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

    def _finish(self, slots: Slots, done: np.ndarray, report: Report) -> None:
        sizes = slots.state.size.numpy()
        tried = done & np.isfinite(sizes) if self._result == "adversarial" else done
        places = np.flatnonzero(tried)
        if len(places):
            points = tf.gather(getattr(slots.state, self._result), places).numpy()
            holds = report(slots.example[places], points, sizes[places])
            denied = np.zeros_like(done)
            denied[places[~holds]] = True
            going_on = denied & (slots.iterations < self._attack.num_iterations)
            slots.forget_errors(going_on)
            done = done & ~going_on
        slots.release(done)
