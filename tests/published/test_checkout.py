"""What the checkout itself publishes: figures, cards and models belong together."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import mma_tf
from mma_tf import zoo
from mma_tf.cli import results
from mma_tf.load import load_classifier
from mma_tf.published.plan import read_plan
from mma_tf.published.records import read_records
from mma_tf.recipes import is_named
from tests.recipes.commands import recipe_of

ROOT = pathlib.Path(__file__).parents[2]
RECORDS = read_records(ROOT / "results")
MOST_BYTES = 60_000_000


def test_readme_and_cards_say_what_the_records_say(capsys):
    assert results.main(["--check"]) == 0, capsys.readouterr().err
    assert RECORDS


def test_every_record_is_of_a_model_with_a_card_and_is_shown():
    plan = read_plan(ROOT / "results")
    tables = [table for table in plan.tables if table.shows == "evaluations"]
    shown = {model for table in tables for model in table.models}
    for record in RECORDS:
        assert record.model in zoo.card_names()
        assert record.model in shown


@pytest.mark.parametrize("name", zoo.card_names())
def test_a_cards_command_trains_by_its_recipe(name):
    card = zoo.read_card(name)
    recipe = card["recipe"]
    if not is_named(recipe["dataset"]):
        pytest.skip("what its command leaves out depends on the data")
    found = recipe_of(card["command"])
    said = json.loads(json.dumps(dataclasses.asdict(found)))
    # An older card lacks the numbers that came later.
    assert {n: said[n] for n in recipe} == recipe


def test_all_models_together_stay_small():
    files = [path for path in zoo.FOLDER.rglob("*") if path.is_file()]
    assert files
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


@pytest.mark.parametrize("name", zoo.model_names())
def test_a_model_is_the_one_that_was_judged_and_loads(name):
    card = zoo.read_card(name)
    images = np.zeros((2, *card["input"]["shape"]), np.float32)
    found = load_classifier(name, images, num_classes=len(card["class_names"]))
    judged = {r.about["sha256"] for r in RECORDS if r.model == name}
    assert judged == {found.sha256}
    logits = mma_tf.load_model(name)(images)
    np.testing.assert_allclose(
        logits, found.logits_fn(tf.constant(images)), rtol=1e-4, atol=1e-4
    )
    assert "-dirty" not in card["versions"]["git_revision"]
