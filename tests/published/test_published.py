"""Published models and figures: what a card, a record, a table and a picture say."""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure

import mma_tf
from mma_tf import zoo
from mma_tf.cli import evaluate, publish, results, train
from mma_tf.errors import UserError
from mma_tf.evaluation.results import SCHEMA_VERSION
from mma_tf.evaluation.statistics import wilson_interval
from mma_tf.export import export_classifier
from mma_tf.published.pictures import draw
from mma_tf.published.plan import read_plan
from mma_tf.published.records import read_records, write_records
from mma_tf.recipes import resolve
from tests.integration.command import SMALL
from tests.report.made_up import make_check, make_evaluation

CONTEXT = {
    "models": {"runs/a": {"sha256": "ab" * 32}},
    "data": {"dataset": "digits", "split": "test", "num_examples": 20, "of": 360},
}
DIGITS = {"dataset": "digits", "norm": "linf"}
PLAN = {
    "published": {
        "theirs": {
            "label": "Theirs, as published",
            "clean": 0.9895,
            "robust": [["autoattack", 0.05, 0.914], ["paper", 0.1, 0.5]],
        }
    },
    "tables": [
        {**DIGITS, "mark": "first", "models": ["a", "b"], "published": ["theirs"]}
    ],
    "pictures": [
        {
            **DIGITS,
            "name": "robust",
            "kind": "robust_accuracy",
            "title": "Digits",
            "suite": "autoattack",
            "models": ["a", "b"],
            "published": ["theirs"],
        },
        {
            **DIGITS,
            "name": "margins",
            "kind": "margins",
            "title": "Margins",
            "suite": "autoattack",
            "models": ["a"],
        },
        {
            **DIGITS,
            "name": "cost",
            "kind": "training_cost",
            "title": "Cost",
            "models": ["a"],
        },
    ],
}
README = """# Title

<!-- results:first:begin -->
old
<!-- results:first:end -->

The end.
"""


def card(name, **changes):
    return {
        "name": name,
        "command": "bin/train --dataset=digits",
        "sha256": "ab" * 32,
        "input": {"shape": [8, 8, 1]},
        "class_names": ["0", "1", "2"],
        "training": {"examples": 12800, "cpu_hours": 0.25},
        "recipe": {"dataset": "digits", "norm": "linf"},
        "validations": [
            {"step": 5, "train_cpu_hours": 0.1, "val_average_margin": 0.05},
            {"step": 10, "train_cpu_hours": 0.2, "val_average_margin": 0.1},
        ],
        "figures": [],
        **changes,
    }


def record(folder, model, *, about=None, context=None, **changes):
    evaluation = make_evaluation(model, **changes)
    context = {**CONTEXT, **(context or {})}
    context["models"] = {
        **context["models"],
        model: about or {"sha256": "ab" * 32},
    }
    names = {model: pathlib.PurePath(model).name}
    return write_records([evaluation], folder, context=context, names=names)


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "plan.json").write_text(json.dumps(PLAN))
    (tmp_path / "README.md").write_text(README)
    for name in ("a", "b"):
        zoo.write_card(name, card(name), tmp_path / "models")
    return tmp_path


def show(checkout, *arguments):
    return results.main(
        [
            f"--results_dir={checkout / 'results'}",
            f"--models_dir={checkout / 'models'}",
            f"--readme={checkout / 'README.md'}",
            *arguments,
        ]
    )


def test_a_model_that_was_read_in_two_ways_is_refused(checkout, capsys):
    usual = {"sha256": "ab" * 32, "signature": "serve", "input_range": [0.0, 1.0]}
    (first,) = record(checkout / "results", "a", about=usual)
    for changes, part in (
        ({"input_range": [0.0, 255.0]}, "range-0-255"),
        ({"signature": "probe"}, "signature-probe"),
    ):
        (other,) = record(checkout / "results", "a", about=usual | changes)
        # The right one is still there.
        assert other.name == f"{first.stem}_{part}.json"
        assert first.exists()
        assert show(checkout) == 2
        err = capsys.readouterr().err
        assert f"Invalid record: {other.stem} is of a with another" in err
        assert err.count("\n") == 1
        other.unlink()
    assert show(checkout) == 0


