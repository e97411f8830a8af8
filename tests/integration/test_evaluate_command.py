"""`bin/evaluate`: whole commands, what they print and leave, and mistakes in them."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from mma_tf import data
from mma_tf.cli.evaluate import main
from mma_tf.locks import held
from mma_tf.report import read_results

ROOT = pathlib.Path(__file__).parents[2]
# The process-wide setting is not to leak into other tests.
HERE = "--nodeterministic"


def make(*, shape=(8, 8, 1), classes=10, activation=None, trained=False):
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input(shape),
        keras.layers.Flatten(),
        keras.layers.Dense(classes, activation=activation),
    ]
    model = keras.Sequential(layers)
    if trained:
        digits = data.load("digits").train
        model.compile(
            keras.optimizers.Adam(0.05),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.fit(
            digits.images_in_unit_range(),
            digits.labels,
            batch_size=200,
            epochs=8,
            verbose=0,
        )
    return model


def export(folder, **options):
    make(**options).export(str(folder), verbose=False)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A trained linear classifier of digits, as SavedModel and as .keras file."""
    folder = tmp_path_factory.mktemp("models")
    model = make(trained=True)
    model.export(str(folder / "exported"), verbose=False)
    model.save(folder / "model.keras")
    return folder


def command(*arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "mma_tf.cli.evaluate", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestReports:
    @pytest.mark.parametrize(
        "suite", ["paper", pytest.param("autoattack", marks=pytest.mark.slow)]
    )
    def test_an_export_gets_the_figures_of_the_keras_model(
        self, models, suite, tmp_path, capsys
    ):
        arguments = [
            f"--model={models / 'exported'}",
            f"--model={models / 'model.keras'}",
            "--eps=0.02,20/255",
            "--num_examples=60",
            f"--suite={suite}",
            f"--out={tmp_path / 'out'}",
            HERE,
        ]
        assert main(arguments) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        for text in ("60 of 360 digits", "eps 0.02", "20/255", "Upper bounds"):
            assert text in captured.out
        results = read_results(tmp_path / "out" / "results.json")
        first, second = results["models"]
        assert first["robust"] == second["robust"]
        assert first["clean"] == second["clean"]
        assert first["robust"][0]["accuracy"] > first["robust"][1]["accuracy"]
        assert (first["kind"], second["kind"]) == ("saved_model", "keras")
        assert [eps["text"] for eps in results["eps"]] == ["0.02", "20/255"]
        assert results["data"]["num_examples"] == 60
        report = (tmp_path / "out" / "report.md").read_text()
        for picture in re.findall(r"!\[.*\]\((.*)\)", report):
            assert (tmp_path / "out" / picture).stat().st_size > 5_000
        with np.load(tmp_path / "out" / "per_example.npz") as arrays:
            robust = arrays["model_0/robust"]
        assert robust.shape == (2, 60)
        assert robust[0].mean() == first["robust"][0]["accuracy"]
        # Once more: nothing is attacked again, and the report is the same.
        before = (tmp_path / "out" / "results.json").read_text()
        assert main(arguments) == 0
        assert "still right" not in capsys.readouterr().out.split("Suite")[0]
        assert (tmp_path / "out" / "results.json").read_text() == before

    def test_autoattack_and_images_of_another_model(self, models, tmp_path, capsys):
        assert (
            main(
                [
                    f"--model={models / 'exported'}",
                    f"--transfer_from={models / 'model.keras'}",
                    "--eps=0.05",
                    "--norm=l2",
                    "--num_examples=12",
                    f"--out={tmp_path / 'out'}",
                    HERE,
                ]
            )
            == 0
        )
        capsys.readouterr()
        attacks = read_results(tmp_path / "out" / "results.json")["models"][0][
            "attacks"
        ]
        names = [attack["name"] for attack in attacks]
        assert names[-4:] == ["apgd-ce", "apgd-t", "fab-t", "square"]
        assert names[0].startswith("pgd-ce from")
        assert attacks[0]["source"] == str(models / "model.keras")

    def test_margins_need_no_radius(self, models, tmp_path, capsys):
        arguments = [
            f"--model={models / 'exported'}",
            "--suite=margins",
            "--norm=l2",
            "--num_examples=12",
            HERE,
            f"--out={tmp_path / 'out'}",
        ]
        assert main(arguments) == 0
        assert "median" in capsys.readouterr().out
        found = read_results(tmp_path / "out" / "results.json")["models"][0]
        assert found["robust"] == []
        assert found["margins"]["median"] > 0

    def test_a_softmax_is_flagged_and_can_fail_the_command(
        self, models, tmp_path, capsys
    ):
        softmax = keras.Sequential(
            [keras.saving.load_model(models / "model.keras"), keras.layers.Softmax()]
        )
        softmax.build((None, 8, 8, 1))
        softmax.export(str(tmp_path / "softmax"), verbose=False)
        arguments = [
            f"--model={tmp_path / 'softmax'}",
            "--eps=0.05",
            "--suite=quick",
            "--num_examples=20",
            f"--out={tmp_path / 'out'}",
            HERE,
        ]
        assert main(arguments) == 0
        assert "outputs are logits" in capsys.readouterr().out
        assert main([*arguments, "--fail_on_warning"]) == 1
        captured = capsys.readouterr()
        assert "outputs are logits" in captured.err
        assert captured.err.count("\n") == 1
        assert (tmp_path / "out" / "report.md").exists()

    @pytest.mark.slow
    def test_a_killed_run_goes_on_and_ends_with_the_same_figures(
        self, models, tmp_path
    ):
        def arguments(out):
            return (
                f"--model={models / 'exported'}",
                "--eps=0.02",
                "--suite=autoattack",
                f"--out={out}",
            )

        whole = command(*arguments("whole"), cwd=tmp_path)
        _, err = whole.communicate(timeout=300)
        assert whole.returncode == 0, err
        for signum, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
            process = command(*arguments("killed"), cwd=tmp_path)
            state = tmp_path / "killed" / "state" / "0" / "state.npz"
            known = state.stat().st_mtime_ns if state.exists() else 0
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and process.poll() is None:
                if state.exists() and state.stat().st_mtime_ns > known:
                    break
                time.sleep(0.01)
            process.send_signal(signum)
            _, err = process.communicate(timeout=60)
            assert process.returncode == code, err
            assert "Traceback" not in err
        assert not (tmp_path / "killed" / "results.json").exists()
        resumed = command(*arguments("killed"), cwd=tmp_path)
        _, err = resumed.communicate(timeout=300)
        assert resumed.returncode == 0, err
        with (
            np.load(tmp_path / "whole" / "per_example.npz") as one,
            np.load(tmp_path / "killed" / "per_example.npz") as other,
        ):
            assert sorted(one) == sorted(other)
            for name in one:
                np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        attacks = [
            [
                {k: v for k, v in attack.items() if "seconds" not in k}
                for attack in read_results(tmp_path / name / "results.json")["models"][
                    0
                ]["attacks"]
            ]
            for name in ("whole", "killed")
        ]
        assert attacks[0] == attacks[1]

    def test_processes_that_share_an_evaluation_leave_the_same_report(
        self, models, tmp_path
    ):
        def arguments(out):
            return (
                f"--model={models / 'exported'}",
                "--eps=0.02",
                "--suite=quick",
                f"--out={out}",
            )

        shared = [
            command(*arguments("shared"), "--num_shards=4", cwd=tmp_path)
            for _ in range(2)
        ]
        outputs = [process.communicate(timeout=300) for process in shared]
        for process, (out, err) in zip(shared, outputs, strict=True):
            assert process.returncode == 0, err
            assert "robust accuracy" in out
        done = [set(re.findall(r"shard (\d) of 4, .* done", o)) for o, _ in outputs]
        assert done[0] | done[1] == set("1234")
        assert not done[0] & done[1]
        assert main([*arguments(tmp_path / "whole"), HERE]) == 0
        with (
            np.load(tmp_path / "whole" / "per_example.npz") as one,
            np.load(tmp_path / "shared" / "per_example.npz") as other,
        ):
            assert sorted(one) == sorted(other)
            for name in one:
                if one[name].dtype == np.float64:
                    np.testing.assert_allclose(one[name], other[name], atol=1e-6)
                else:
                    np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        checks = [
            read_results(tmp_path / name / "results.json")["models"][0]["sanity_checks"]
            for name in ("whole", "shared")
        ]
        assert checks[0] == checks[1]


def test_help_tells_every_flag_without_tensorflow(tmp_path):
    process = command("--help", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    for flag in ("--model", "--dataset", "--norm", "--eps", "--suite", "--out"):
        assert flag in out
    for flag in ("--transfer_from", "--signature", "--input_range", "--fail_on"):
        assert flag in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eps=0.1"], "--model"),
        (["--model=nowhere", "--eps=0.1"], "nowhere"),
        (["--model=nowhere"], "--eps"),
        (["--model=nowhere", "--eps="], "--eps"),
        (["--model=nowhere", "--eps=8"], "did you mean 8/255"),
        (["--model=nowhere", "--eps=0"], "--eps=0"),
        (["--model=nowhere", "--eps=much"], "--eps"),
        (["--model=nowhere", "--eps=0.1", "--norm=l1"], "linf"),
        (["--model=nowhere", "--eps=0.1", "--suite=all"], "autoattack"),
        (["--model=nowhere", "--eps=0.1", "--suite=transfer"], "--transfer_from"),
        (
            ["--model=a", "--eps=0.1", "--suite=transfer", "--transfer_from=a"],
            "expected another model",
        ),
        (["--model=nowhere", "--eps=0.1", "--suite=margins"], "leave --eps out"),
        (["--model=nowhere", "--eps=0.1", "--input_range=255"], "--input_range"),
        (["--model=nowhere", "--eps=0.1", "--input_range=1,0"], "--input_range=1,0"),
        (["--model=a", "--model=a", "--eps=0.1"], "each model once"),
        (["--model=a", "--eps=0.1", "--batch_size=0"], "batch_size"),
        (["--model=a", "--eps=0.1", "--num_shards=0"], "num_shards"),
        (["--model=a", "--eps=0.1", "--seed=4294967296"], "seed"),
        (["--modle=nowhere"], "--model"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"shape": (9, 8, 1)}, "cannot be used"),
        ({"classes": 9}, "expected 10 logits"),
    ],
)
def test_a_model_that_does_not_fit_is_named(model, message, tmp_path, capsys):
    folder = export(tmp_path / "theirs", **model)
    assert main([f"--model={folder}", "--eps=0.1", HERE]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_a_model_that_cannot_lend_its_images_is_named(models, tmp_path, capsys):
    pixels = keras.Input((8, 8, 1), dtype="uint8")
    of_bytes = keras.Model(pixels, make()(keras.ops.cast(pixels, "float32")))
    of_bytes.export(str(tmp_path / "bytes"), verbose=False)
    arguments = [
        f"--model={models / 'exported'}",
        f"--transfer_from={tmp_path / 'bytes'}",
        "--input_range=0,255",
        "--eps=0.1",
        "--num_examples=10",
        f"--out={tmp_path / 'out'}",
        HERE,
    ]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "expected models whose gradient can be taken" in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


class TestFolders:
    def judge(self, models, out, *more):
        return main(
            [
                f"--model={models / 'exported'}",
                "--eps=0.05",
                "--suite=quick",
                "--num_examples=10",
                f"--out={out}",
                HERE,
                *more,
            ]
        )

    def test_that_of_another_evaluation_is_refused(self, models, tmp_path, capsys):
        assert self.judge(models, tmp_path / "out") == 0
        before = (tmp_path / "out" / "results.json").read_bytes()
        capsys.readouterr()
        assert self.judge(models, tmp_path / "out", "--seed=1") == 2
        captured = capsys.readouterr()
        assert "seed was 0, now 1" in captured.err
        assert captured.err.count("\n") == 1
        assert (tmp_path / "out" / "results.json").read_bytes() == before

    def test_other_shards_and_too_many_are_refused(self, models, tmp_path, capsys):
        out = tmp_path / "out"
        assert self.judge(models, out) == 0
        capsys.readouterr()
        # Even while another process is at work: nobody waits in vain.
        with held(out / ".lock"):
            assert self.judge(models, out, "--num_shards=2") == 2
        assert "num_shards was null, now 2" in capsys.readouterr().err
        assert self.judge(models, tmp_path / "new", "--num_shards=11") == 2
        captured = capsys.readouterr()
        assert "`--num_shards`: expected at most 10, one an image" in captured.err
        assert captured.err.count("\n") == 1
        assert not (tmp_path / "new").exists()

    def test_that_of_something_else_is_refused(self, models, tmp_path, capsys):
        (tmp_path / "notes.txt").write_text("mine")
        assert self.judge(models, tmp_path) == 2
        assert "not an evaluation" in capsys.readouterr().err
        assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]

    def test_another_model_in_its_place_is_noticed(self, models, tmp_path, capsys):
        model = tmp_path / "model"
        shutil.copytree(models / "exported", model)
        arguments = [
            f"--model={model}",
            "--eps=0.05",
            "--suite=quick",
            "--num_examples=10",
            f"--out={tmp_path / 'out'}",
            HERE,
        ]
        assert main(arguments) == 0
        shutil.rmtree(model)
        export(model)
        assert main(arguments) == 2
        assert "models was" in capsys.readouterr().err

    def test_a_torn_plan_is_no_plan_of_this_evaluation(self, models, tmp_path, capsys):
        out = tmp_path / "out"
        assert self.judge(models, out) == 0
        (out / "plan.json").write_text("{")
        assert self.judge(models, out) == 2
        assert "another evaluation" in capsys.readouterr().err
        assert json.loads((out / "results.json").read_text())
