"""A report's files: all there, whole, and the same for the same evaluation."""

import errno
import os
import pathlib
import re
import shutil

import pytest

from mma_tf.report import write_report
from tests.report.made_up import make_evaluation, make_gallery


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(folder, *evaluations, **context):
    write_report(evaluations, folder, context={"versions": {"python": "3"}, **context})


def other():
    """Like the usual one, but for every figure and picture."""
    sizes = make_evaluation().sizes / 2
    return make_evaluation(sizes=sizes, gallery=make_gallery(channels=3))


def test_all_files_and_links_to_them(tmp_path):
    write(tmp_path, make_evaluation("runs/a b/best"), make_evaluation("../.."))
    pictures = {
        "robust_accuracy.png",
        "margins.png",
        "adversarial_0_runs-a-b-best.png",
        "adversarial_1_model.png",
    }
    found = contents(tmp_path)
    assert set(found) == {"results.json", "per_example.npz", "report.md", *pictures}
    linked = re.findall(r"\]\(([^)]*\.png)\)", found["report.md"].decode())
    assert set(linked) == pictures
    for name in pictures:
        assert found[name].startswith(b"\x89PNG")


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, make_evaluation())
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_other_figures_give_another_report_in_its_place(tmp_path):
    write(tmp_path, make_evaluation())
    before = contents(tmp_path)
    write(tmp_path, other())
    after = contents(tmp_path)
    assert set(before) == set(after)
    assert all(before[name] != after[name] for name in before)


def test_margins_of_an_l2_evaluation(tmp_path):
    write(tmp_path, make_evaluation("a", eps=(), norm="l2"))
    assert "## Margins" in (tmp_path / "report.md").read_text("utf-8")


def test_a_model_without_a_gallery_has_no_such_picture(tmp_path):
    write(tmp_path, make_evaluation(gallery=make_gallery(shown=0)))
    assert not list(tmp_path.glob("adversarial_*"))
    assert "adversarial_" not in (tmp_path / "report.md").read_text("utf-8")


@pytest.fixture(scope="module")
def old_and_new(tmp_path_factory):
    """Two reports, to be told apart, in folders of their own."""
    folders = [tmp_path_factory.mktemp(name) for name in ("old", "new")]
    for folder, evaluation in zip(folders, (make_evaluation(), other()), strict=True):
        write(folder, evaluation)
    return folders


@pytest.mark.parametrize(
    ("owner", "name", "failing"),
    [
        (os, "fsync", 1),
        (pathlib.Path, "replace", 3),
        (os, "fsync", 4),
        (os, "fsync", 5),
        (pathlib.Path, "replace", 6),
    ],
)
def test_a_full_disk_leaves_every_file_whole(
    owner, name, failing, old_and_new, tmp_path, monkeypatch
):
    old, new = (contents(folder) for folder in old_and_new)
    folder = tmp_path / "report"
    shutil.copytree(old_and_new[0], folder)
    real, calls = getattr(owner, name), []

    def sometimes(*args):
        calls.append(args)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, sometimes)
        with pytest.raises(OSError, match="No space left"):
            write(folder, other())
    left = contents(folder)
    assert set(left) == set(old) == set(new)
    written = [file for file in left if left[file] == new[file] != old[file]]
    untouched = [file for file in left if left[file] == old[file]]
    assert len(written) + len(untouched) == len(left)
    # The report itself, which links to all others, comes last.
    assert "report.md" in untouched


def test_what_does_not_belong_together_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="Invalid `evaluations`"):
        write(tmp_path, make_evaluation(), make_evaluation(norm="l2"))
    assert contents(tmp_path) == {}


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(OSError):
        write(tmp_path / "missing", make_evaluation())