def test_a_record_is_named_by_what_was_judged_and_read_as_it_was_written(tmp_path):
    (path,) = record(tmp_path, "runs/a")
    assert path.name == "a_digits_linf_autoattack_eps-0.05-0.1_n20_s5.json"
    (found,) = read_records(tmp_path)
    evaluation = make_evaluation("runs/a")
    assert (found.model, found.num_examples) == ("a", 20)
    clean, *robust = found.figures()
    assert (clean.suite, clean.eps, clean.accuracy) == ("", 0.0, evaluation.accuracy)
    assert clean.interval == tuple(evaluation.interval())
    for figure, eps in zip(robust, evaluation.eps, strict=True):
        assert (figure.suite, figure.norm, figure.eps) == ("autoattack", "linf", eps)
        assert figure.accuracy == evaluation.robust_accuracy[eps]
        assert figure.interval == tuple(evaluation.interval(eps))
    assert record(tmp_path, "runs/a") == [path]
    assert len(read_records(tmp_path)) == 1


def test_the_histogram_counts_every_image_once():
    evaluation = make_evaluation("a")
    bins = evaluation.margin_histogram()
    assert sum(bins["counts"]) + bins["wrong"] + bins["not_found"] == 20
    assert bins["wrong"] == np.sum(~evaluation.correct)


def test_results_put_records_into_readme_cards_and_pictures(checkout, capsys):
    record(checkout / "results", "runs/a")
    assert show(checkout, "--check") == 1
    assert "README.md" in capsys.readouterr().err
    assert (checkout / "README.md").read_text() == README
    assert show(checkout) == 0
    capsys.readouterr()
    text = (checkout / "README.md").read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("The end.\n")
    assert "old" not in text
    evaluation = make_evaluation("a")
    head, _, theirs, ours = [line for line in text.splitlines() if line[:1] == "|"]
    assert "| clean | ε 0.05, autoattack | ε 0.1, paper | ε 0.1, autoattack |" in head
    assert "| Theirs, as published | - | 98.95 | 91.40 | 50.00 | - |" in theirs
    low, high = evaluation.interval(0.05)
    accuracy = 100 * evaluation.robust_accuracy[0.05]
    assert f"{accuracy:.2f} ({100 * low:.1f} to {100 * high:.1f})" in ours
    assert ours.startswith("| `a` | 20 |")
    assert ours.endswith("| 12,800 | 0.25 |")
    figures = zoo.read_card("a", checkout / "models")["figures"]
    assert [f["suite"] for f in figures] == ["clean", "autoattack", "autoattack"]
    assert {(f["dataset"], f["split"]) for f in figures} == {("digits", "test")}
    assert figures[1]["accuracy"] == evaluation.robust_accuracy[0.05]
    assert figures[1]["attacks"]
    assert (checkout / "results" / figures[1]["record"]).is_file()
    assert zoo.read_card("b", checkout / "models")["figures"] == []
    for name in ("robust", "margins", "cost"):
        assert (checkout / "results" / f"{name}.png").stat().st_size > 5000
    assert show(checkout, "--check") == 0
    assert show(checkout) == 0
    assert "up to date" in capsys.readouterr().out


def test_a_record_of_other_weights_than_the_models_is_refused(checkout, capsys):
    record(checkout / "results", "runs/a")
    other = card("a", sha256="cd" * 32)
    zoo.write_card("a", other, checkout / "models")
    assert show(checkout) == 2
    assert "is of another model" in capsys.readouterr().err
    assert zoo.read_card("a", checkout / "models") == other


