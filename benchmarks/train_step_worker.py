"""Long-lived processes that are told what to do line by line; imports no framework.

A request is a line of JSON, `{"do": name, ...arguments}`, and so is its answer. One
that says `{"mistake": sentence}` is the user's to mend.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

_ROOT = Path(__file__).resolve().parent.parent
_STATUS = Path("/proc/self/status")
_MACHINE = Path("/proc/stat")


class Mistake(Exception):
    """What the user has to mend, in one sentence."""


class WorkerError(Exception):
    """A worker failed; the message holds what it printed last."""


def serve(handlers: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Answers the requests on standard input until it ends.

    Args:
        handlers: A function for each request, given its arguments by keyword.
    """
    # Libraries print to standard output too; that goes where their notes go.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request.pop("do")](**request)
        except Mistake as mistake:
            answer = {"mistake": str(mistake)}
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        print(json.dumps(answer), file=answers, flush=True)


def refuse(sentence: str) -> NoReturn:
    """Answers the first request with a mistake of the user's, and ends."""
    print(json.dumps({"mistake": sentence}), flush=True)
    sys.exit(2)


def peak_bytes() -> int | None:
    """Returns this process's peak resident memory, where Linux tells it.

    Not `getrusage`, which begins with what the parent held when it started the process.
    """
    return _bytes_of("VmHWM")


def resident_bytes() -> int | None:
    """Returns this process's resident memory of now, where Linux tells it."""
    return _bytes_of("VmRSS")


def _bytes_of(name: str) -> int | None:
    if not _STATUS.exists():
        return None
    lines = _STATUS.read_text("utf-8").splitlines()
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 if found else None


class Worker:
    """A process of `python -m module` that serves requests; a context manager.

    Args:
        python: The interpreter.
        module: One that calls `serve`.
        environment: Variables that are set for it.
        flag: Names the interpreter in a message, as `--peer_python`.

    Raises:
        Mistake: If there is no such interpreter.
    """

    def __init__(
        self, python: str, module: str, environment: Mapping[str, str], flag: str
    ) -> None:
        self._module = module
        # A pipe that nobody empties would fill up and stop the worker.
        self._notes = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [python, "-m", module],
                cwd=_ROOT,
                env=os.environ | dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._notes,
                text=True,
                bufsize=1,
            )
        except OSError as error:
            self._notes.close()
            raise Mistake(f"{flag}={python} cannot be run: {error.strerror}.") from None

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Returns the answer to a request.

        Raises:
            Mistake: If the user has something to mend.
            WorkerError: If the worker failed.
        """
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise WorkerError(f"{self._module} has no pipes.")
        # A worker that is gone may have said why.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"do": do, **arguments}), file=requests, flush=True)
        line = answers.readline()
        if not line:
            self._process.wait()
            raise WorkerError(f"{self._module} failed:\n{self._last_notes()}")
        answer = json.loads(line)
        if "mistake" in answer:
            raise Mistake(answer["mistake"])
        return answer

    def others_seconds(self) -> float:
        """Returns what the machine has computed but for this worker, in core seconds.

        Counted from some point in the past; 0 where Linux does not tell it.
        """
        own = Path(f"/proc/{self._process.pid}/stat")
        if not own.exists():
            return 0.0
        total = _MACHINE.read_text("utf-8").split("\n", 1)[0].split()[1:9]
        user, nice, system, _, _, *interrupts = map(int, total)
        # After the program's name, which may hold spaces: fields 14 and 15 of them all.
        fields = own.read_text("utf-8").rpartition(")")[2].split()
        worker = int(fields[11]) + int(fields[12])
        busy = user + nice + system + sum(interrupts) - worker
        return busy / os.sysconf("SC_CLK_TCK")

    def _last_notes(self) -> str:
        self._notes.seek(0)
        lines = self._notes.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-30:])

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        # Its end of input is its end; what is in flight when we fail is not waited for.
        if exception[0] is not None:
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
        self._notes.close()
