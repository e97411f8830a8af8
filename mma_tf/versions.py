"""What a run was made with, for its record."""

import importlib.metadata
import pathlib
import platform
import subprocess
import sys

_PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy")


def describe_versions() -> dict[str, str]:
    """Returns versions of Python, the packages that matter, and the git revision.

    The revision is "unknown" outside a git checkout, and ends in "-dirty" where the
    checkout had changes that were not committed.
    """
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        **versions,
        "git_revision": _git_revision(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # A nightly, or a container's own build, goes by another name.
        module = sys.modules.get(package.replace("-", "_"))
        return getattr(module, "__version__", "unknown")


def _git_revision() -> str:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=pathlib.Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()