def test_records_of_another_norm_or_dataset_have_no_place_in_a_table(checkout):
    record(checkout / "results", "runs/a")
    assert show(checkout) == 0
    before = (checkout / "README.md").read_text()
    record(checkout / "results", "runs/a", norm="l2", sizes=np.full(20, 0.001))
    assert len(read_records(checkout / "results")) == 2
    assert show(checkout) == 0
    assert (checkout / "README.md").read_text() == before


def validated(name, flags=""):
    """Returns a card with what validation found at its steps 5, the best, and 10."""
    line = {"val_accuracy": 0.96, "val_robust_accuracy": 0.5, "val_average_margin": 0.2}
    made = card(
        name,
        command=f"bin/train --dataset=digits --norm=linf {flags}",
        validations=[{"step": 5, **line}, {"step": 10, **line, "val_accuracy": 0.9}],
        validation_attack="PGD-20, linf, eps 0.15",
    )
    made["training"] |= {"best_step": 5, "steps": 10}
    made["recipe"] |= {"validation_size": 200}
    return made


@pytest.fixture
def options(checkout):
    """Returns a checkout whose only table shows validations."""
    table = {**PLAN["tables"][0], "shows": "validations"}
    plan = {**PLAN, "tables": [table], "pictures": []}
    (checkout / "results" / "plan.json").write_text(json.dumps(plan))
    zoo.write_card("a", validated("a", "--seed=3"), checkout / "models")
    zoo.write_card("b", validated("b", "--ema=false"), checkout / "models")
    return checkout


def test_a_table_of_validations_tells_what_a_flag_is_worth(options, capsys):
    assert show(options) == 0
    text = (options / "README.md").read_text()
    head, _, first, second = [line for line in text.splitlines() if line[:1] == "|"]
    assert "| flags | clean | robust | average margin | best step |" in head
    low, high = wilson_interval(192, 200)
    clean = f"96.00 ({100 * low:.1f} to {100 * high:.1f})"
    assert first.startswith(f"| `a` | `--seed=3` | {clean} | 50.00 (")
    assert first.endswith("| 0.2000 | 5 of 10 | 0.25 |")
    assert second.startswith(f"| `b` | `--ema=false` | {clean} |")
    assert text.count("200 validation images, PGD-20, linf, eps 0.15.") == 1
    assert "besides `bin/train --dataset=digits --norm=linf`." in text
    assert show(options, "--check") == 0
    # No record is shown by it.
    record(options / "results", "runs/a")
    capsys.readouterr()
    assert show(options) == 0
    assert "Shown nowhere" in capsys.readouterr().out


def test_a_card_of_another_norm_has_no_place_among_the_validations(options):
    other = validated("b")
    other["recipe"]["norm"] = "l2"
    zoo.write_card("b", other, options / "models")
    assert show(options) == 0
    text = (options / "README.md").read_text()
    assert "| `a` | - |" in text
    assert "`b`" not in text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda card: card.pop("validation_attack"),
        lambda card: card["validations"].clear(),
        lambda card: card["training"].clear(),
    ],
)
def test_a_card_without_its_validation_is_named(options, spoil, capsys):
    old = validated("b")
    spoil(old)
    zoo.write_card("b", old, options / "models")
    assert show(options) == 2
    error = capsys.readouterr().err
    assert "Invalid card: that of b" in error
    assert error.count("\n") == 1
    assert (options / "README.md").read_text() == README


def figures_of(checkout, model):
    text = (checkout / "README.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{model}` |")]
    return [cell.split() for cell in row.strip("| ").split(" | ")[2:-2]]


def test_of_two_figures_of_one_thing_the_lower_counts(checkout):
    record(checkout / "results", "runs/a")
    # Another seed, which found an error of every image between the two radii.
    record(checkout / "results", "runs/a", seed=6, sizes=np.full(20, 0.07))
    assert show(checkout) == 0
    clean, smaller, _, larger = figures_of(checkout, "a")
    robust = make_evaluation("a").robust_accuracy
    assert float(clean[0]) == 85
    assert float(smaller[0]) == 100 * robust[0.05] == 60
    assert float(larger[0]) == 0


