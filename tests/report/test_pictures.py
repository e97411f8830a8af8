"""The pictures: what they show, in a size that can be read, the same each time."""

import io

import numpy as np
import pytest
from PIL import Image

from mma_tf.report.drawing import png_bytes, shorten
from mma_tf.report.gallery import gallery_figure
from mma_tf.report.pictures import margins_figure, robust_accuracy_figure
from tests.report.made_up import make_evaluation, make_gallery


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(png_bytes(figure))))


def texts(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def legend_texts(holder):
    legends = holder.legends if hasattr(holder, "legends") else [holder.get_legend()]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def points(axes):
    """The markers' places, a list for each model."""
    return [container.lines[0].get_xydata() for container in axes.containers]


def test_robust_accuracy_at_each_radius_from_zero_on():
    evaluation = make_evaluation("digits")
    figure = robust_accuracy_figure([evaluation], {0.05: "5e-2", 0.1: "0.1"})
    [axes] = figure.axes
    expected = [[0, 17 / 20], [0.05, 12 / 20], [0.1, 7 / 20]]
    np.testing.assert_allclose(points(axes)[0], expected)
    assert texts(axes) == ["0", "5e-2", "0.1"]
    assert legend_texts(figure) == ["digits"]
    assert "linf" in axes.get_xlabel()
    assert "pixel units" in axes.get_xlabel()


def test_error_bars_are_wilson_intervals():
    evaluation = make_evaluation()
    [axes] = robust_accuracy_figure([evaluation]).axes
    [bars] = axes.containers[0].lines[2]
    ends = [segment[:, 1] for segment in bars.get_segments()]
    expected = [evaluation.interval(eps) for eps in (None, 0.05, 0.1)]
    np.testing.assert_allclose(ends, expected)


def test_points_of_several_models_stand_beside_their_radius():
    names = [f"model {number}" for number in range(6)]
    figure = robust_accuracy_figure([make_evaluation(name) for name in names])
    [axes] = figure.axes
    places = np.array(points(axes))
    assert legend_texts(figure) == names
    np.testing.assert_allclose(places[:, 2, 0].mean(), 0.1)
    assert np.ptp(places[:, 2, 0]) < 0.05 * 0.1
    assert len({tuple(part[2]) for part in places}) == 6
    colours = {container.lines[0].get_color() for container in axes.containers}
    assert len(colours) == 6


def test_radii_that_are_close_share_an_ordinary_axis():
    close = make_evaluation(eps=(0.01, 0.011, 0.3))
    [axes] = robust_accuracy_figure([close]).axes
    assert "0.011" not in texts(axes)


def test_margins_give_the_share_without_an_error_beyond_each_length():
    figure = robust_accuracy_figure([make_evaluation("a", eps=())])
    [axes] = figure.axes
    places, shares = axes.lines[0].get_data()
    sizes = make_evaluation(eps=()).sizes
    for place, share in zip(places, shares, strict=True):
        assert share == pytest.approx(np.mean(sizes > place))
    assert (places[0], shares[0]) == (0, 17 / 20)
    assert shares[-1] == 2 / 20
    assert axes.lines[0].get_drawstyle() == "steps-post"


def test_a_histogram_counts_every_image_once():
    figure = margins_figure(
        [make_evaluation("a", eps=()), make_evaluation("b", eps=())]
    )
    assert len(figure.axes) == 2
    for axes, name in zip(figure.axes, "ab", strict=True):
        assert axes.get_title(loc="left") == name
        [stairs] = [part for part in axes.patches if hasattr(part, "get_data")]
        counts, edges, _ = stairs.get_data()
        assert np.sum(counts) == pytest.approx(15 / 20)
        assert edges[0] == 0
        [bar] = [part for part in axes.patches if part is not stairs]
        assert bar.get_height() == pytest.approx(3 / 20)
        assert bar.get_x() + bar.get_width() < 0
        assert legend_texts(axes) == [
            "wrong as it is: 15.0 %",
            "error found: 75.0 %",
            "none found, not drawn: 10.0 %",
        ]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


@pytest.mark.parametrize("sizes", [[np.inf] * 4, [0.0] * 4, [0.0, np.inf, 0.0, np.inf]])
@pytest.mark.parametrize("eps", [(), (0.1,)])
def test_nothing_found_at_all_can_be_drawn(sizes, eps):
    evaluation = make_evaluation(sizes=sizes, eps=eps)
    for draw in (robust_accuracy_figure, margins_figure):
        assert len(png_bytes(draw([evaluation]))) > 1000


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_gallery_shows_image_error_and_change(channels):
    gallery = make_gallery(channels=channels)
    figure = gallery_figure(make_evaluation(gallery=gallery), ["zero", "one", "two"])
    titles = [axes.get_title() for axes in figure.axes]
    # The sizes are 0.1, which is the largest change; nothing; 0.
    assert titles[:3] == ["image 3:\nzero", "taken for:\none", "change x 10\nlinf 0.1"]
    assert titles[3:6] == ["image 4:\none", "no error\nfound", ""]
    assert titles[6:] == [
        "image 5:\ntwo",
        "taken for:\nzero",
        "wrong as it is,\nno change",
    ]
    shown = np.asarray(figure.axes[2].images[0].get_array())
    change = 10 * (gallery.adversarial[0].astype(float) - gallery.images[0])
    expected = 0.5 + 0.5 * change
    if channels != 3:
        expected = expected.mean(axis=-1)
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    # Grey is no change.
    assert np.all(np.asarray(figure.axes[8].images[0].get_array()) == 0.5)


@pytest.mark.parametrize("shown", [1, 3, 4, 5, 8])
def test_every_example_of_a_gallery_has_its_place(shown):
    evaluation = make_evaluation(gallery=make_gallery(shown=shown))
    figure = gallery_figure(evaluation)
    titles = [axes.get_title() for axes in figure.axes]
    for number in range(shown):
        assert f"image {number + 3}:\n{number % 3}" in titles


def test_the_size_in_pixels():
    evaluations = [make_evaluation(f"model {number}") for number in range(3)]
    height, width, _ = pixels(robust_accuracy_figure(evaluations)).shape
    assert (width, height) == (1050, 708)
    assert pixels(margins_figure(evaluations)).shape[:2] == (1050, 1050)
    figure = gallery_figure(make_evaluation(gallery=make_gallery(shown=8)))
    assert pixels(figure).shape[:2] == (1327, 1559)


@pytest.mark.parametrize("draw", [robust_accuracy_figure, margins_figure])
@pytest.mark.parametrize("eps", [(), (0.1,)])
def test_a_picture_follows_from_the_figures_alone(draw, eps):
    first = png_bytes(draw([make_evaluation(eps=eps)]))
    assert first == png_bytes(draw([make_evaluation(eps=eps)]))
    others = np.linspace(0, 0.2, 20)
    assert first != png_bytes(draw([make_evaluation(eps=eps, sizes=others)]))
    assert b"tEXt" not in first
    assert b"tIME" not in first


def test_names_are_no_formulas_and_hide_nothing():
    names = ["_private", "$x_1$ and $", "zwölf 数字", "long" * 40]
    figure = robust_accuracy_figure([make_evaluation(name) for name in names])
    assert len(png_bytes(figure)) > 1000
    shown = legend_texts(figure)
    assert [text.strip() for text in shown[:3]] == names[:3]
    assert len(shown[3]) <= 70
    gallery = gallery_figure(make_evaluation(names[1]), ["$", "数", "_"])
    assert len(png_bytes(gallery)) > 1000


def test_a_long_name_keeps_both_its_ends():
    assert shorten("short") == "short"
    name = shorten("begin" + "-" * 100 + "end")
    assert name.startswith("begin")
    assert name.endswith("end")
    assert len(name) <= 70


def test_no_settings_of_matplotlib_are_read_or_left():
    import matplotlib

    before = dict(matplotlib.rcParams)
    first = png_bytes(robust_accuracy_figure([make_evaluation()]))
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9}):
        assert png_bytes(robust_accuracy_figure([make_evaluation()])) == first


def test_pyplot_knows_of_no_picture():
    from matplotlib import pyplot

    png_bytes(robust_accuracy_figure([make_evaluation()]))
    assert pyplot.get_fignums() == []
