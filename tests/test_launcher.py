"""The launcher, as a user meets it: whole commands in a made-up checkout.

The checkout holds the real `bin/`, a tiny `mma_tf` that reports how it was started and
a `requirements.txt` that names a tiny local wheel, so that nothing is downloaded. An
environment takes seconds to make: one is shared, and tests that change it get a copy.
"""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
COMMANDS = ("train", "evaluate", "figures", "publish", "results", "test")
REPORT = """
import json, os, sys
print(json.dumps({"arguments": sys.argv[1:], "python": sys.executable,
                  "cwd": os.getcwd(), "file": __file__}))
sys.exit(int(os.environ.get("EXIT_CODE", 0)))
"""
# A package whose build says where it runs, then never ends.
ENDLESS_BUILD = """
import os, time
def get_requires_for_build_wheel(config_settings=None):
    with open(os.environ["BUILD_STARTED"] + ".new", "w") as file:
        file.write(str(os.getpgrp()))
    os.rename(file.name, os.environ["BUILD_STARTED"])
    time.sleep(600)
"""


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def make_wheel(folder: Path, name: str) -> Path:
    """A wheel of a module NAME with a console script `NAME-where`."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "import sys\ndef where():\n    print(sys.prefix)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-where = {name}:where\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)
    return path


def make_checkout(folder: Path, requirements: str = "") -> Path:
    shutil.copytree(
        REPOSITORY / "bin", folder / "bin", ignore=shutil.ignore_patterns("__pycache__")
    )
    for path in ("mma_tf/__init__.py", "mma_tf/cli/__init__.py"):
        write(folder / path, "")
    modules = [f"mma_tf/cli/{command}.py" for command in COMMANDS if command != "test"]
    for path in (*modules, "pytest.py"):
        write(folder / path, REPORT)
    write(folder / "requirements.txt", requirements)
    return folder


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would reach the network or the result."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "PYTHON", "MMA_TF_", "VIRTUAL_ENV"))
    }
    offline = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    return {**inherited, **offline, **changes}


def start(
    checkout: Path,
    *arguments: str,
    command: str = "train",
    cwd: Path | None = None,
    **changes: str,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(checkout / "bin" / command), *arguments],
        cwd=cwd or checkout,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    output, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def use(checkout: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return finish(start(checkout, *arguments, **options))


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that a refused command prints, after that of the set-up if any."""
    assert result.returncode == 2, result
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    if "setting up" in lines[0]:
        del lines[0]
    assert len(lines) == 1
    assert lines[0].startswith("bin/")
    return lines[0]


def leftovers(checkout: Path) -> list[str]:
    return sorted(path.name for path in checkout.glob(".venv?*") if path.is_dir())


def packages(checkout: Path) -> set[str]:
    folders = checkout.glob(".venv/lib/python*/site-packages/*-1.0.dist-info")
    return {folder.name.removesuffix("-1.0.dist-info") for folder in folders}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return {name: make_wheel(folder, name) for name in ("early", "late")}


@pytest.fixture(scope="module")
def first_uses(
    tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]
) -> tuple[Path, list[subprocess.CompletedProcess[str]]]:
    """A checkout after two first uses at once, over the remains of a killed one."""
    # A space in the path is what breaks scripts that are quoted carelessly.
    folder = tmp_path_factory.mktemp("some place") / "checkout"
    checkout = make_checkout(folder, f"{wheels['early']}\n")
    write(checkout / ".venv.partial" / "bin" / "python", "half-made", 0o755)
    processes = [start(checkout, "--dmax=0.3"), start(checkout, "--dmax=0.3")]
    return checkout, [finish(process) for process in processes]


@pytest.fixture(scope="module")
def shared(first_uses: tuple[Path, list]) -> Path:
    """A checkout that is set up, for tests that leave it as it is."""
    return first_uses[0]


@pytest.fixture
def copy(shared: Path, tmp_path: Path) -> Path:
    """A checkout that is set up, for one test alone."""
    return shutil.copytree(shared, tmp_path / "copy", symlinks=True)


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Callable[[Path], tuple[subprocess.Popen, int]]]:
    """Starts a set-up that never ends; gives it and the process group of its pip."""
    package, started = tmp_path / "endless", tmp_path / "started"
    settings = 'requires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    write(package / "pyproject.toml", "[build-system]\n" + settings)
    write(package / "backend.py", ENDLESS_BUILD)
    groups = []

    def start_set_up(checkout: Path) -> tuple[subprocess.Popen, int]:
        write(checkout / "requirements.txt", f"{package}\n")
        process = start(checkout, BUILD_STARTED=str(started))
        deadline = time.monotonic() + 60
        while not started.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        groups.append(int(started.read_text()))
        return process, groups[-1]

    yield start_set_up
    for group in filter(is_running, groups):
        os.killpg(group, signal.SIGKILL)


