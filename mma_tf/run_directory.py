"""The folder of a run: what it holds, whose it is, and whether it is finished."""

import contextlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from mma_tf.errors import RunError, UserError
from mma_tf.files import recover_directory, write_text_atomically
from mma_tf.locks import held_folder
from mma_tf.recipes.resolve import default_flags


class RunDirectory:
    """Paths and small records of one run.

    flags.txt             every number of the recipe, as a flagfile
    versions.json         versions of what was used, and the git revision
    validations.jsonl     one line of JSON for each validation
    time.json             seconds that the training took, over all its starts
    events/               for TensorBoard
    checkpoints/          to go on from
    best/, last/          saved_model/ and classifier.json beside it
    summary.json          written when the run is finished

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.flags = path / "flags.txt"
        self.versions = path / "versions.json"
        self.validations = path / "validations.jsonl"
        self.time = path / "time.json"
        self.events = path / "events"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best"
        self.last = path / "last"
        self.summary = path / "summary.json"

    def open(self, flags: str) -> None:
        """Makes the folder for a run with these flags, or goes on with the one there.

        Args:
            flags: The resolved flags as the text of a flagfile.

        Raises:
            UserError: If the folder is another run's, is not a run's, or cannot be
                written.
        """
        try:
            self._open(flags)
        except OSError as error:
            raise UserError(
                f"Invalid `--run_dir`: {self.path} cannot be written "
                f"({error.strerror or error}); give another --run_dir."
            ) from error

    def _open(self, flags: str) -> None:
        self._check_not_foreign()
        if self._has_begun():
            self._check_same(flags)
        else:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if self.flags.exists() and _read(self.flags) != flags:
                # What an attempt by other flags took is no cost of this run.
                self.time.unlink(missing_ok=True)
                self.versions.unlink(missing_ok=True)
            write_text_atomically(self.flags, flags)
        self.checkpoints.mkdir(exist_ok=True)
        recover_directory(self.best)
        recover_directory(self.last)

    def _check_not_foreign(self) -> None:
        if self.flags.exists() or not self.path.exists():
            return
        entries = self.path.iterdir() if self.path.is_dir() else [self.path]
        # What is there when another process has just begun, or was killed at that.
        ours = {".lock", "checkpoints", "flags.txt.partial"}
        if any(entry.name not in ours for entry in entries):
            raise UserError(
                f"Invalid `--run_dir`: {self.path} exists and is not a run of this "
                "program (it has no flags.txt); give a new or empty folder."
            )

    def _has_begun(self) -> bool:
        """A run that came to grief before its first checkpoint binds nobody."""
        if not self.flags.exists():
            return False
        is_finished = self.summary.exists()
        return is_finished or any(self.path.rglob("checkpoints/*.index"))

    def _check_same(self, flags: str) -> None:
        old, new = _parse_flags(_read(self.flags)), _parse_flags(flags)
        # A run of an earlier version knows nothing of the flags that came later.
        defaults = _parse_flags(default_flags())
        old = {n: v for n, v in defaults.items() if new.get(n) == v} | old
        differences = [
            f"{name} was {old.get(name, 'not set')}, now {new.get(name, 'not set')}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
        if differences:
            raise UserError(
                f"Invalid `--run_dir`: {self.path} holds a run with other flags "
                f"({'; '.join(differences)}); give the same flags to go on with it, or "
                "another --run_dir."
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes out of the folder.

        Raises:
            UserError: If another process is at work in it, it is not a run's, or it
                cannot be written.
        """
        with held_folder(self.path, "run_dir", check=self._check_not_foreign):
            yield

    def read_validations(self) -> list[dict[str, Any]]:
        """Returns the validations on record, in order; torn lines are left out."""
        if not self.validations.exists():
            return []
        lines = _read(self.validations).splitlines()
        records = []
        for line in lines:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def forget_validations_after(self, step: int) -> list[dict[str, Any]]:
        """Drops the records of steps that will be done again; returns the others."""
        kept = [line for line in self.read_validations() if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_text_atomically(self.validations, text)
        return kept

    def read_summary(self) -> dict[str, Any] | None:
        """Returns the summary of a finished run, or None.

        Raises:
            RunError: If it is damaged.
        """
        if not self.summary.exists():
            return None
        try:
            return json.loads(self.summary.read_text("utf-8"))
        except ValueError as error:
            raise RunError(
                f"{self.summary} is damaged ({error}): remove it and run the same "
                "command again to write it anew."
            ) from error

    def write_json(self, path: pathlib.Path, content: dict[str, Any]) -> None:
        """Writes `content` to `path` at once.

        Raises:
            RunError: If it cannot be written.
        """
        try:
            write_text_atomically(path, json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise RunError(
                f"{path} cannot be written ({error.strerror or error}): make room and "
                "run the same command again."
            ) from error


def _read(path: pathlib.Path) -> str:
    return path.read_text("utf-8", errors="replace")


def _parse_flags(text: str) -> dict[str, str]:
    flags = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition("=")
        if name.startswith("--"):
            flags[name] = value
    return flags
