"""Replaces this process by a command of the checkout in its Python environment.

The environment is `.venv` beside `bin/`. It is made on first use and again when
`requirements.txt` changes, always in `.venv.partial`, which is renamed when complete.
`MMA_TF_PYTHON=/path/to/python` names an environment that is used instead.

Standard library only, and in the syntax of Python 3.6: whatever `python3` is found
must be able to say what it lacks. Rare imports are made where they are needed, because
every start of a command waits for this file.
"""

import hashlib
import io
import json
import os
import sys

CHECKOUT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
REQUIREMENTS = os.path.join(CHECKOUT, "requirements.txt")
VENV = os.path.join(CHECKOUT, ".venv")
PARTIAL = VENV + ".partial"
REPLACED = VENV + ".replaced"
LOCK = VENV + ".lock"
PYTHON = os.path.join("bin", "python")
RECORD = "mma_tf_setup.json"

OLDEST_PYTHON = (3, 11)
KNOWN_PYTHONS = ("python3.13", "python3.12", "python3.11")
IMPORTED_PACKAGES = (
    "absl",
    "importlib_resources",
    "keras",
    "matplotlib",
    "numpy",
    "sklearn",
    "tensorflow",
    "tensorflow_datasets",
)
# Prints the version, then the packages that are missing. It searches where the command
# will (not in the working directory); a mere folder is no package, it has no origin.
PROBE = """
import importlib.util, sys
sys.path = [p for p in sys.path if p]
specs = {name: importlib.util.find_spec(name) for name in sys.argv[1:]}
missing = [name for name, spec in specs.items() if spec is None or spec.origin is None]
print(*sys.version_info[:2], *missing)
"""


class SetupError(Exception):
    """A reason, in one sentence, why there is no environment to run in."""


