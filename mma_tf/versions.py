"""What a run was made with, for its record."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping

_CPUINFO = pathlib.Path("/proc/cpuinfo")
_PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy")


def describe_versions() -> dict[str, str]:
    """Returns versions of Python, the packages that matter, git revision and machine.

    The revision is "unknown" outside a git checkout, and ends in "-dirty" where the
    checkout had changes that were not committed.
    """
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        **versions,
        "git_revision": _git_revision(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": f"{processor()}, {_num_cores()} cores",
    }


def changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Returns what differs, in words; "" if nothing does.

    Args:
        before: As `describe_versions` once returned it.
        now: As it returns it now.
    """
    return ", ".join(
        f"{key} {before.get(key)} -> {value}"
        for key, value in now.items()
        if before.get(key) != value
    )


def processor() -> str:
    """Returns what the machine says of its processor."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _num_cores() -> int:
    """Returns how many cores this process may use, which macOS does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