def test_two_models_of_one_name_are_refused(checkout, capsys):
    (checkout / "models" / "a" / "card.json").unlink()
    record(checkout / "results", "runs/a")
    assert show(checkout) == 0
    other = {"sha256": "cd" * 32}
    record(checkout / "results", "runs/a", seed=6, about=other)
    assert show(checkout) == 2
    assert "is of another model" in capsys.readouterr().err


def test_doubts_of_the_sanity_checks_stand_beside_the_figures(checkout):
    record(checkout / "results", "runs/a")
    assert show(checkout) == 0
    assert "†" not in (checkout / "README.md").read_text()
    record(checkout / "results", "runs/a", checks=(make_check(flagged=True),))
    assert show(checkout) == 0
    clean, smaller, _, larger = figures_of(checkout, "a")
    assert "†" not in clean
    assert smaller[-1] == larger[-1] == "†"
    text = (checkout / "README.md").read_text()
    assert "\n\n† `a`, autoattack: Outputs lie in [0, 1].\n<!--" in text
    figures = zoo.read_card("a", checkout / "models")["figures"]
    assert [len(f["doubts"]) for f in figures] == [0, 1, 1]


def test_a_doubt_about_one_radius_marks_its_figure_alone(checkout):
    checks = (make_check(flagged=True, eps=0.1), make_check(eps=0.05))
    record(checkout / "results", "runs/a", checks=checks)
    assert show(checkout) == 0
    _, smaller, _, larger = figures_of(checkout, "a")
    assert "†" not in smaller
    assert larger[-1] == "†"


def test_figures_of_other_images_do_not_stand_side_by_side(checkout, capsys):
    images = {"data": {**CONTEXT["data"], "examples_sha256": "12" * 32}}
    record(checkout / "results", "runs/a", context=images)
    record(checkout / "results", "runs/b", context=images)
    assert show(checkout) == 0
    images = {"data": {**CONTEXT["data"], "examples_sha256": "34" * 32}}
    record(checkout / "results", "runs/b", context=images)
    assert show(checkout) == 2
    assert "is of other images than a_digits" in capsys.readouterr().err


def test_a_model_that_its_card_is_not_about_is_refused(checkout, capsys):
    saved = checkout / "models" / "a" / "saved_model"
    saved.mkdir()
    (saved / "saved_model.pb").write_bytes(b"other")
    assert show(checkout) == 2
    assert "is not the one that card.json" in capsys.readouterr().err
    with pytest.raises(UserError, match="is not the one"):
        zoo.find_in_zoo("a", checkout / "models")


def test_what_a_killed_publishing_left_is_no_model(checkout):
    record(checkout / "results", "runs/a")
    assert show(checkout) == 0
    zoo.write_card(".b.previous", card("b"), checkout / "models")
    assert zoo.card_names(checkout / "models") == ["a", "b"]
    assert show(checkout, "--check") == 0


def test_a_name_in_the_plan_with_nothing_to_show_is_told(checkout, capsys):
    plan = json.dumps(PLAN).replace('["a", "b"]', '["a", "bb"]')
    (checkout / "results" / "plan.json").write_text(plan)
    record(checkout / "results", "runs/a")
    assert show(checkout) == 0
    assert "with nothing to show: bb" in capsys.readouterr().out


def spoilt(part, value):
    """Returns a plan with something that cannot be."""
    plan = json.loads(json.dumps(PLAN))
    plan["pictures"][0][part] = value
    return json.dumps(plan)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (spoilt("suite", "papr"), "suite 'papr' is none of"),
        (spoilt("norm", "lnf"), "norm 'lnf' is none of"),
        (spoilt("models", "a"), "'a' is no list of names"),
        (spoilt("name", "../robust"), "is no name of a file"),
        (json.dumps(PLAN).replace("0.9895", "98.95"), "98.95 is not from 0 to 1"),
    ],
)
def test_a_slip_in_the_plan_is_named(checkout, plan, message, capsys):
    (checkout / "results" / "plan.json").write_text(plan)
    assert show(checkout) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("part", ["sha256", "seed", "attacks", "sanity_checks"])
