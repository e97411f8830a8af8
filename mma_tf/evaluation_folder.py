"""The folder of an evaluation: what is in it, and whether it may be used."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from mma_tf.errors import UserError
from mma_tf.files import write_text_atomically
from mma_tf.locks import held, held_folder


class EvaluationFolder:
    """Where an evaluation keeps its state and writes its report.

    It belongs to one evaluation: the same command goes on in it, another is refused.

    Attributes:
        path: The folder.
        plan: What is evaluated, written at the start.
        versions: Of what it was begun with.

    Args:
        path: The folder; made when it is opened.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.plan = path / "plan.json"
        self.versions = path / "versions.json"

    def state_of(self, number: int) -> pathlib.Path:
        """Returns the folder for the state of a model's evaluation, and makes it."""
        folder = self.path / "state" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def first_versions(self, now: Mapping[str, str]) -> dict[str, str]:
        """Returns the versions that the evaluation was begun with, once it is open.

        Args:
            now: Those of this process, which are kept if it begins here.
        """
        with self.writing():
            if not self.versions.exists():
                write_text_atomically(self.versions, json.dumps(now, indent=2) + "\n")
            return json.loads(self.versions.read_text("utf-8"))

    @contextlib.contextmanager
    def open(
        self, plan: Mapping[str, Any], *, is_shared: bool = False
    ) -> Iterator[None]:
        """Keeps the folder for one evaluation.

        Args:
            plan: All that the figures depend on, of plain JSON values.
            is_shared: Whether other processes may work at the same evaluation. They
                then divide its shards between them.

        Raises:
            UserError: If another process is at work in it and it is not shared, it
                holds something else, or it cannot be written.
        """

        def check() -> None:
            self._check_not_foreign()
            self._check_same(plan)

        # Checked before the lock, too: another process may keep that for hours.
        lock = held_folder(self.path, "out", check=check, wait=is_shared)
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock)
            self._check_same(plan)
            if not self.plan.exists():
                text = json.dumps(plan, indent=2) + "\n"
                write_text_atomically(self.plan, text)
            if is_shared:
                stack.close()
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Lets one process at a time write, of those that share an open folder."""
        with held(self.path / ".writing.lock", wait=True):
            yield

    def _check_not_foreign(self) -> None:
        if not self.path.exists():
            return
        entries = self.path.iterdir() if self.path.is_dir() else [self.path]
        names = {entry.name for entry in entries}
        # What is there when another process has just begun, or was killed at that.
        beginning = {".lock", f"{self.plan.name}.partial"}
        if self.plan.name not in names and names - beginning:
            raise UserError(
                f"Invalid `--out`: {self.path} exists and is not an evaluation of this "
                "program (it has no plan.json); give a new or empty folder."
            )

    def _check_same(self, plan: Mapping[str, Any]) -> None:
        if not self.plan.exists():
            return
        try:
            old = dict(json.loads(self.plan.read_text("utf-8")))
        except (TypeError, ValueError):
            old = {}
        # As JSON gives it back: tuples become lists.
        new = json.loads(json.dumps(plan))
        differences = [
            f"{key} was {json.dumps(old.get(key))}, now {json.dumps(new.get(key))}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
        if differences:
            raise UserError(
                f"Invalid `--out`: {self.path} holds another evaluation "
                f"({'; '.join(differences)}); give another --out."
            )
