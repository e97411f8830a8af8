"""The pictures: that they show what they say, and what the command leaves behind."""

import json
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mma_tf import data, losses
from mma_tf.cli.figures import FIGURES, main
from mma_tf.errors import UserError
from mma_tf.figures import (
    adversarial_grid_figure,
    landscape_figure,
    margin_figure,
    margins_during_training_figure,
    one_dimension_figure,
)
from mma_tf.figures import landscape as landscape_module


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def validation(step, mean, *, bins=4):
    counts = np.zeros(bins, int)
    counts[min(int(mean / 0.3 * bins), bins - 1)] = 40
    return {
        "step": step,
        "val_average_margin": mean,
        "val_margin_histogram": {
            "lowest": 0.0,
            "highest": 0.3,
            "counts": counts.tolist(),
        },
    }


def linear_logits(scale):
    """Digits by their brightest half: a linear classifier of two classes."""
    kernel = np.zeros((64, 10), np.float32)
    kernel[:32, 0], kernel[32:, 1] = scale, scale

    def logits_fn(images):
        return tf.reshape(images, (-1, 64)) @ tf.constant(kernel)

    return logits_fn


@pytest.fixture
def run_dir(tmp_path):
    def make(name, margins):
        folder = tmp_path / name
        folder.mkdir()
        lines = [validation(10 * (k + 1), m) for k, m in enumerate(margins)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "validations.jsonl").write_text(text)
        return folder

    return make


@pytest.fixture
def model(tmp_path):
    """A trained linear classifier of digits."""
    digits = data.load("digits").train
    classifier = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    classifier.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images = digits.images_in_unit_range()
    classifier.fit(images, digits.labels, batch_size=200, epochs=5, verbose=0)
    classifier.save(tmp_path / "linear.keras")
    return tmp_path / "linear.keras"


def test_a_step_at_the_nearest_error_raises_the_margin_most():
    changes = [
        float(re.search(r"[+-][\d.]+$", t)[0]) for t in titles(one_dimension_figure())
    ]
    at_image, at_nearest, beyond = changes
    assert at_nearest > max(at_image, beyond)
    assert at_nearest > 0


def test_mma_leaves_no_margin_as_small_as_clean_training():
    found = [
        [float(number) for number in re.findall(r"[\d.]+\d", title)]
        for title in titles(margin_figure())
    ]
    (clean_least, clean_average), (mma_least, mma_average) = found
    assert 0 < clean_least < mma_least
    assert clean_least < clean_average
    assert mma_least < mma_average


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_landscape_is_the_loss_on_a_plane_through_the_image(norm):
    image = data.load("digits").test.images_in_unit_range()[0]
    logits_fn = linear_logits(3.0)
    ticks = np.linspace(-0.2, 0.2, 5)
    surface = landscape_module._surface(logits_fn, image, 1, norm, ticks, 0)
    (centre,) = losses.soft_logit_margin_loss([1], logits_fn(image[None])).numpy()
    assert surface[2, 2] == pytest.approx(centre, abs=1e-5)
    assert np.all(np.diff(surface[2]) > 0)
    along, across = surface[2, 4] - surface[2, 2], surface[4, 2] - surface[2, 2]
    assert abs(across) < 0.5 * along


def test_a_loss_without_gradient_is_a_flat_landscape():
    image = data.load("digits").test.images_in_unit_range()[0]
    figure = landscape_figure({"flat": linear_logits(0.0)}, image, 1)
    assert titles(figure)[0] == "flat"


def test_landscapes_of_all_models_have_one_scale():
    image = data.load("digits").test.images_in_unit_range()[0]
    models = {"flat": linear_logits(0.5), "steep": linear_logits(5.0)}
    figure = landscape_figure(models, image, 1)
    assert titles(figure)[:2] == ["flat", "steep"]
    limits = {
        contours.get_clim()
        for axes in figure.axes[:2]
        for contours in axes.collections
        if hasattr(contours, "levels") and contours.filled
    }
    assert len(limits) == 1


def test_margins_of_two_runs_stand_below_each_other():
    runs = {
        "mma": [validation(10 * k, 0.03 * k) for k in range(1, 9)],
        "pgd": [validation(10, 0.1), validation(20, 0.2)],
    }
    figure = margins_during_training_figure(runs)
    steps = [title for title in titles(figure) if title]
    assert steps[0] == "step 10"
    assert steps[4] == "step 80"
    assert steps[5] == "step 10"
    assert steps[9] == "step 20"
    with pytest.raises(UserError, match="Received: empty"):
        margins_during_training_figure({"empty": []})


