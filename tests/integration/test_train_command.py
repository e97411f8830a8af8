"""`bin/train` from flags to run directory: results, resume, signals, errors."""

import json
import resource
import signal

import numpy as np
import pytest
import tensorflow as tf

from mma_tf import experiment
from mma_tf.cli.train import main
from mma_tf.errors import RunError
from mma_tf.export import export_classifier
from tests.integration.command import (
    SMALL,
    exported_weights,
    run,
    saved_state,
    saved_steps,
    start,
    stop_after,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: its folder, what it printed, and the command's flags."""
    folder = tmp_path_factory.mktemp("finished")
    code, out, err = run(*SMALL, "--compare_steps=6", cwd=folder)
    assert code == 0, err
    return folder, out, err


def run_directory(folder):
    (directory,) = (folder / "runs").iterdir()
    return directory


def recorded_margins(directory):
    lines = (directory / "validations.jsonl").read_text().splitlines()
    return [json.loads(line)["val_average_margin"] for line in lines]


def test_prints_what_the_method_buys(finished):
    _, out, err = finished
    assert err == ""
    header, *rows = out.split("\n\n")[-1].splitlines()
    assert header.split() == ["standard", "mma"]
    names = [row.split(",")[0] for row in rows[:4]]
    assert names[:3] == ["clean accuracy", "robust accuracy", "average margin"]
    assert "PGD-2" in out


def test_leaves_a_complete_run_directory(finished):
    folder, _, _ = finished
    directory = run_directory(folder)
    assert directory.name == "digits-linf-mma-0.3-s0"
    flags = (directory / "flags.txt").read_text()
    assert "--attack_steps=2\n" in flags
    assert "--learning_rate=0.001,0.0003\n" in flags
    lines = (directory / "validations.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [6, 12]
    assert sum(json.loads(lines[0])["val_margin_histogram"]["counts"]) == 40
    assert list((directory / "events").glob("events.*"))
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["test_examples"] == 40
    assert summary["all_test_examples"] == 360
    assert "git_revision" in summary["versions"]


@pytest.mark.parametrize("which", ["best", "last"])
def test_exports_a_model_that_others_can_use(finished, which):
    folder, _, _ = finished
    place = run_directory(folder) / which
    described = json.loads((place / "classifier.json").read_text())
    assert described["class_names"] == [str(digit) for digit in range(10)]
    assert described["recipe"]["d_max"] == 0.3
    loaded = tf.saved_model.load(str(place / "saved_model"))
    for batch in (1, 7):
        logits = loaded.serve(tf.zeros([batch, 8, 8, 1]))
        assert logits.shape == (batch, 10)


def test_a_finished_run_says_so_and_prints_its_results_again(finished):
    folder, out, _ = finished
    code, again, err = run(*SMALL, "--compare_steps=6", cwd=folder)
    assert (code, err) == (0, "")
    assert "finished" in again
    assert out.split("\n\n")[-1] == again.split("\n\n")[-1]


def test_other_flags_on_a_run_directory_are_named(finished, capsys, monkeypatch):
    folder, _, _ = finished
    monkeypatch.chdir(folder)
    directory = str(run_directory(folder))
    arguments = [*SMALL, f"--run_dir={directory}", "--attack_steps=3"]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "--attack_steps was 2, now 3" in message
    assert "--compare_steps was 6, now 0" in message


@pytest.mark.slow
def test_its_flagfile_gives_the_same_run_bit_by_bit(finished, tmp_path):
    folder, _, _ = finished
    directory = run_directory(folder)
    flagfile = f"--flagfile={directory / 'flags.txt'}"
    code, _, err = run(flagfile, "--run_dir=again", cwd=tmp_path)
    assert code == 0, err
    first, again = saved_state(directory), saved_state(tmp_path / "again")
    assert first.keys() == again.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)


@pytest.mark.parametrize(
    "extra",
    [
        # The searches of the fast recipe, which begin where earlier ones ended.
        pytest.param(
            (
                "--warmup_steps=3",
                "--learning_rate=0.01",
                "--direction_memory",
                "--start_queries=4",
                "--search_share=0.5",
            ),
            marks=pytest.mark.slow,
        ),
        (
            "--ema",
            "--norm=l2",
            "--augmentation=pad_crop",
            "--learning_rate=1e-3",
            "--learning_rate_decay=cosine",
        ),
    ],
)
def test_killed_at_any_step_and_resumed_ends_with_the_same_weights(extra, tmp_path):
    code, _, err = run(*SMALL, *extra, "--run_dir=whole", cwd=tmp_path)
    assert code == 0, err
    killed = tmp_path / "killed"
    arguments = (*SMALL, *extra, "--run_dir=killed")
    for step in (4, 8):
        index = killed / "checkpoints" / f"step-{step}.index"
        code, _, err = stop_after(arguments, tmp_path, index.exists)
        assert code == -signal.SIGKILL, err
    code, out, err = run(*arguments, cwd=tmp_path)
    assert code == 0, err
    assert "Going on from step" in out
    whole = saved_state(tmp_path / "whole")
    for name, value in saved_state(killed).items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)
    for which in ("best", "last"):
        pairs = zip(
            exported_weights(killed / which),
            exported_weights(tmp_path / "whole" / which),
            strict=True,
        )
        for one, other in pairs:
            np.testing.assert_array_equal(one, other)
    assert recorded_margins(killed) == recorded_margins(tmp_path / "whole")


