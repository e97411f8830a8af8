"""The figures for programs: those of the evaluation, as plain JSON and arrays."""

import json

import numpy as np
import pytest

from mma_tf.errors import UserError
from mma_tf.evaluation.statistics import wilson_interval
from mma_tf.report import read_results, write_report
from mma_tf.report.json_report import make_results, per_example_arrays, results_text
from tests.report.made_up import make_evaluation

CONTEXT = {
    "models": {
        "first": {
            "path": "runs/first/best",
            "kind": "SavedModel",
            "sha256": "ab" * 32,
            "signature": "serve",
            "input_range": [0, 1],
        },
        "source": {"sha256": "cd" * 32},
    },
    "data": {"dataset": "digits", "split": "test", "num_examples": 20, "of": 360},
    "command": "bin/evaluate --model=first",
    "versions": {"python": "3.11.7"},
    "eps_text": {0.05: "5e-2"},
    "class_names": ["zero", "one", "two"],
}


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


def as_read(evaluations, context=CONTEXT):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = results_text(make_results(evaluations, context))
    return json.loads(text, parse_constant=refuse)


def test_setting_data_and_model_are_named():
    results = as_read([make_evaluation("first")])
    assert results["schema_version"] == 1
    assert (results["suite"], results["norm"]) == ("autoattack", "linf")
    assert results["data"] == CONTEXT["data"]
    assert results["command"] == CONTEXT["command"]
    assert results["versions"] == {"python": "3.11.7"}
    assert results["class_names"] == CONTEXT["class_names"]
    [model] = results["models"]
    assert model["name"] == "first"
    assert model.items() >= CONTEXT["models"]["first"].items()
    assert (model["seed"], model["batch_size"]) == (5, 10)
    assert model["has_gradient"] is True
    assert results["sources"] == {"source": {"sha256": "cd" * 32}}


def test_radii_are_numbers_and_the_users_texts():
    results = as_read([make_evaluation("first")])
    assert results["eps"] == [
        {"value": 0.05, "text": "5e-2"},
        {"value": 0.1, "text": "0.1"},
    ]
    [model] = results["models"]
    assert [part["eps_text"] for part in model["robust"]] == ["5e-2", "0.1"]
    assert [stage["eps_text"] for stage in model["attacks"]] == ["5e-2"] * 2 + [
        "0.1"
    ] * 2


def test_accuracies_are_those_of_the_evaluation_with_their_intervals():
    evaluation = make_evaluation("first")
    [model] = as_read([evaluation])["models"]
    assert model["clean"] == {
        "accuracy": evaluation.accuracy,
        "interval_95": list(wilson_interval(17, 20)),
        "num_right": 17,
    }
    for part, (eps, share) in zip(
        model["robust"], evaluation.robust_accuracy.items(), strict=True
    ):
        assert (part["eps"], part["accuracy"]) == (eps, share)
        assert part["interval_95"] == list(evaluation.interval(eps))
    assert model["average_accuracy"] == evaluation.average_accuracy()
    assert model["average_robust_accuracy"] == evaluation.average_robust_accuracy()


def test_every_attack_with_parameters_and_costs():
    evaluation = make_evaluation("first")
    [model] = as_read([evaluation])["models"]
    assert len(model["attacks"]) == len(evaluation.stages) == 4
    for attack, stage in zip(model["attacks"], evaluation.stages, strict=True):
        # What is infinite has no JSON.
        assert attack["parameters"] == {**stage.attack, "limit": None}
        for name in (
            "name",
            "num_passes",
            "targeted",
            "source",
            "seed",
            "eps",
            "num_attacked",
            "num_fooled",
            "accuracy",
            "forward_passes",
            "backward_passes",
            "seconds",
        ):
            assert attack[name] == getattr(stage, name), name
        right = round(20 * stage.accuracy)
        assert attack["interval_95"] == list(wilson_interval(right, 20))
    assert model["total"] == {
        "seconds": 7.25,
        "forward_passes": sum(stage.forward_passes for stage in evaluation.stages),
        "backward_passes": sum(stage.backward_passes for stage in evaluation.stages),
    }
    [check] = model["sanity_checks"]
    assert check["flagged"] is False
    assert set(check) == {"name", "flagged", "found", "meaning", "advice", "eps"}


def test_margins_without_an_error_are_null():
    [model] = as_read([make_evaluation("first", eps=(), sizes=[0.1] + [np.inf] * 19)])[
        "models"
    ]
    assert model["margins"]["median"] is None
    assert model["margins"]["mean_of_found"] == pytest.approx(0.1)
    assert model["margins"]["not_found"] == 0.95
    assert model["robust"] == []
    assert model["average_accuracy"] is None
    assert model["attacks"][0]["eps"] is None
    assert model["attacks"][0]["accuracy"] == 0.95


def test_an_empty_context_is_enough():
    results = as_read([make_evaluation()], {})
    [model] = results["models"]
    assert model["sha256"] is None
    assert results["data"] == {"num_examples": 20}
    assert results["command"] is None
    # Those of this process.
    assert results["versions"]["numpy"] == np.__version__


def test_numpy_and_paths_in_the_context_become_plain(tmp_path):
    context = {
        "models": {"model": {"path": tmp_path, "input_range": np.array([0.0, 255.0])}},
        "data": {"of": np.int64(7), "share": np.float32("nan")},
    }
    results = as_read([make_evaluation()], context)
    assert results["models"][0]["path"] == str(tmp_path)
    assert results["models"][0]["input_range"] == [0, 255]
    assert results["data"] == {"of": 7, "share": None, "num_examples": 20}


def test_the_keys_keep_their_order():
    def text():
        return results_text(make_results([make_evaluation("first")], CONTEXT))

    assert text() == text()
    assert text().index('"schema_version"') < text().index('"models"')


def test_what_was_written_is_read_again(tmp_path):
    write_report([make_evaluation("first")], tmp_path, context=CONTEXT)
    from_folder = read_results(tmp_path)
    assert from_folder == read_results(tmp_path / "results.json")
    assert from_folder == as_read([make_evaluation("first")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 99}', "schema version 99"),
        ("{}", "schema version None"),
        ("[]", "schema version None"),
        ('{"schema_version": 1', "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_other_files_are_refused(text, message, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_results(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_results(tmp_path / "results.json")


def test_arrays_of_each_model_under_its_number(tmp_path):
    evaluations = [
        make_evaluation("runs/a/best"),
        make_evaluation("zwölf", eps=(0.05, 0.1)),
    ]
    write_report(evaluations, tmp_path, context={})
    with np.load(tmp_path / "per_example.npz", allow_pickle=False) as arrays:
        assert arrays["models"].tolist() == ["runs/a/best", "zwölf"]
        assert arrays["eps"].tolist() == [0.05, 0.1]
        for number, evaluation in enumerate(evaluations):
            for name in (
                "labels",
                "predictions",
                "correct",
                "robust",
                "fooled_by",
                "sizes",
            ):
                saved = arrays[f"model_{number}/{name}"]
                np.testing.assert_array_equal(saved, getattr(evaluation, name))
        assert len(arrays.files) == 2 + 2 * 6


def test_arrays_of_margins_have_no_radii():
    arrays = per_example_arrays([make_evaluation(eps=())])
    assert arrays["eps"].shape == (0,)
    assert arrays["model_0/robust"].shape == (0, 20)
