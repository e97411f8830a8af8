"""Runs `bin/train`'s module as a user's shell would, and looks at what it leaves."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[2]

# A whole training in seconds: every part of it happens, and little of each.
SMALL = (
    "--train_steps=12",
    "--validate_every=6",
    "--save_every=4",
    "--compare_steps=0",
    "--test_examples=40",
    "--validation_size=40",
    "--attack_steps=2",
    "--test_attack_steps=2",
)


def start(*arguments, cwd, preexec_fn=None):
    """Starts the command in the folder `cwd`."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "mma_tf.cli.train", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=preexec_fn,
    )


def run(*arguments, cwd, preexec_fn=None):
    """Runs the command to its end: exit code, standard output, standard error."""
    process = start(*arguments, cwd=cwd, preexec_fn=preexec_fn)
    out, err = process.communicate(timeout=1200)
    return process.returncode, out, err


def stop_after(arguments, cwd, wanted, signum=signal.SIGKILL):
    """Sends `signum` as soon as `wanted()` holds: exit code, output and errors."""
    process = start(*arguments, cwd=cwd)
    deadline = time.monotonic() + 200
    while not wanted() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signum)
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def saved_steps(run_dir):
    """Returns the steps of the checkpoints, in order."""
    indices = (run_dir / "checkpoints").glob("step-*.index")
    return sorted(int(path.stem.removeprefix("step-")) for path in indices)


def saved_state(run_dir):
    """Returns every variable of the newest checkpoint, by its key."""
    newest = f"step-{saved_steps(run_dir)[-1]}"
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints" / newest))
    names = [n for n in reader.get_variable_to_shape_map() if "save_counter" not in n]
    return {n: reader.get_tensor(n) for n in names if "OBJECT_GRAPH" not in n}


def exported_weights(folder):
    """Returns the weights of an exported model."""
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    return [variable.numpy() for variable in loaded.variables]