@pytest.mark.parametrize(
    ("signum", "expected"),
    [(signal.SIGTERM, 75), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_a_signal_saves_and_has_an_exit_code_of_its_own(signum, expected, tmp_path):
    arguments = (*SMALL, "--train_steps=100000", "--save_every=100000", "--run_dir=run")
    validations = tmp_path / "run" / "validations.jsonl"
    code, _, err = stop_after(
        arguments,
        tmp_path,
        lambda: validations.exists() and validations.read_text(),
        signum,
    )
    assert code == expected
    assert "Traceback" not in err
    step = saved_steps(tmp_path / "run")[-1]
    lines = len(validations.read_text().splitlines())
    seconds = json.loads((tmp_path / "run" / "time.json").read_text())["seconds"]
    last = json.loads(validations.read_text().splitlines()[-1])
    assert seconds / 3600 > last["train_hours"]
    code, out, _ = stop_after(
        arguments,
        tmp_path,
        lambda: len(validations.read_text().splitlines()) > lines,
        signum,
    )
    assert code == expected
    assert f"Going on from step {step} of" in out


@pytest.mark.slow
def test_a_signal_during_a_validation_loses_nothing(tmp_path):
    # Long validations, at steps at which no checkpoint is due by itself.
    arguments = (
        *SMALL,
        "--validate_every=1",
        "--save_every=1000",
        "--validation_size=1000",
        "--test_attack_steps=300",
        "--run_dir=run",
    )
    index = tmp_path / "run" / "checkpoints" / "step-1.index"
    code, _, err = stop_after(arguments, tmp_path, index.exists, signal.SIGTERM)
    assert code == 75, err
    assert not (tmp_path / "run" / "validations.jsonl").read_text()
    lines = tmp_path / "run" / "validations.jsonl"
    code, out, _ = stop_after(arguments, tmp_path, lines.read_text, signal.SIGTERM)
    assert "Going on from step 1 of" in out
    assert json.loads(lines.read_text().splitlines()[0])["step"] == 1


@pytest.mark.slow
def test_the_newest_checkpoint_damaged_gives_way_to_the_one_before(finished, tmp_path):
    arguments = (*SMALL, "--run_dir=run")
    index = tmp_path / "run" / "checkpoints" / "step-8.index"
    stop_after(arguments, tmp_path, index.exists)
    *_, before, newest = saved_steps(tmp_path / "run")
    (data,) = index.parent.glob(f"step-{newest}.data-*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 255
    data.write_bytes(content)
    code, out, err = run(*arguments, cwd=tmp_path)
    assert code == 0, err
    assert f"checkpoint of step {newest}" in out
    assert "damaged" in out
    assert f"Going on from step {before} of" in out
    whole = saved_state(run_directory(finished[0]))
    for name, value in saved_state(tmp_path / "run").items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_with_the_last_checkpoint_intact(tmp_path):
    arguments = (*SMALL, "--run_dir=run")
    checkpoints = tmp_path / "run" / "checkpoints"
    stop_after(arguments, tmp_path, (checkpoints / "step-4.index").exists)
    newest = saved_steps(tmp_path / "run")[-1]
    size = max(path.stat().st_size for path in checkpoints.glob("*.data-*"))

    def no_room():
        # A file that may not grow fails its writer as a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    code, _, err = run(*arguments, cwd=tmp_path, preexec_fn=no_room)
    assert code == 1
    assert "Traceback" not in err
    assert "cannot be written" in err
    code, out, err = run(*arguments, cwd=tmp_path)
    assert code == 0, err
    assert f"Going on from step {newest} of" in out


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), ("--direction_memory", "--start_queries=4")])
def test_two_devices_do_the_step_of_one(extra, tmp_path):
    step = ("--train_steps=1", "--validate_every=1", "--save_every=1", *extra)
    for name, devices in (("one", 0), ("two", 2)):
        code, _, err = run(
            *SMALL,
            *step,
            f"--logical_devices={devices}",
            f"--run_dir={name}",
            cwd=tmp_path,
        )
        assert code == 0, err
    one, two = saved_state(tmp_path / "one"), saved_state(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_devices_share_the_statistics_of_batch_normalisation(tmp_path):
    """A look at averaged weights, as a checkpoint, keeps those of one device."""
    arguments = (
        *SMALL,
        "--network=wide_resnet",
        "--depth=10",
        "--width=1",
        "--train_steps=4",
        "--ema",
        "--logical_devices=2",
    )
    for name, every in (("often", 1), ("once", 4)):
        flags = (f"--validate_every={every}", "--save_every=4", f"--run_dir={name}")
        code, _, err = run(*arguments, *flags, cwd=tmp_path)
        assert code == 0, err
    often, once = saved_state(tmp_path / "often"), saved_state(tmp_path / "once")
    for name, value in once.items():
        np.testing.assert_array_equal(value, often[name], err_msg=name)


@pytest.mark.slow
def test_each_device_searches_a_part_of_its_own(tmp_path):
    code, _, err = run(
        *SMALL,
        # By then some are classified right.
        "--train_steps=24",
        "--learning_rate=0.01,0.001",
        "--learning_rate_steps=20",
        "--logical_devices=2",
        "--search_share=0.5",
        "--run_dir=run",
        cwd=tmp_path,
    )
    assert code == 0, err
    # Of each of the 1,437 training images that are not for validation.
    (lengths,) = (
        value
        for value in saved_state(tmp_path / "run").values()
        if np.shape(value) == (1437 - 40,)
    )
    # Of 24 steps of 50, half were searched; classified wrong, it is 0.
    assert 0 < np.count_nonzero(lengths) <= 24 * 25


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("standard", marks=pytest.mark.slow),
        pytest.param("pgd", marks=pytest.mark.slow),
        pytest.param("pgdls", marks=pytest.mark.slow),
        "trades",
    ],
)
def test_baselines_train_on_the_same_rails(method, tmp_path):
    code, out, err = run(*SMALL, f"--method={method}", "--eps=0.1", cwd=tmp_path)
    assert code == 0, err
    assert method in out.split("\n\n")[-1].splitlines()[0]
    length = "" if method == "standard" else "-0.1"
    assert run_directory(tmp_path).name == f"digits-linf-{method}{length}-s0"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16"])