def is_running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def ends(group: int) -> bool:
    """Whether a process group ends soon; its parent may take a moment to reap it."""
    deadline = time.monotonic() + 10
    while is_running(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(group)


class TestFirstUse:
    def test_two_at_once_both_run_and_one_of_them_makes_the_environment(
        self, first_uses
    ):
        checkout, results = first_uses
        assert [result.returncode for result in results] == [0, 0], results
        errors = results[0].stderr + results[1].stderr
        assert errors.count("setting up") == 1
        assert errors.count("this happens once") == 1
        for result in results:
            assert json.loads(result.stdout)["arguments"] == ["--dmax=0.3"]
        assert packages(checkout) == {"early"}

    def test_leaves_nothing_but_the_environment(self, shared):
        assert leftovers(shared) == []

    def test_environment_has_no_trace_of_the_place_where_it_was_made(self, shared):
        texts = [shared / ".venv/pyvenv.cfg", *(shared / ".venv/bin").iterdir()]
        stale = [p for p in texts if b".venv.partial" in p.read_bytes() and p.is_file()]
        assert stale == []

    @pytest.mark.parametrize("script", ["pip --version", "early-where"])
    def test_scripts_of_the_environment_work(self, shared, script):
        name, *arguments = script.split()
        result = subprocess.run(
            [shared / ".venv" / "bin" / name, *arguments],
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result
        assert str(shared / ".venv") in result.stdout

    def test_activate_selects_the_environment(self, shared):
        result = subprocess.run(
            ["bash", "-c", ". .venv/bin/activate && command -v python"],
            cwd=shared,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert result.stdout.strip() == str(shared / ".venv" / "bin" / "python")

    def test_failure_is_one_sentence_and_leaves_nothing(self, tmp_path):
        checkout = make_checkout(tmp_path / "checkout", "no-such-package==1.0\n")
        error = error_of(use(checkout))
        assert "no-such-package==1.0" in error
        assert leftovers(checkout) == []
        assert not (checkout / ".venv").exists()

    def test_sigterm_ends_pip_and_leaves_nothing(self, tmp_path, endless):
        checkout = make_checkout(tmp_path / "checkout")
        process, pip = endless(checkout)
        process.terminate()
        assert finish(process).returncode == 128 + signal.SIGTERM
        assert ends(pip)
        assert leftovers(checkout) == []
        assert not (checkout / ".venv").exists()

    def test_sigkill_leaves_no_environment_and_the_next_use_waits_for_its_pip(
        self, tmp_path, endless
    ):
        checkout = make_checkout(tmp_path / "checkout")
        process, pip = endless(checkout)
        process.kill()
        finish(process)
        assert not (checkout / ".venv").exists()
        write(checkout / "requirements.txt", "")
        following = start(checkout)
        assert following.stderr is not None
        assert "waiting for another set-up" in following.stderr.readline()
        os.killpg(pip, signal.SIGKILL)
        assert finish(following).returncode == 0
        assert leftovers(checkout) == []


class TestLaterUse:
    def test_changes_and_says_nothing(self, shared):
        made = (shared / ".venv").stat()
        result = use(shared)
        assert (result.returncode, result.stderr) == (0, "")
        assert (shared / ".venv").stat() == made

    @pytest.mark.parametrize("command", ["train", "evaluate"])
    def test_arguments_exit_code_and_directory_pass_through(
        self, shared, tmp_path, command
    ):
        # A folder of the same name where the user stands must not be taken instead.
        write(tmp_path / "mma_tf/__init__.py", "raise ImportError('wrong one')")
        arguments = ["--run_dir=a b", "", "--flag", "*"]
        result = use(shared, *arguments, command=command, cwd=tmp_path, EXIT_CODE="7")
        assert result.returncode == 7
        report = json.loads(result.stdout)
        assert report["arguments"] == arguments
        assert report["cwd"] == str(tmp_path)
        assert report["python"] == str(shared / ".venv" / "bin" / "python")
        assert report["file"] == str(shared / f"mma_tf/cli/{command}.py")

    def test_tests_run_in_the_checkout(self, shared, tmp_path):
        arguments = ["-k", "golden or margin", "-x"]
        result = use(shared, *arguments, command="test", cwd=tmp_path, EXIT_CODE="5")
        assert result.returncode == 5
        report = json.loads(result.stdout)
        assert report["arguments"] == arguments
        assert report["cwd"] == str(shared)

    def test_commands_are_executable_and_need_only_python3_on_path(
        self, shared, tmp_path
    ):
        wrapper = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
        write(tmp_path / "python3", wrapper, 0o755)
        (tmp_path / "link").symlink_to(shared / "bin" / "train")
        result = subprocess.run(
            [tmp_path / "link"],
            env=environment(PATH=f"{tmp_path}:/usr/bin:/bin"),
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result
        assert json.loads(result.stdout)["file"].startswith(str(shared))

    def test_adds_little_time(self, shared):
        module = [str(shared / ".venv/bin/python"), "-m", "mma_tf.cli.train"]
        script = [sys.executable, str(shared / "bin" / "train")]

        def shortest(command: list[str]) -> float:
            durations = []
            for _ in range(5):
                begin = time.perf_counter()
                subprocess.run(
                    command,
                    cwd=shared,
                    env=environment(),
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
                durations.append(time.perf_counter() - begin)
            return min(durations)

        assert shortest(script) < shortest(module) + 0.2


class TestRenewal:
    def test_changed_requirements_are_installed_in_a_new_environment(
        self, copy, wheels
    ):
        write(copy / "requirements.txt", f"{wheels['late']}\n")
        result = use(copy)
        assert result.returncode == 0, result
        assert result.stderr.count("setting up") == 1
        assert packages(copy) == {"late"}
        assert leftovers(copy) == []
        assert use(copy).stderr == ""

    def test_failure_is_one_sentence_and_keeps_the_environment(self, copy, wheels):
        made = (copy / ".venv").stat()
        write(copy / "requirements.txt", "no-such-package==1.0\n")
        error = error_of(use(copy))
        assert "no-such-package==1.0" in error
        assert (copy / ".venv").stat() == made
        assert leftovers(copy) == []
        write(copy / "requirements.txt", f"{wheels['early']}\n")
        assert use(copy).stderr == ""

    def test_removed_base_python_is_noticed(self, copy, tmp_path):
        python = copy / ".venv" / "bin" / "python"
        python.unlink()
        python.symlink_to(copy / "removed")
        # What a machine says that cannot make another: quicker than making one.
        without_ensurepip = 'import sys; sys.modules["ensurepip"] = None'
        write(tmp_path / "sitecustomize.py", without_ensurepip)
        error = error_of(use(copy, PYTHONPATH=str(tmp_path)))
        assert "cannot make environments" in error
        assert packages(copy) == {"early"}

    def test_interruption_between_the_two_renames_is_mended(self, copy):
        (copy / ".venv").rename(copy / ".venv.replaced")
        result = use(copy)
        assert result.returncode == 0, result
        assert "setting up" not in result.stderr
        assert leftovers(copy) == []

    def test_environment_of_the_users_own_is_refused_and_kept(self, tmp_path):
        checkout = make_checkout(tmp_path / "checkout")
        mine = write(checkout / ".venv" / "mine", "precious")
        error = error_of(use(checkout))
        assert "was not made by this program" in error
        assert mine.read_text() == "precious"

    def test_missing_requirements_are_one_sentence(self, copy):
        (copy / "requirements.txt").unlink()
        assert "requirements.txt" in error_of(use(copy))


class TestNamedPython:
    STUBS = (
        "absl",
        "importlib_resources",
        "keras",
        "numpy",
        "matplotlib",
        "sklearn",
        "tensorflow",
        "tensorflow_datasets",
        "xdist",
    )

    @pytest.fixture
    def stubs(self, tmp_path: Path) -> Path:
        """A folder of packages that fail if they are imported, not only looked for."""
        for name in self.STUBS:
            write(tmp_path / "stubs" / name / "__init__.py", "raise SystemExit(99)")
        return tmp_path / "stubs"

    @pytest.mark.parametrize("command", COMMANDS)
    def test_is_used_and_nothing_is_made(self, shared, tmp_path, stubs, command):
        checkout = make_checkout(tmp_path / "checkout")
        python = str(shared / ".venv" / "bin" / "python")
        result = use(
            checkout,
            "--flag",
            command=command,
            MMA_TF_PYTHON=python,
            PYTHONPATH=str(stubs),
            EXIT_CODE="3",
        )
        assert (result.returncode, result.stderr) == (3, "")
        report = json.loads(result.stdout)
        assert report["python"] == python
        assert report["arguments"] == ["--flag"]
        assert list(checkout.glob(".venv*")) == []

    def test_may_be_relative_to_the_working_directory(self, shared, stubs):
        python = os.path.join(".venv", "bin", "python")
        result = use(shared, MMA_TF_PYTHON=python, PYTHONPATH=str(stubs))
        assert json.loads(result.stdout)["python"] == str(shared / python)

    @pytest.mark.parametrize("kind", ["absent", "folder", "not executable", "other"])
    def test_of_another_kind_is_refused(self, shared, tmp_path, kind):
        path = tmp_path / "thing"
        if kind == "folder":
            path.mkdir()
        elif kind == "not executable":
            write(path, "text")
        elif kind == "other":
            write(path, "#!/bin/sh\necho hello\n", 0o755)
        error = error_of(use(shared, MMA_TF_PYTHON=str(path)))
        assert f"MMA_TF_PYTHON={path}" in error

    def test_too_old_is_refused(self, shared, tmp_path):
        path = write(tmp_path / "python3.8", "#!/bin/sh\necho 3 8\n", 0o755)
        error = error_of(use(shared, MMA_TF_PYTHON=str(path)))
        assert "Python >= 3.11" in error
        assert "Python 3.8" in error

    def test_without_a_package_is_refused_by_the_package_name(self, shared, stubs):
        (stubs / "keras" / "__init__.py").unlink()  # a folder is left
        python = str(shared / ".venv" / "bin" / "python")
        error = error_of(use(shared, MMA_TF_PYTHON=python, PYTHONPATH=str(stubs)))
        assert "lacks keras;" in error

    def test_what_only_the_tests_need_is_asked_of_them_alone(self, shared, stubs):
        shutil.rmtree(stubs / "xdist")
        python = str(shared / ".venv" / "bin" / "python")
        named = {"MMA_TF_PYTHON": python, "PYTHONPATH": str(stubs)}
        assert use(shared, **named).returncode == 0
        assert "lacks xdist;" in error_of(use(shared, command="test", **named))


class TestWhatTheMachineLacks:
    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        return make_checkout(tmp_path / "checkout")

    def test_files_parse_on_an_old_python(self):
        for name in ("launcher.py", *COMMANDS):
            ast.parse((REPOSITORY / "bin" / name).read_text(), feature_version=(3, 6))

    def test_old_python_alone_is_one_sentence(self, checkout, tmp_path):
        write(tmp_path / "sitecustomize.py", "import sys; sys.version_info = (3, 8, 0)")
        result = use(checkout, PYTHONPATH=str(tmp_path), PATH=str(tmp_path))
        assert "Python >= 3.11" in error_of(result)
        assert not (checkout / ".venv").exists()

    def test_newer_python_on_path_takes_over_if_it_runs(self, checkout, tmp_path):
        write(tmp_path / "sitecustomize.py", "import sys; sys.version_info = (3, 8, 0)")
        write(tmp_path / "python3.13", "#!/bin/sh\nexit 127\n", 0o755)
        report = '#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$@"\nexit 7\n'
        write(tmp_path / "python3.12", report, 0o755)
        result = use(checkout, "-x", PYTHONPATH=str(tmp_path), PATH=str(tmp_path))
        assert result.returncode == 7, result
        assert result.stdout == f"{checkout / 'bin' / 'train'} -x\n"

    def test_old_python_suffices_once_set_up(self, shared, tmp_path):
        write(
            tmp_path / "sitecustomize.py",
            'import sys\nif sys.argv[0].endswith("bin/train"):\n'
            "    sys.version_info = (3, 8, 0)",
        )
        result = use(shared, PYTHONPATH=str(tmp_path), PATH=str(tmp_path))
        assert (result.returncode, result.stderr) == (0, "")

    def test_absent_ensurepip_is_one_sentence(self, checkout, tmp_path):
        write(
            tmp_path / "sitecustomize.py",
            'import sys; sys.modules["ensurepip"] = None',
        )
        error = error_of(use(checkout, PYTHONPATH=str(tmp_path)))
        assert "install python3-venv" in error
        assert leftovers(checkout) == []
