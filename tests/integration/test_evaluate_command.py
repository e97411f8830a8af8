"""`bin/evaluate` on exported models."""

import keras
import pytest

from mma_tf.cli.evaluate import main


def export(folder, *, shape=(8, 8, 1), classes=10, activation=None):
    layers = [
        keras.Input(shape),
        keras.layers.Flatten(),
        keras.layers.Dense(classes, activation=activation),
    ]
    keras.Sequential(layers).export(str(folder), verbose=False)
    return folder


def test_judges_a_saved_model_that_is_not_ours(tmp_path, capsys):
    model = export(tmp_path / "theirs")
    arguments = [f"--model={model}", "--eps=0.05,20/255", "--num_examples=30"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "first 30 of 360 digits images" in captured.out
    for text in ("eps 0.05:", "eps 0.07843:", "PGD-100", "5 with CE, 5 with CW"):
        assert text in captured.out


def test_help_tells_every_flag(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for flag in ("--model", "--dataset", "--norm", "--eps", "--num_examples"):
        assert flag in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eps=0.1"], "--model"),
        (["--model=nowhere", "--eps=0.1"], "nowhere"),
        (["--model=nowhere"], "--eps"),
        (["--model=nowhere", "--eps=8"], "did you mean 8/255"),
        (["--model=nowhere", "--eps=0"], "--eps=0"),
        (["--model=nowhere", "--eps=0.1", "--norm=l1"], "linf"),
        (["--modle=nowhere"], "--model"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"shape": (9, 8, 1)}, "cannot be used"),
        ({"activation": "softmax"}, "expected logits"),
        ({"classes": 9}, "expected 10 logits"),
    ],
)
def test_a_model_that_does_not_fit_is_named(model, message, tmp_path, capsys):
    folder = export(tmp_path / "theirs", **model)
    assert main([f"--model={folder}", "--eps=0.1"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
