"""The folder of a run: whose it is, what is wrong with it, what it remembers."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from mma_tf.errors import RunError, UserError
from mma_tf.run_directory import RunDirectory

FLAGS = "--dataset=digits\n--dmax=0.3\n--network=a=b.keras\n"
ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


@pytest.fixture
def run(tmp_path):
    """A run that has come so far as to have a checkpoint."""
    run = RunDirectory(tmp_path / "runs" / "mine")
    run.open(FLAGS)
    (run.checkpoints / "step-4.index").write_text("")
    return run


def refused(action, *mentions):
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert "`--run_dir`" in message
    assert "\n" not in message
    for mention in mentions:
        assert mention in message


def with_lock(run):
    with run.lock():
        pass


def test_opens_a_folder_that_is_not_there_and_goes_on_with_it(run):
    assert run.flags.read_text() == FLAGS
    (run.best / "saved_model").mkdir(parents=True)
    RunDirectory(run.path).open(FLAGS)
    assert run.flags.read_text() == FLAGS
    assert (run.best / "saved_model").exists()
    assert (run.checkpoints / "step-4.index").exists()


def test_opens_an_empty_folder_and_one_that_was_only_locked(tmp_path):
    run = RunDirectory(tmp_path)
    with run.lock():
        run.open(FLAGS)
        assert run.flags.read_text() == FLAGS


def test_each_other_flag_is_named(run):
    others = "--dataset=digits\n--dmax=0.2\n--network=a=c.keras\n--seed=1\n"
    refused(
        lambda: run.open(others),
        "--dmax was 0.3, now 0.2",
        "--network was a=b.keras, now a=c.keras",
        "--seed was not set, now 1",
    )
    with pytest.raises(UserError) as caught:
        run.open(others)
    assert "--dataset" not in str(caught.value)
    assert run.flags.read_text() == FLAGS


def test_the_order_of_the_flags_is_no_difference(run):
    run.open("".join(reversed(FLAGS.splitlines(keepends=True))))


def test_a_flag_that_came_later_is_no_difference_at_its_default(run):
    run.open(f"{FLAGS}--hinge=true\n--search_steps=10\n")
    refused(
        lambda: run.open(f"{FLAGS}--hinge=false\n"), "--hinge was not set, now false"
    )


def test_a_run_without_a_checkpoint_binds_nobody(tmp_path):
    run = RunDirectory(tmp_path / "mine")
    run.open(FLAGS)
    run.write_json(run.time, {"seconds": 9.0, "cpu_seconds": 9.0, "starts": 1})
    run.write_json(run.versions, {"keras": "1.0"})
    run.open(FLAGS)
    assert run.time.exists()
    run.open("--dmax=0.2\n")
    assert run.flags.read_text() == "--dmax=0.2\n"
    # Nor does it cost the next one anything.
    assert not run.time.exists()
    assert not run.versions.exists()


def test_the_results_of_a_finished_run_are_never_given_for_other_flags(run):
    """Its checkpoints may have been removed: they are large, and it is finished."""
    run.write_json(run.summary, {"test": {}})
    (run.checkpoints / "step-4.index").unlink()
    refused(lambda: run.open("--dmax=0.2\n"), "--dmax was 0.3, now 0.2")
    assert run.flags.read_text() == FLAGS


def test_opening_mends_an_export_that_was_cut_short(run):
    previous = run.path / ".best.previous"
    previous.mkdir()
    (previous / "classifier.json").write_text("{}")
    run.open(FLAGS)
    assert (run.best / "classifier.json").exists()
    assert not previous.exists()


@pytest.mark.parametrize("action", [with_lock, lambda run: run.open(FLAGS)])
def test_a_foreign_folder_is_refused_and_left_alone(action, tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    refused(lambda: action(RunDirectory(tmp_path)), str(tmp_path), "not a run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("action", [with_lock, lambda run: run.open(FLAGS)])
@pytest.mark.parametrize("below", ["", "run", "a/run"])
def test_a_place_that_cannot_be_a_folder_is_refused(action, below, tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / below if below else tmp_path / "file"
    refused(lambda: action(RunDirectory(path)), str(path))


@pytest.mark.parametrize("action", [with_lock, lambda run: run.open(FLAGS)])
def test_a_name_that_the_file_system_refuses_is_refused(action, tmp_path):
    path = tmp_path / ("x" * 300)
    refused(lambda: action(RunDirectory(path)), "too long")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_folder_without_permissions_is_refused(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0)
    refused(lambda: with_lock(RunDirectory(folder / "run")), "Permission denied")


def test_another_process_at_work_is_named_and_then_let_go(tmp_path):
    run = RunDirectory(tmp_path / "mine")
    program = (
        "import pathlib, sys\n"
        "from mma_tf.run_directory import RunDirectory\n"
        "with RunDirectory(pathlib.Path(sys.argv[1])).lock():\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout.readline() == "locked\n"
        refused(lambda: with_lock(run), "another process", str(run.path))
        # Not even a kill leaves the lock behind.
        other.kill()
    with_lock(run)


def test_a_lock_is_let_go_after_an_error(run):
    def fail():
        with run.lock():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with_lock(run)


def test_validations_are_read_in_order(run):
    assert run.read_validations() == []
    lines = [{"step": 2, "a": 0.1}, {"step": 4, "a": 0.2}]
    run.validations.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run.read_validations() == lines


@pytest.mark.parametrize("torn", ["{", '{"step": 6, "val_acc', "\0\0\0", '{"step'])
def test_a_torn_last_line_is_left_out_and_the_next_is_whole(torn, run):
    whole = {"step": 4, "val_accuracy": 0.5}
    run.validations.write_text(json.dumps(whole) + "\n" + torn)
    assert run.read_validations() == [whole]
    assert run.forget_validations_after(4) == [whole]
    with run.validations.open("a") as file:
        file.write('{"step": 6}\n')
    assert run.read_validations() == [whole, {"step": 6}]


def test_validations_that_will_be_done_again_are_forgotten(run):
    lines = [{"step": step} for step in (2, 4, 6)]
    run.validations.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run.forget_validations_after(4) == lines[:2]
    assert run.read_validations() == lines[:2]
    assert run.forget_validations_after(0) == []
    assert run.read_validations() == []


def test_the_summary_says_that_a_run_is_finished(run):
    assert run.read_summary() is None
    run.write_json(run.summary, {"test": {"accuracy": 0.9}})
    assert run.read_summary() == {"test": {"accuracy": 0.9}}


@pytest.mark.parametrize("content", [b"", b'{"test":', b"\xff\xfe\x00"])
def test_a_damaged_summary_is_named(content, run):
    run.summary.write_bytes(content)
    with pytest.raises(RunError, match=r"summary\.json is damaged") as caught:
        run.read_summary()
    assert "\n" not in str(caught.value)


def test_a_record_that_cannot_be_written_is_named(run, monkeypatch):
    run.write_json(run.summary, {"old": 1})

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(RunError, match=r"summary\.json.*No space left"):
        run.write_json(run.summary, {"new": 1})
    assert run.read_summary() == {"old": 1}
