"""The flags of `bin/train`: what they take, refuse, explain and write to a file."""

import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from mma_tf import UserError
from mma_tf.cli import evaluate_flags
from mma_tf.cli.evaluate_flags import without_places
from mma_tf.cli.flags import define, help_text, overrides
from mma_tf.cli.parsing import parse
from mma_tf.recipes.resolve import resolve, to_flagfile
from mma_tf.recipes.schema import field_infos, flag_name

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


def read(*arguments):
    values = flags.FlagValues()
    define(values)
    parse(arguments, values)
    return values


def recipe_of(values):
    return resolve(
        values.dataset, values.norm, values.method, overrides=overrides(values)
    ).recipe


def test_without_flags_it_is_the_digits():
    values = read()
    assert (values.dataset, values.norm, values.method) == ("digits", "linf", "mma")
    assert overrides(values) == {}
    assert recipe_of(values) == resolve("digits", "linf").recipe


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--dmax=8/255", {"d_max": 8 / 255}),
        ("--dmax=0.125", {"d_max": 0.125}),
        ("--clean_loss_coeff=0", {"clean_loss_coeff": 0.0}),
        ("--learning_rate=0.1,1e-2,1/255", {"learning_rate": (0.1, 0.01, 1 / 255)}),
        ("--learning_rate_steps=100,1e3", {"learning_rate_steps": (100, 1000)}),
        ("--learning_rate_steps=", {"learning_rate_steps": ()}),
        ("--train_steps=1e5", {"train_steps": 100_000}),
        ("--compare_steps=0", {"compare_steps": 0}),
        ("--ema", {"ema": True}),
        ("--noema", {"ema": False}),
        ("--deterministic=false", {"deterministic": False}),
        ("--network=mine.keras", {"network": "mine.keras"}),
        ("--test_split=validation", {"test_split": "validation"}),
    ],
)
def test_what_the_user_set_is_an_override(argument, expected):
    found = overrides(read(argument))
    assert found == expected
    assert [type(value) for value in found.values()] == [
        type(value) for value in expected.values()
    ]


def test_flags_of_the_run_are_not_of_the_recipe():
    values = read(
        "--run_dir=a", "--data_dir=b", "--source_dir=c", "--logical_devices=2"
    )
    assert (values.run_dir, values.data_dir, values.source_dir) == ("a", "b", "c")
    assert (values.strategy, values.logical_devices) == ("auto", 2)
    assert overrides(values) == {}


def test_a_tilde_in_a_path_is_the_users_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    values = read("--run_dir=~/runs/a", "--source_dir=~/b", "--dataset=~c")
    assert (values.run_dir, values.source_dir) == ("/home/me/runs/a", "/home/me/b")
    assert (values.data_dir, values.dataset) == (None, "~c")
    values = flags.FlagValues()
    evaluate_flags.define(values)
    parse(["--model=~/a", "--model=b", "--transfer_from=c, ~/d", "--out=~/e"], values)
    assert values.model == ["/home/me/a", "b"]
    assert values.transfer_from == ("c", "/home/me/d")
    assert values.out == "/home/me/e"


def test_every_field_has_a_flag_that_the_help_explains():
    values = read()
    text = help_text()
    for name in [*map(flag_name, field_infos()), "run_dir", "strategy"]:
        assert name in values
        assert f"\n  --{name}  " in text


def test_help_tells_defaults_per_dataset_and_norm(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = " ".join(help_text().split())
    for words in (
        "training steps (default: mnist 100000; cifar10 50000; digits 2000)",
        "cifar10 20/255 (linf), 2 (l2)",
        "weight of the clean loss in [0, 1] (default: 1/3)",
        "default: mnist none; cifar10 20000,30000,40000",
        "[none|pad_crop|pad_crop_mirror]",
    ):
        assert words in text
    assert max(map(len, help_text().splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dmax=eight"], "--dmax=eight.*8/255"),
        (["--learning_rate=0.1,x"], "--learning_rate=0.1,x.*8/255"),
        (["--train_steps=ten"], "--train_steps=ten.*whole number"),
        (["--learning_rate_steps=1.5"], "--learning_rate_steps=1.5.*whole number"),
        (["--norm=l1"], "--norm=l1.*linf.*l2"),
        (["--method=fgsm"], "--method=fgsm.*mma.*trades"),
        (["--strategy=tpu"], "--strategy=tpu.*mirrored"),
        (["--ema=maybe"], "--ema=maybe"),
        (["--batchsize=50"], "--batchsize.*did you mean.*--batch_size"),
        (["--nodeterminstic"], "did you mean.*--deterministic"),
        (["--qqq"], "--qqq.*--help"),
        (["--flagfile=no/such/file"], "no/such/file"),
        (["mnist"], "'mnist'"),
        (["--ema", "--", "rest"], "'rest'"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar10"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "d_max": 1 / 7,
            "learning_rate": (1 / 3, 0.1),
            "learning_rate_steps": (7,),
            "ema": True,
            "deterministic": False,
            "network": "my folder/a=b.keras",
            "train_split": "train[:50%]",
            "seed": 2**32 - 1,
        },
    ],
)
def test_a_flagfile_gives_the_same_recipe_exactly(dataset, norm, changes, tmp_path):
    recipe = resolve(dataset, norm, "pgd", overrides=changes).recipe
    file = tmp_path / "flags.txt"
    file.write_text(to_flagfile(recipe))
    assert recipe_of(read(f"--flagfile={file}")) == recipe


def test_a_record_tells_of_an_evaluation_no_place_of_this_machine():
    line = ["--source_dir", "/here", "--model=a", "-data_dir=/b", "--eps", "0.3"]
    line += ["--out=/c", "--nodeterministic", "--record", "/d", "--model", "out"]
    kept = ["--model=a", "--eps", "0.3", "--nodeterministic", "--model", "out"]
    assert without_places(line) == kept


def test_a_flag_after_the_flagfile_goes_before_it(tmp_path):
    file = tmp_path / "flags.txt"
    file.write_text("# of mine\n--dmax=0.2\n--norm=l2\n")
    values = read(f"--flagfile={file}", "--dmax=0.4")
    assert values.norm == "l2"
    assert overrides(values) == {"d_max": 0.4}


def test_importing_defines_no_flags():
    values = flags.FlagValues()
    define(values)
    assert "dmax" not in flags.FLAGS


def test_help_is_there_at_once_without_tensorflow():
    code = (
        "import sys; from mma_tf.cli.train import main; code = main(['--help']);"
        "heavy = {'tensorflow', 'keras', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("bin/train --dataset=") >= 2
