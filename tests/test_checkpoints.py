"""Checkpoints: exact to the bit, and proof against damage."""

import pathlib
import resource

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf import MMAModel
from mma_tf.checkpoints import Checkpoints
from mma_tf.errors import RunError
from mma_tf.training import StandardModel
from tests.classifiers import random_examples, small_network

NUM_EXAMPLES = 12


def built(model, optimizer):
    """The model as a training has it before its first step."""
    model.compile(optimizer)
    model.build((None, 6, 6, 1))
    model.optimizer.build(model.classifier.trainable_variables)
    return model


def small_model(value=0.0):
    """A model that is cheap to make, every variable of it at `value`."""
    network = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten()])
    network.add(keras.layers.Dense(2))
    model = built(StandardModel(network), keras.optimizers.SGD(0.1, momentum=0.9))
    set_all(model, value)
    return model


def variables(model):
    return [*model.variables, *model.optimizer.variables]


def set_all(model, value):
    for variable in variables(model):
        variable.assign(np.full(variable.shape, value, variable.dtype))


def state_of(model):
    return [variable.numpy() for variable in variables(model)]


def assert_state_is(model, value):
    for found in state_of(model):
        np.testing.assert_array_equal(found, np.full_like(found, value))


@pytest.fixture
def saved(tmp_path):
    """A folder with the checkpoints of steps 10, 20 and 30."""
    model = small_model()
    checkpoints = Checkpoints(tmp_path, model)
    for step in (10, 20, 30):
        set_all(model, step)
        checkpoints.save(step)
    return tmp_path


def restore(folder):
    """Restores into a new model: the model, the step, what was said."""
    model, said = small_model(), []
    step = Checkpoints(folder, model).restore_newest(say=said.append)
    return model, step, said


def damage(path, kind):
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "emptied":
        path.write_bytes(b"")
    elif kind == "flipped":
        middle = len(content) // 2
        flipped = bytes(255 - byte for byte in content[middle : middle + 8])
        path.write_bytes(content[:middle] + flipped + content[middle + 8 :])
    else:
        path.unlink()


def trained_mma(*, epochs):
    keras.utils.set_random_seed(0)
    network = small_network(batch_norm=True)
    model = MMAModel(
        network,
        norm="linf",
        d_max=0.2,
        num_examples=NUM_EXAMPLES,
        attack_steps=2,
        search_steps=3,
        direction_memory=True,
    )
    built(model, keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9))
    if epochs:
        images, labels = random_examples(np.random.default_rng(0), NUM_EXAMPLES)
        inputs = {"image": images, "index": np.arange(NUM_EXAMPLES)}
        data = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(6)
        model.fit(data, epochs=epochs, shuffle=False, verbose=0)
    return model


def test_restores_every_variable_bit_by_bit(tmp_path):
    model = trained_mma(epochs=3)
    assert np.any(model.memory.kept.numpy() > 0)
    before = state_of(model)
    Checkpoints(tmp_path, model).save(6)
    other = trained_mma(epochs=0)
    assert Checkpoints(tmp_path, other).restore_newest() == 6
    after = state_of(other)
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert old.dtype == new.dtype
        np.testing.assert_array_equal(old, new)
    assert int(other.steps_done.numpy()) == 6
    np.testing.assert_array_equal(other.memory.kept.numpy(), model.memory.kept.numpy())
    directions = model.directions.kept.numpy()
    assert np.any(directions)
    np.testing.assert_array_equal(other.directions.kept.numpy(), directions)


def test_an_empty_folder_is_step_zero_and_touches_nothing(tmp_path):
    model = small_model(5)
    assert Checkpoints(tmp_path, model).restore_newest() == 0
    assert_state_is(model, 5)


def test_restores_the_newest_by_its_number_and_says_nothing(saved):
    model, step, said = restore(saved)
    assert (step, said) == (30, [])
    assert_state_is(model, 30)


def test_the_newest_is_the_largest_number_not_the_last_in_the_alphabet(tmp_path):
    model = small_model()
    checkpoints = Checkpoints(tmp_path, model)
    for step in (9, 10):
        set_all(model, step)
        checkpoints.save(step)
    assert restore(tmp_path)[1] == 10


