"""Our side of the comparison of training steps; a worker of `train_step.py`."""

import contextlib
import time
import unittest.mock
from pathlib import Path
from typing import Any

from benchmarks.train_step_cases import Case, Network, recipe_of
from benchmarks.train_step_worker import Mistake, peak_bytes, serve
from mma_tf.cli.quiet import import_tensorflow

import_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmarks import machine_peak  # noqa: E402
from benchmarks.train_step_keras import Attack, Training  # noqa: E402
from benchmarks.train_step_problem import make_problem  # noqa: E402
from mma_tf import experiment  # noqa: E402
from mma_tf.norms.linf import LInf  # noqa: E402

# Of the largest logit.
_LOGITS_TOLERANCE = 1e-3


class Side:
    """The handlers of the requests; one case in the life of a process."""

    def __init__(self) -> None:
        self._work: Training | Attack
        self._patches = contextlib.ExitStack()

    def hello(self, device: str) -> dict[str, Any]:
        """Returns versions; checks the device."""
        gpus = tf.config.list_physical_devices("GPU")
        if device == "gpu" and not gpus:
            raise Mistake("--device=gpu: TensorFlow sees no GPU here.")
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return {
            "versions": f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
            "device": ", ".join(each.get("device_name", "GPU") for each in details),
        }

    def problem(self, network: Network, path: str) -> dict[str, Any]:
        """Trains a network; see `make_problem`."""
        return {"right": make_problem(network, Path(path))}

    def peaks(self, seconds: float) -> dict[str, Any]:
        """Returns what `measure_peaks` does."""
        return dict(machine_peak.measure_peaks(seconds=seconds))

    def prepare(
        self,
        case: dict[str, Any],
        path: str,
        num_steps: int,
        check_in: str | None = None,
    ) -> dict[str, Any]:
        """Builds the case and, if it is timed, makes its first step.

        Args:
            case: A `Case` as a dictionary.
            path: The npz of `make_problem`.
            num_steps: Training steps there will be.
            check_in: If given, nothing will be timed: without random starts, at the
                recipe's learning rate, in this dtype.
        """
        which = Case(**case)
        with np.load(path) as file:
            arrays = dict(file)
        timed = check_in is None
        if not timed:
            # All else of the step is left as it is; PyTorch draws other random numbers.
            patch = unittest.mock.patch.object(
                LInf, "random_start", lambda norm, images, eps, seed: images
            )
            self._patches.enter_context(patch)
        started = time.perf_counter()
        experiment.configure_process(recipe_of(which, timed=timed))
        if check_in is not None:
            keras.config.set_dtype_policy(check_in)
        if which.is_training:
            self._work = Training(which, arrays, timed, num_steps)
        else:
            self._work = Attack(which, arrays, timed)
        seconds = time.perf_counter() - started
        if keras.config.dtype_policy().compute_dtype in ("float32", "float64"):
            _check_logits(self._work.classifier, arrays)
        order = self._work.order()
        started = time.perf_counter()
        if timed:
            self._work.run(1)
        seconds += time.perf_counter() - started
        return {"first_step": seconds, "order": order}

    def run(self, steps: int) -> dict[str, Any]:
        """Runs and returns the seconds of a step."""
        return {**self._work.run(steps), "peak_bytes": peak_bytes()}

    def check(self) -> dict[str, Any]:
        """Returns what a step computed."""
        return self._work.check()

    def an_pgd(self, repeats: int) -> dict[str, Any]:
        """Returns how much of the machine AN-PGD uses; of training alone."""
        if not isinstance(self._work, Training):
            raise TypeError("expected a training to be prepared")
        return self._work.an_pgd(repeats)


def _check_logits(classifier: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    expected = arrays["logits"]
    images = arrays["images"][: len(expected)] / np.float64(255)
    logits = classifier(images, training=False).numpy()
    error = float(np.max(np.abs(logits - expected)))
    if not error <= _LOGITS_TOLERANCE * float(np.max(np.abs(expected))):
        raise ValueError(f"logits differ from the problem's by {error:.2g}")


def main() -> None:
    """Answers requests until there are no more."""
    side = Side()
    names = ("hello", "problem", "peaks", "prepare", "run", "check", "an_pgd")
    serve({name: getattr(side, name) for name in names})


if __name__ == "__main__":
    main()