def test_the_grid_shows_images_that_all_models_get_right_and_their_errors():
    digits = data.load("digits").test
    images = digits.images_in_unit_range()[:30]
    good = linear_logits(3.0)
    labels = np.argmax(good(tf.constant(images)), axis=1)
    labels[0] = 9
    figure = adversarial_grid_figure(
        {"good": good}, images, labels, norm="linf", num_images=3
    )
    panels = np.array(figure.axes).reshape(3, 2)
    np.testing.assert_array_equal(panels[0, 0].images[0].get_array(), images[1][..., 0])
    for row, label in zip(panels, labels[1:4], strict=True):
        assert row[0].get_xlabel() == str(label)
        seen, distance = row[1].get_xlabel().split(", ")
        assert seen != str(label)
        change = row[1].images[0].get_array() - row[0].images[0].get_array()
        assert float(distance) == pytest.approx(np.max(np.abs(change)), abs=1e-3)
    with pytest.raises(UserError, match="classify some image right"):
        adversarial_grid_figure({"good": good}, images[:1], labels[:1], norm="linf")


def test_two_runs_of_one_name_are_told_apart(run_dir, tmp_path, capsys):
    first = run_dir("mma", [0.1, 0.2])
    other = tmp_path / "other" / "mma"
    shutil.copytree(first, other)
    arguments = [f"--run_dir={first}", f"--run_dir={other}"]
    out = tmp_path / "out"
    figure = "--figure=margins_during_training"
    assert main([figure, *arguments, f"--out={out}"]) == 0
    with Image.open(out / "margins_during_training.png") as two:
        height = two.size[1]
    assert main([figure, arguments[0], f"--out={out}"]) == 0
    with Image.open(out / "margins_during_training.png") as one:
        assert one.size[1] < height


@pytest.mark.parametrize("figure", FIGURES)
def test_the_command_leaves_png_and_pdf(figure, tmp_path, model, run_dir, capsys):
    arguments = {
        "landscape": [f"--model={model}", "--image=3"],
        "adversarial_grid": [f"--model={model}", "--num_images=2", "--norm=l2"],
        "margins_during_training": [
            f"--run_dir={run_dir('mma', [0.1, 0.2, 0.25])}",
            f"--run_dir={run_dir('pgd', [0.1, 0.15])}",
        ],
    }.get(figure, [])
    out = tmp_path / "new" / "pictures"
    assert main([f"--figure={figure}", f"--out={out}", *arguments]) == 0
    printed = capsys.readouterr().out.split()
    endings = {"png", "pdf"} | (
        {"gif"} if figure == "margins_during_training" else set()
    )
    assert {path.name for path in out.iterdir()} == {f"{figure}.{e}" for e in endings}
    assert printed == [
        str(out / f"{figure}.{e}") for e in ("png", "pdf", "gif") if e in endings
    ]
    assert (out / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(out / f"{figure}.png") as picture:
        assert min(picture.size) > 200
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    if "gif" in endings:
        with Image.open(out / f"{figure}.gif") as film:
            assert film.n_frames >= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--figure"),
        (["--figure=circle"], "circle"),
        (["--figure=landscape"], "--model"),
        (["--figure=adversarial_grid"], "--model"),
        (["--figure=margins_during_training"], "--run_dir"),
        (["--figure=landscape", "--model=nowhere"], "nowhere"),
        (["--figure=landscape", "--model=a", "--model=a"], "--model=a twice"),
        (["--figure=landscape", "--model=a", "--reach=0"], "--reach=0"),
        (["--figure=margins_during_training", "--run_dir=nowhere"], "nowhere"),
        (["--figure=landscape", "--model={model}", "--image=360"], "--image=360"),
        (["--figure=landscape", "--model=a", "--reach=1e300"], "--reach=1e+300"),
        (["--figure=landscape", "--model=a", "--reach=far"], "--reach"),
        (["--figure=adversarial_grid", "--model=a", "--num_images=9"], "num_images"),
        (["--figure=margin", "--model=a"], "--model"),
        (["--figure=one_dimension", "--norm=l2"], "--norm"),
        (["--figure=landscape", "--model=a", "--num_images=2"], "--num_images"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments, message, model, tmp_path, capsys):
    given = [a.format(model=model) for a in arguments]
    assert main([*given, f"--out={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