def test_a_record_that_lacks_a_part_is_named(checkout, part, capsys):
    (path,) = record(checkout / "results", "runs/a")
    contents = json.loads(path.read_text())
    del contents["models"][0][part]
    path.write_text(json.dumps(contents))
    assert show(checkout) == 2
    assert f"{path.name} lacks a part" in capsys.readouterr().err


def test_attacks_that_are_no_match_have_columns_of_their_own(tmp_path):
    record(tmp_path, "runs/a")
    record(tmp_path, "runs/b", has_gradient=False)
    # No black-box attack is made in the place of this suite.
    lent = {"models": {"other": {"sha256": "ef" * 32}}, "transfer_from": ["other"]}
    record(tmp_path, "runs/d", has_gradient=False, suite="transfer", context=lent)
    for source in ("ab", "cd"):
        lent = {
            "models": {"other": {"sha256": source * 32}},
            "transfer_from": ["other"],
        }
        record(tmp_path, "runs/c", context=lent)
    found = {r.name: r.suite for r in read_records(tmp_path)}
    assert len(found) == 5
    assert len(set(found.values())) == 5
    assert {"autoattack", "black_box"} < set(found.values())
    assert any(suite.startswith("transfer from") for suite in found.values())


def test_a_judged_model_that_lent_its_images_is_named(tmp_path):
    evaluations = [make_evaluation("runs/a"), make_evaluation("runs/b")]
    models = {"runs/a": {"sha256": "ab" * 32}, "runs/b": {"sha256": "cd" * 32}}
    context = {**CONTEXT, "models": models, "transfer_from": ["runs/b"]}
    names = {"runs/a": "a", "runs/b": "b"}
    write_records(evaluations, tmp_path, context=context, names=names)
    sources = {r.model: list(r.contents["sources"]) for r in read_records(tmp_path)}
    assert sources == {"a": ["runs/b"], "b": []}


def test_folders_of_pictures_are_told_apart(tmp_path):
    for digest in ("ab", "cd"):
        data = {"dataset": "image_folder", "split": "test"}
        data["examples_sha256"] = digest * 32
        record(tmp_path, "runs/a", context={"data": data})
    assert len(read_records(tmp_path)) == 2


def test_margins_stand_in_the_card(checkout):
    record(checkout / "results", "runs/a", eps=())
    assert show(checkout) == 0
    figures = zoo.read_card("a", checkout / "models")["figures"]
    assert [f["suite"] for f in figures] == ["clean", "margins"]
    assert figures[1]["margins"] == make_evaluation("a", eps=()).margin_statistics()


def test_margins_of_other_images_are_no_row_of_a_table(checkout, capsys):
    record(checkout / "results", "runs/a")
    assert show(checkout) == 0
    before = (checkout / "README.md").read_text()
    capsys.readouterr()
    data = {**CONTEXT["data"], "examples_sha256": "cd" * 32}
    record(checkout / "results", "runs/a", eps=(), context={"data": data})
    assert show(checkout) == 0
    assert (checkout / "README.md").read_text() == before
    # The plan's picture of margins is one of another suite.
    assert (
        "Shown nowhere, as plan.json does not name them: a_" in capsys.readouterr().out
    )


def test_pictures_are_checked_too(checkout, capsys):
    record(checkout / "results", "runs/a")
    assert show(checkout) == 0
    path = checkout / "results" / "robust.png"
    before = path.read_bytes()
    path.unlink()
    assert show(checkout, "--check") == 1
    assert "robust.png" in capsys.readouterr().err
    assert show(checkout) == 0
    assert path.read_bytes() == before
    record(checkout / "results", "runs/a", sizes=np.full(20, 0.07))
    assert show(checkout, "--check") == 1
    assert path.read_bytes() == before
    assert show(checkout) == 0
    assert path.read_bytes() != before
    for kept in (checkout / "results").glob("a_*.json"):
        kept.unlink()
    assert show(checkout) == 0
    assert not path.exists()