def run(module: str, in_checkout: bool = False, needs: tuple = ()) -> None:
    """Runs `python -m module` with the arguments of this process; does not return.

    Args:
        module: Dotted name of the module to run.
        in_checkout: Whether to change into the checkout first.
        needs: Packages that this command alone needs, besides the module's.
    """
    search_path = [CHECKOUT] + [p for p in [os.environ.get("PYTHONPATH")] if p]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(search_path))
    try:
        if os.environ.get("MMA_TF_PYTHON"):
            packages = IMPORTED_PACKAGES + (module.split(".")[0],) + needs
            python = _named_python(os.environ["MMA_TF_PYTHON"], packages, environment)
        else:
            python = _own_python()
    except SetupError as error:
        _say(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    if in_checkout:
        os.chdir(CHECKOUT)
    # -P: a user's own files in the working directory must not shadow any package.
    command = [python, "-P", "-m", module] + sys.argv[1:]
    os.execve(python, command, environment)


def _say(message: str) -> None:
    """Prints one line that begins with the name of the command on stderr."""
    print("bin/%s: %s" % (os.path.basename(sys.argv[0]), message), file=sys.stderr)


def _named_python(value: str, packages: tuple, environment: dict) -> str:
    """Returns the interpreter that `MMA_TF_PYTHON` names, if it has the packages."""
    import shutil
    import subprocess

    def refusal(expected: str, hint: str) -> SetupError:
        start = "Invalid `MMA_TF_PYTHON`: expected %s. Received: " % expected
        return SetupError("%sMMA_TF_PYTHON=%s (%s)" % (start, value, hint))

    found = shutil.which(os.path.expanduser(value))
    if found is None:
        hint = "hint: unset it, and an environment is made in %s" % VENV
        raise refusal("the path of an executable Python", hint)
    python = os.path.abspath(found)
    try:
        probe = subprocess.Popen(
            [python, "-c", PROBE] + list(packages),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        words = probe.communicate()[0].decode().splitlines()[-1].split()
        version = (int(words[0]), int(words[1]))
    except (OSError, ValueError, IndexError):
        raise refusal("a Python >= %d.%d" % OLDEST_PYTHON, "no Python at all") from None
    if version < OLDEST_PYTHON:
        raise refusal("a Python >= %d.%d" % OLDEST_PYTHON, "Python %d.%d" % version)
    missing = ", ".join(sorted(words[2:]))
    if missing:
        hint = "it lacks %s; hint: %s -m pip install -r %s"
        expected = "an environment with the packages of requirements.txt"
        raise refusal(expected, hint % (missing, value, REQUIREMENTS))
    return python


def _own_python() -> str:
    """Returns the interpreter of `.venv`, which is made or renewed if need be."""
    try:
        with open(REQUIREMENTS, "rb") as file:
            wanted = hashlib.sha256(file.read()).hexdigest()
        if not _is_ready(wanted):
            _set_up(wanted)
    except OSError as error:
        message = "cannot set up %s: %s (hint: MMA_TF_PYTHON=/path/to/python"
        message += " uses an environment that is already there)"
        raise SetupError(message % (VENV, error)) from None
    return os.path.join(VENV, PYTHON)


def _is_ready(wanted: str) -> bool:
    """Returns whether `.venv` was made from these requirements and still runs."""
    try:
        with open(os.path.join(VENV, RECORD)) as file:
            record = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    # An upgraded or removed base Python leaves packages behind that it cannot see.
    interpreter = os.path.realpath(os.path.join(VENV, PYTHON))
    return (
        record.get("requirements") == wanted
        and record.get("interpreter") == interpreter
        and os.access(interpreter, os.X_OK)
    )


def _set_up(wanted: str) -> None:
    """Makes `.venv` from `requirements.txt`, or leaves everything as it was."""
    import signal

    _check_tools()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # nohup ignores SIGHUP on purpose.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, _: sys.exit(128 + received))
    with _lock() as lock:
        _restore()
        _remove(PARTIAL)
        # Another process may have done it while this one waited for the lock.
        if _is_ready(wanted):
            return
        renewal = os.path.lexists(VENV)
        if renewal and not os.path.isfile(os.path.join(VENV, RECORD)):
            message = "%s was not made by this program (hint: move it away, or use it"
            message += " with MMA_TF_PYTHON=%s)"
            raise SetupError(message % (VENV, os.path.join(VENV, PYTHON)))
        change = "its Python or requirements.txt has changed"
        reason = change if renewal else "first use"
        message = "setting up %s (%s); this happens once and takes some minutes ..."
        _say(message % (VENV, reason))
        try:
            _build(wanted, lock.fileno())
            if renewal:
                os.rename(VENV, REPLACED)
            os.rename(PARTIAL, VENV)
        except SetupError as error:
            rest = "the one before it is kept" if renewal else "nothing is left behind"
            raise SetupError("%s (%s)" % (error, rest)) from None
        finally:
            _restore()
            _remove(PARTIAL, ignore_errors=True)


def _check_tools() -> None:
    """Goes on in a newer Python where this one is too old to make `.venv`."""
    import importlib.util
    import shutil

    version = sys.version_info[:2]
    if version < OLDEST_PYTHON:
        test = "import sys; sys.exit(sys.version_info < (%d, %d))" % OLDEST_PYTHON
        for name in KNOWN_PYTHONS:
            python = shutil.which(name)
            # A version manager's stand-in can be on PATH and run nothing.
            if python and _call([python, "-c", test])[0] == 0:
                os.execv(python, [python] + sys.argv)
        message = "needs Python >= %d.%d to set itself up, and found only Python %d.%d"
        raise SetupError(message % (OLDEST_PYTHON + version))
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            message = "%s cannot make environments without %s: install python3-venv"
            message += " (on Debian and Ubuntu: apt install python%d.%d-venv)"
            raise SetupError(message % ((sys.executable, module) + version))


def _lock() -> io.TextIOWrapper:
    """Returns an open file that keeps every other set-up waiting until it is closed.

    Child processes inherit it: what a killed set-up left running must end before the
    next one may touch the same folder.
    """
    import fcntl

    file = open(LOCK, "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("waiting for another set-up of %s ..." % VENV)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        _say("this file system has no locks: start no second command during the set-up")
    return file


def _restore() -> None:
    """Puts the replaced environment back, or removes it if there is a newer one."""
    if os.path.isdir(REPLACED) and not os.path.lexists(VENV):
        os.rename(REPLACED, VENV)
    _remove(REPLACED, ignore_errors=True)


def _remove(folder: str, ignore_errors: bool = False) -> None:
    """Removes a folder, if it is there."""
    import shutil

    if os.path.lexists(folder):
        shutil.rmtree(folder, ignore_errors)


def _build(wanted: str, lock: int) -> None:
    """Makes a complete environment in `.venv.partial`."""
    python = os.path.join(PARTIAL, PYTHON)
    pip = [python, "-I", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    pip += ["--no-input", "install", "-r", REQUIREMENTS]
    steps = [
        ("make an environment", [sys.executable, "-I", "-m", "venv", PARTIAL]),
        ("install " + REQUIREMENTS, pip),
    ]
    for purpose, command in steps:
        code, output = _call(command, lock)
        if code != 0:
            lines = [line.strip() for line in output.splitlines() if line.strip()]
            cause = " / ".join(lines[-3:]) or "exit code %d" % code
            version = "Python %d.%d" % sys.version_info[:2]
            raise SetupError("could not %s with %s: %s" % (purpose, version, cause))
    _rename_inside()
    record = {
        "requirements": wanted,
        "python": "%d.%d.%d" % sys.version_info[:3],
        "interpreter": os.path.realpath(python),
    }
    with open(os.path.join(PARTIAL, RECORD), "w") as file:
        json.dump(record, file, indent=2)


def _call(command: list, *inherited: int) -> tuple:
    """Returns (exit code, output) of a command, which ends if this process is asked to.

    Settings that would make pip install elsewhere, or see packages that are not in the
    environment, do not reach it; its index, proxy and cache settings do.
    """
    import signal
    import subprocess

    elsewhere = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
    environment = {k: v for k, v in os.environ.items() if k not in elsewhere}
    process = subprocess.Popen(
        command,
        env=dict(environment, PIP_USER="0"),
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=inherited,
        start_new_session=True,
    )
    try:
        output = process.communicate()[0]
    except BaseException:
        # pip's own children too: they would go on writing into a removed folder.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return process.returncode, output.decode(errors="replace")


def _rename_inside() -> None:
    """Corrects the path of the environment in its own scripts and settings."""
    old, new = (os.path.basename(folder).encode() for folder in (PARTIAL, VENV))
    scripts = os.path.join(PARTIAL, "bin")
    paths = [os.path.join(scripts, name) for name in os.listdir(scripts)]
    for path in paths + [os.path.join(PARTIAL, "pyvenv.cfg")]:
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            content = file.read()
        if old in content and b"\0" not in content:
            with open(path, "wb") as file:
                file.write(content.replace(old, new))
