"""Checkpoints of a training, exact to the bit, and proof against damage."""

import pathlib
import shutil
from collections.abc import Callable

import keras
import tensorflow as tf

from mma_tf.errors import RunError, reason_of

_PREFIX = "step"
_UNFINISHED = "unfinished"


class Checkpoints:
    """Saves and restores all the state of a model in training, in one folder.

    That is the weights, the moving statistics, the memory of margins, the number of
    steps done, and the optimiser with its averaged weights. Everything else in a run is
    a function of the seed and the step.

    Args:
        directory: Where they are; the last few are kept.
        model: Built, and compiled with an optimiser that is built.
        keep: How many are kept: more than one, since the newest may be damaged.
    """

    def __init__(
        self, directory: pathlib.Path, model: keras.Model, *, keep: int = 3
    ) -> None:
        self._directory = directory
        # Lists of variables, not the objects: their order is that of the network's
        # definition, whatever Keras calls its attributes.
        self._checkpoint = tf.train.Checkpoint(
            model=[variable.value for variable in model.variables],
            optimizer=[variable.value for variable in model.optimizer.variables],
        )
        # Made here, since `restore` looks for the counter in what `write` wrote.
        _ = self._checkpoint.save_counter
        self._keep = keep

    def save(self, step: int) -> None:
        """Saves the state after training step `step`.

        Raises:
            RunError: If it cannot be written; the earlier ones are intact.
        """
        unfinished = self._directory / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            self._checkpoint.write(str(unfinished / f"{_PREFIX}-{step}"))
            # A checkpoint counts by its index, so that comes last; a process that is
            # killed while TensorFlow writes must leave no half of one.
            for path in sorted(unfinished.iterdir(), key=_is_index):
                path.replace(self._directory / path.name)
        except (tf.errors.OpError, OSError) as error:
            raise RunError(
                f"The checkpoint of step {step} cannot be written to "
                f"{self._directory} ({reason_of(error)}): the last good one is "
                f"{self._describe_newest()}; make room and run the same command again."
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        for old in self._steps()[self._keep :]:
            self._remove(old)

    def restore_newest(self, *, say: Callable[[str], None] = print) -> int:
        """Restores the newest checkpoint that is whole.

        Args:
            say: Told, in a sentence, of each one that is damaged.

        Returns:
            Its step, or 0 if there is no checkpoint.

        Raises:
            RunError: If there are checkpoints, and all are damaged.
        """
        steps = self._steps()
        for step in steps:
            try:
                path = str(self._directory / f"{_PREFIX}-{step}")
                self._checkpoint.restore(path).assert_consumed()
            except Exception as error:
                # What a damaged file makes TensorFlow raise cannot be listed.
                say(
                    f"The checkpoint of step {step} in {self._directory} is damaged "
                    f"({reason_of(error)}); the one before it is used instead."
                )
                continue
            self._forget_after(step)
            return step
        if steps:
            raise RunError(
                f"All checkpoints in {self._directory} are damaged: remove the run "
                "directory, or give another --run_dir, to start again."
            )
        return 0

    def _steps(self) -> list[int]:
        """Lists the folder, newest first."""
        names = (path.stem for path in self._directory.glob(f"{_PREFIX}-*.index"))
        numbers = (name.removeprefix(f"{_PREFIX}-") for name in names)
        return sorted((int(n) for n in numbers if n.isdigit()), reverse=True)

    def _describe_newest(self) -> str:
        steps = self._steps()
        return f"that of step {steps[0]}" if steps else "none yet"

    def _forget_after(self, step: int) -> None:
        for damaged in self._steps():
            if damaged > step:
                self._remove(damaged)

    def _remove(self, step: int) -> None:
        for path in self._directory.glob(f"{_PREFIX}-{step}.*"):
            path.unlink()


def _is_index(path: pathlib.Path) -> bool:
    return path.suffix == ".index"