def test_only_the_last_few_are_kept_also_after_a_restart(saved):
    model = small_model()
    checkpoints = Checkpoints(saved, model)
    checkpoints.restore_newest()
    checkpoints.save(40)
    kept = sorted(path.name for path in saved.glob("step-*.index"))
    assert kept == ["step-20.index", "step-30.index", "step-40.index"]
    assert not list(saved.glob("step-10.*"))


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("kind", ["truncated", "emptied", "flipped"])
def test_a_damaged_newest_gives_way_to_the_one_before(part, kind, saved):
    damage(saved / f"step-30.{part}", kind)
    model, step, said = restore(saved)
    assert step == 20
    assert_state_is(model, 20)
    (sentence,) = said
    assert "step 30" in sentence
    assert "damaged" in sentence
    assert "\n" not in sentence
    # It is gone, so that the same is not said again.
    assert restore(saved)[1:] == (20, [])


def test_a_missing_data_file_is_damage(saved):
    damage(saved / "step-30.data-00000-of-00001", "removed")
    model, step, said = restore(saved)
    assert step == 20
    assert len(said) == 1
    assert_state_is(model, 20)


def test_two_damaged_ones_give_way_to_the_third(saved):
    for step in (20, 30):
        damage(saved / f"step-{step}.data-00000-of-00001", "flipped")
    model, step, said = restore(saved)
    assert (step, len(said)) == (10, 2)
    assert_state_is(model, 10)


def test_tensorflows_own_list_of_earlier_runs_is_not_needed(saved):
    (saved / "checkpoint").write_bytes(b"\x00\xffnonsense {")
    model, step, said = restore(saved)
    assert (step, said) == (30, [])
    assert_state_is(model, 30)
    (saved / "checkpoint").unlink(missing_ok=True)
    assert restore(saved)[1:] == (30, [])


def test_one_that_was_cut_off_while_it_was_written_does_not_count(saved, monkeypatch):
    def killed(path, target):
        assert path.name.startswith("step-40.")
        raise KeyboardInterrupt

    model = small_model()
    checkpoints = Checkpoints(saved, model)
    # Nothing has its name before all of it is there.
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(40)
    model, step, said = restore(saved)
    assert (step, said) == (30, [])
    assert_state_is(model, 30)
    checkpoints.save(40)
    assert restore(saved)[1] == 40


def test_a_first_one_that_was_cut_off_is_no_damage(tmp_path):
    folder = tmp_path / "unfinished"
    folder.mkdir()
    (folder / "step-4.index").write_bytes(b"half")
    model = small_model(5)
    checkpoints = Checkpoints(tmp_path, model)
    assert checkpoints.restore_newest() == 0
    checkpoints.save(4)
    assert restore(tmp_path)[1:] == (4, [])
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [
        ".data-00000-of-00001",
        ".index",
    ]


def test_training_goes_on_after_damage(saved):
    damage(saved / "step-30.index", "truncated")
    model = small_model()
    checkpoints = Checkpoints(saved, model)
    assert checkpoints.restore_newest(say=lambda sentence: None) == 20
    set_all(model, 31)
    checkpoints.save(30)
    model, step, said = restore(saved)
    assert (step, said) == (30, [])
    assert_state_is(model, 31)


def test_all_damaged_is_an_error_that_says_so(saved):
    for step in (10, 20, 30):
        damage(saved / f"step-{step}.index", "truncated")
    with pytest.raises(RunError, match="All checkpoints") as caught:
        restore(saved)
    assert str(saved) in str(caught.value)
    assert "\n" not in str(caught.value)
    # What someone might yet rescue stays.
    assert len(list(saved.glob("step-*.data-*"))) == 3


def test_a_failed_save_says_what_is_intact_and_leaves_it(saved):
    model = small_model()
    checkpoints = Checkpoints(saved, model)
    checkpoints.restore_newest()
    before = {p.name: p.read_bytes() for p in saved.glob("step-*")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk, no file can grow beyond so many bytes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(RunError, match="step 40") as caught:
            checkpoints.save(40)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "step 30" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {p.name: p.read_bytes() for p in saved.glob("step-*")} == before
    model, step, said = restore(saved)
    assert (step, said) == (30, [])
    assert_state_is(model, 30)
    # With room again, the same one goes on.
    checkpoints.save(40)
    assert restore(saved)[1] == 40


def test_a_first_save_that_fails_says_that_there_is_none(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.write_text("in the way")
    checkpoints = Checkpoints(folder, small_model())
    with pytest.raises(RunError, match="none yet"):
        checkpoints.save(1)
