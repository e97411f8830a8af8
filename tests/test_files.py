"""Files and folders that are there whole, or not at all."""

import errno
import os
import pathlib

import pytest

from mma_tf.files import recover_directory, replace_directory, write_text_atomically


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def make_folder(path, text):
    path.mkdir()
    (path / "model").write_text(text)


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "record.json"
    write_text_atomically(path, "first\n")
    write_text_atomically(path, "zwölf\n")
    assert path.read_text("utf-8") == "zwölf\n"
    assert names(tmp_path) == ["record.json"]


@pytest.mark.parametrize("owner_and_name", [(os, "fsync"), (pathlib.Path, "replace")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    owner_and_name, tmp_path, monkeypatch
):
    path = tmp_path / "record.json"
    write_text_atomically(path, "old")
    monkeypatch.setattr(*owner_and_name, full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_text_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["record.json"]


def test_a_file_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        write_text_atomically(tmp_path / "file" / "record.json", "new")


def test_a_folder_is_made_with_its_parents(tmp_path):
    path = tmp_path / "a" / "best"
    with replace_directory(path) as partial:
        (partial / "model").write_text("new")
        assert not path.exists()
    assert (path / "model").read_text() == "new"
    assert names(path.parent) == ["best"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "best"
    make_folder(path, "old")
    (path / "of the old only").write_text("")
    with replace_directory(path) as partial:
        assert names(partial) == []
        (partial / "model").write_text("new")
        assert (path / "model").read_text() == "old"
    assert names(path) == ["model"]
    assert (path / "model").read_text() == "new"
    assert names(tmp_path) == ["best"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, ValueError])
def test_a_failure_while_filling_leaves_the_old_folder(error, tmp_path):
    path = tmp_path / "best"
    make_folder(path, "old")

    def fill():
        with replace_directory(path) as partial:
            (partial / "model").write_text("ne")
            raise error

    with pytest.raises(error):
        fill()
    assert (path / "model").read_text() == "old"
    assert names(tmp_path) == ["best"]


def test_what_an_earlier_failure_left_does_not_get_into_the_next(tmp_path):
    path = tmp_path / "best"
    left = tmp_path / ".best.partial"
    make_folder(left, "of a killed process")
    with replace_directory(path) as partial:
        assert names(partial) == []
    assert names(tmp_path) == ["best"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_rename_loses_nothing(failing, tmp_path, monkeypatch):
    path = tmp_path / "best"
    make_folder(path, "old")
    rename, calls = pathlib.Path.rename, []

    def sometimes(self, target):
        calls.append(target)
        return full_disk() if len(calls) == failing else rename(self, target)

    def replace():
        with replace_directory(path) as partial:
            (partial / "model").write_text("new")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "rename", sometimes)
        with pytest.raises(OSError, match="No space left"):
            replace()
    recover_directory(path)
    assert (path / "model").read_text() == "old"
    assert names(tmp_path) == ["best"]


def test_recovery_after_a_kill_between_the_renames(tmp_path):
    path = tmp_path / "best"
    make_folder(tmp_path / ".best.previous", "old")
    make_folder(tmp_path / ".best.partial", "new")
    recover_directory(path)
    assert (path / "model").read_text() == "old"
    assert names(tmp_path) == ["best"]


def test_recovery_after_a_kill_before_the_old_folder_was_removed(tmp_path):
    path = tmp_path / "best"
    make_folder(path, "new")
    make_folder(tmp_path / ".best.previous", "old")
    recover_directory(path)
    assert (path / "model").read_text() == "new"
    assert names(tmp_path) == ["best"]


def test_recovery_where_nothing_happened_changes_nothing(tmp_path):
    path = tmp_path / "best"
    recover_directory(path)
    assert names(tmp_path) == []
    make_folder(path, "old")
    recover_directory(path)
    assert names(path) == ["model"]