def test_records_that_are_shown_nowhere_are_named(checkout, capsys):
    record(checkout / "results", "runs/a")
    assert show(checkout) == 0
    assert "Shown nowhere" not in capsys.readouterr().out
    record(checkout / "results", "runs/unknown")
    assert show(checkout) == 0
    assert "them: unknown_digits_linf" in capsys.readouterr().out


def test_a_figure_changed_by_hand_is_found(checkout):
    record(checkout / "results", "runs/a")
    assert show(checkout) == 0
    readme = checkout / "README.md"
    readme.write_text(readme.read_text().replace("98.95", "99.95"))
    assert show(checkout, "--check") == 1


def test_a_model_without_a_record_has_no_row_and_no_line(checkout):
    plan = read_plan(checkout / "results")
    assert show(checkout) == 0
    assert "`a`" not in (checkout / "README.md").read_text()
    assert draw(plan.pictures[0], [], {}) is None
    assert not (checkout / "results" / "robust.png").exists()
    record(checkout / "results", "runs/a")
    figure = draw(plan.pictures[0], read_records(checkout / "results"), {})
    assert isinstance(figure, Figure)
    (legend,) = figure.legends
    texts = {text.get_text() for text in legend.texts}
    assert texts == {"a, 20 images", "Theirs, as published"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: (c / "results" / "plan.json").unlink(), "plan.json"),
        (lambda c: (c / "results" / "plan.json").write_text("{}"), "published"),
        (
            lambda c: (c / "results" / "plan.json").write_text('{"published": []}'),
            "plan.json",
        ),
        (
            lambda c: (c / "results" / "x_y.json").write_text(
                json.dumps({"kind": "record", "schema_version": SCHEMA_VERSION})
            ),
            "lacks a part",
        ),
        (lambda c: (c / "README.md").write_bytes(b"\xff"), "is not UTF-8"),
        (lambda c: (c / "results" / "x_y.json").write_text("{"), "x_y.json"),
        (lambda c: (c / "results" / "x_y.json").write_text("{}"), "evaluate again"),
        (lambda c: (c / "models" / "a" / "card.json").write_text("?"), "card.json"),
        (lambda c: (c / "models" / "a" / "card.json").write_text("[]"), "card.json"),
        (
            lambda c: (c / "models" / "a" / "card.json").write_text(
                json.dumps(card("a", training=None))
            ),
            "card.json",
        ),
        (
            lambda c: (c / "results" / "plan.json").write_text(
                json.dumps(PLAN).replace('"margins"', '"pie"')
            ),
            "'pie' is none of",
        ),
        (
            lambda c: (c / "results" / "plan.json").write_text(
                json.dumps(PLAN).replace('"mark"', '"shows": "all", "mark"')
            ),
            "'all' is none of",
        ),
        (lambda c: (c / "README.md").write_text("nothing"), "results:first:begin"),
        (lambda c: (c / "README.md").unlink(), "--readme="),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_nothing_is_lost(
    checkout, spoil, message, capsys
):
    record(checkout / "results", "runs/a")
    spoil(checkout)
    before = {path: path.read_bytes() for path in checkout.rglob("*.*")}
    assert show(checkout) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in checkout.rglob("*.*")} == before


def test_a_name_that_is_not_kept_says_how_to_train_it(tmp_path, monkeypatch):
    zoo.write_card("a", card("a"), tmp_path)
    assert zoo.card_names(tmp_path) == ["a"]
    assert zoo.model_names(tmp_path) == []
    assert zoo.find_in_zoo("b", tmp_path) is None
    with pytest.raises(UserError, match="bin/train --dataset=digits"):
        zoo.find_in_zoo("a", tmp_path)