def test_half_precision_exports_a_float_model(precision, tmp_path):
    code, _, err = run(
        *SMALL, f"--precision={precision}", "--run_dir=run", cwd=tmp_path
    )
    assert code == 0, err
    loaded = tf.saved_model.load(str(tmp_path / "run/best/saved_model"))
    assert loaded.serve(tf.zeros([1, 8, 8, 1])).dtype == tf.float32


def test_a_second_process_is_kept_out(tmp_path):
    arguments = (*SMALL, "--train_steps=100000", "--run_dir=run")
    process = start(*arguments, cwd=tmp_path)
    while not (tmp_path / "run" / "flags.txt").exists():
        assert process.poll() is None
    code, _, err = run(*arguments, cwd=tmp_path)
    process.kill()
    process.communicate()
    assert code == 2
    assert "another process" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dmax=8"], "did you mean 8/255"),
        (["--dmax=0"], "--dmax=0"),
        (["--norm=l2", "--dmax=9"], "at most 8"),
        (["--dmax=eight"], "8/255"),
        (["--norm=l1"], "linf"),
        (["--method=fgsm"], "trades"),
        (["--network=lenet"], "did you mean lenet5"),
        (["--dataset=digitz"], "digits"),
        (["--batchsize=5"], "--batch_size"),
        (["--logical_devices=-1"], "logical_devices"),
        (["--learning_rate=0.1,0.2"], "--learning_rate_steps"),
        (["--run_dir=/proc/no/such"], "--run_dir"),
        (["--dataset=image_folder"], "--source_dir"),
        (["surplus"], "surplus"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_two(
    arguments, message, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert main([*SMALL, *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("flag", ["--batch_size=5000", "--validation_size=1437"])
def test_a_mistake_that_only_the_data_shows_is_one_sentence_too(flag, tmp_path):
    # In a process of its own, for which training has made its global settings.
    code, _, err = run(*SMALL, flag, cwd=tmp_path)
    assert code == 2
    assert flag.removeprefix("--") in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_run_that_never_began_does_not_bind_the_next(tmp_path):
    code, _, _ = run(*SMALL, "--validation_size=1437", "--run_dir=run", cwd=tmp_path)
    assert code == 2
    code, _, err = run(*SMALL, "--train_steps=1", "--run_dir=run", cwd=tmp_path)
    assert code == 0, err


def write_pictures(folder, seed):
    rng = np.random.default_rng(seed)
    for split, number in (("train", 30), ("test", 5)):
        for brightness, name in ((60, "dark"), (180, "light")):
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(number):
                pixels = rng.integers(brightness, brightness + 60, size=(9, 7, 3))
                png = tf.io.encode_png(tf.constant(pixels, tf.uint8))
                (place / f"{i}.png").write_bytes(png.numpy())


@pytest.mark.slow
def test_a_folder_of_pictures_trains_and_another_folder_is_another_run(tmp_path):
    write_pictures(tmp_path / "mine", 0)
    write_pictures(tmp_path / "yours", 1)
    arguments = (
        "--dataset=image_folder",
        "--train_steps=4",
        "--validation_size=10",
        "--attack_steps=2",
        "--test_attack_steps=2",
        # To read files puts TensorFlow in use: the devices have to be there before.
        "--logical_devices=2",
    )
    code, out, err = run(*arguments, "--source_dir=mine", cwd=tmp_path)
    assert code == 0, err
    assert "small_cnn on image_folder" in out
    described = run_directory(tmp_path) / "best" / "classifier.json"
    assert json.loads(described.read_text())["class_names"] == ["dark", "light"]
    code, _, err = run(*arguments, "--source_dir=yours", cwd=tmp_path)
    assert code == 2
    assert "--source_dir was" in err


def test_a_foreign_folder_is_left_alone(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("dear")
    assert main([*SMALL, "--run_dir=mine"]) == 2
    assert "not a run of this program" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1])
def test_a_best_model_whose_export_was_cut_short_is_exported_after_all(
    at, tmp_path, monkeypatch, capsys
):
    flags = [*SMALL, "--nodeterministic"]
    monkeypatch.chdir(tmp_path)
    assert main([*flags, "--run_dir=whole"]) == 0
    calls = []

    def export(*arguments):
        calls.append(arguments)
        if len(calls) == at + 1:
            raise RunError("The disk is full.")
        export_classifier(*arguments)

    monkeypatch.setattr(experiment, "export_classifier", export)
    cut = [*flags, "--run_dir=cut"]
    assert main(cut) == 1
    # The validation itself was recorded.
    assert len(recorded_margins(tmp_path / "cut")) == at + 1
    assert main(cut) == 0
    best = int(np.argmax(recorded_margins(tmp_path / "cut")))
    described = json.loads((tmp_path / "cut/best/classifier.json").read_text())
    summary = json.loads((tmp_path / "cut/summary.json").read_text())
    assert described["step"] == summary["best_step"] == 6 * (best + 1)
    pairs = zip(
        exported_weights(tmp_path / "whole" / "best"),
        exported_weights(tmp_path / "cut" / "best"),
        strict=True,
    )
    assert all(np.allclose(ours, theirs, atol=1e-4) for ours, theirs in pairs)