@pytest.mark.slow
def test_from_a_run_to_a_published_model_and_its_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "models")
    flags = ["--dataset=digits", "--norm=linf", "--dmax=0.3", *SMALL]
    flags += ["--nodeterministic", "--precision=mixed_bfloat16", "--run_dir=run"]
    assert train.main(flags) == 0
    arguments = ["--run_dir=run", "--models_dir=models"]
    assert publish.main([*arguments, "--name=mine"]) == 0
    assert publish.main([*arguments, "--name=card-alone", "--noweights"]) == 0
    assert zoo.model_names() == ["mine"]
    found = zoo.read_card("mine")
    assert found["command"].startswith("bin/train --dataset=digits --norm=linf")
    assert "--precision=mixed_bfloat16" in found["command"]
    assert found["training"]["steps"] == 12
    assert found["training"]["examples"] == 12 * 50
    assert found["training"]["hours"] >= 0
    assert [line["step"] for line in found["validations"]] == [6, 12]
    assert found["validation_attack"].startswith("PGD-2, linf, eps 0.15, ")
    assert "cores" in found["versions"]["processor"]
    size = sum(p.stat().st_size for p in (tmp_path / "models" / "mine").rglob("*.*"))
    best = sum(p.stat().st_size for p in (tmp_path / "run" / "best").rglob("*.*"))
    assert size < 0.6 * best
    again = [*arguments, "--name=twice"]
    assert publish.main(again) == 0
    assert publish.main([*again, "--noweights"]) == 2
    assert "--replace" in capsys.readouterr().err
    assert publish.main([*again, "--noweights", "--replace"]) == 0
    assert not (tmp_path / "models" / "twice" / "saved_model").exists()

    images = mma_tf.data.load("digits").test.images_in_unit_range()[:40]
    classifier = mma_tf.load_model("mine")
    loaded = tf.saved_model.load(tmp_path / "models" / "mine" / "saved_model")
    logits = classifier(images).numpy()
    np.testing.assert_allclose(loaded.serve(images), logits, rtol=1e-5, atol=1e-5)
    exact = mma_tf.load_model("run")(images).numpy()
    np.testing.assert_allclose(logits, exact, atol=1e-3 * np.abs(exact).max())
    assert np.any(logits != exact)

    capsys.readouterr()
    judge = ["--dataset=digits", "--norm=linf", "--eps=0.05", "--suite=quick"]
    judge += ["--num_examples=20", "--record=results", "--nodeterministic"]
    assert evaluate.main(["--model=mine", *judge]) == 0
    (record_of,) = read_records(tmp_path / "results")
    assert record_of.model == "mine"
    assert record_of.about["path"] == "models/mine/saved_model"
    assert record_of.about["sha256"] == found["sha256"]
    # The place of the records is one machine's.
    said = "bin/evaluate --model=mine --dataset=digits --norm=linf --eps=0.05 "
    said += "--suite=quick --num_examples=20 --nodeterministic"
    assert record_of.contents["command"] == said
    assert evaluate.main(["--model=run", "--model=run/last", *judge]) == 0
    kept = {r.model for r in read_records(tmp_path / "results")}
    assert kept == {"mine", "run", "run-last"}
    (tmp_path / "other").mkdir()
    (tmp_path / "run").rename(tmp_path / "other" / "mine")
    assert evaluate.main(["--model=mine", "--model=other/mine", *judge]) == 2
    assert "Received: mine, mine" in capsys.readouterr().err
    # Its weights are those before they were rounded.
    assert evaluate.main(["--model=other/mine", *judge]) == 2
    assert "the name mine is another model's" in capsys.readouterr().err
    assert evaluate.main(["--model=mine", "--input_range=0,255", *judge]) == 2
    assert "wants images in 0,1" in capsys.readouterr().err
    (tmp_path / "file").touch()
    nowhere = [part for part in judge if "record" not in part]
    assert evaluate.main(["--model=mine", *nowhere, "--record=file/in"]) == 2
    assert "--record=file/in" in capsys.readouterr().err
    assert evaluate.main(["--model=card-alone", *judge]) == 2
    assert "train it by bin/train" in capsys.readouterr().err
    assert evaluate.main(["--model=mime", *judge]) == 2
    assert "did you mean mine?" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_network_of_the_users_own_is_built_without_its_file(
    precision, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "models")
    keras.config.set_dtype_policy(precision)
    own = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    own.save("own.keras")
    flags = [*SMALL, "--nodeterministic", "--network=own.keras", "--run_dir=run"]
    assert train.main([*flags, f"--precision={precision}"]) == 0
    (tmp_path / "own.keras").unlink()
    assert publish.main(["--run_dir=run", "--models_dir=models"]) == 0
    images = mma_tf.data.load("digits").test.images_in_unit_range()[:10]
    judged = tf.saved_model.load(tmp_path / "run" / "best" / "saved_model")
    for name in ("run/best", zoo.FOLDER / "run"):
        loaded = mma_tf.load_model(name)
        assert loaded.compute_dtype == "float32"
        np.testing.assert_allclose(
            loaded(images), judged.serve(images), rtol=1e-2, atol=1e-2
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--run_dir="),
        (["--run_dir=nowhere"], "--run_dir=nowhere"),
        (["--run_dir=.", "--name=a/b"], "--name=a/b"),
        (["--run_dir=.", "--name=best"], "--name=best"),
        (["--run_dir=.", "--name=.mine.previous"], "--name=.mine.previous"),
        (["--run_dir=.", "--name=a|b"], "--name=a|b"),
        (["--run_dir=."], "expected a finished run"),
    ],
)
def test_what_cannot_be_published_is_told(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert publish.main([*arguments, "--models_dir=models"]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--replace"], []])
@pytest.mark.parametrize(
    ("models_dir", "name", "message"),
    [
        ("runs", "a", "apart from the run"),
        (".", "runs", "apart from the run"),
        (".", "docs", "is no published model"),
    ],
)
def test_a_model_takes_the_place_of_nothing_else(
    arguments, models_dir, name, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for path in ("runs/a/summary.json", "docs/page.md"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("{}")
    places = [f"--models_dir={models_dir}", f"--name={name}", "--run_dir=runs/a"]
    assert publish.main([*places, *arguments]) == 2
    assert message in capsys.readouterr().err
    kept = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")}
    assert kept == {"runs/a/summary.json", "docs/page.md"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "time.json").write_text("{"), "JSONDecodeError"),
        (lambda run: (run / "best" / "classifier.json").unlink(), "classifier.json"),
        (
            lambda run: (run / "summary.json").write_text(
                (run / "summary.json").read_text().replace('"d_max"', '"dmax"')
            ),
            "d",
        ),
    ],
)
def test_a_damaged_run_is_not_published(spoil, message, tmp_path, capsys):
    classifier = mma_tf.models.small_cnn()
    run = tmp_path / "run"
    recipe = resolve("digits", "linf").recipe
    about = {"step": 1, "class_names": ["0"] * 10, "output": "logits"}
    about |= {"input": {"shape": [8, 8, 1]}, "recipe": dataclasses.asdict(recipe)}
    export_classifier(classifier, run / "best", about)
    (run / "time.json").write_text('{"seconds": 1.0}')
    summary = {"recipe": dataclasses.asdict(recipe), "versions": {}}
    (run / "summary.json").write_text(json.dumps(summary))
    arguments = [f"--run_dir={run}", f"--models_dir={tmp_path / 'models'}"]
    assert publish.main(arguments) == 0
    before = zoo.read_card("run", tmp_path / "models")
    spoil(run)
    assert publish.main([*arguments, "--replace"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert zoo.read_card("run", tmp_path / "models") == before


def test_a_foreign_saved_model_is_no_model_of_ours(tmp_path):
    module = tf.Module()
    module.serve = tf.function(
        lambda images: images[:, 0, :3, 0],
        input_signature=[tf.TensorSpec((None, 8, 8, 1))],
    )
    tf.saved_model.save(module, tmp_path / "theirs")
    with pytest.raises(UserError, match=r"tf\.saved_model\.load"):
        mma_tf.load_model(tmp_path / "theirs")
