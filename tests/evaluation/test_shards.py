"""The examples in shards: the same accuracies, whoever judges which of them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.errors import UserError
from mma_tf.evaluation import evaluate, judging, make_stages, suite_run
from mma_tf.locks import held
from tests.classifiers import linear_on_grey

NUM_EXAMPLES = 23


class Stop(Exception):
    """Ends a run from within."""


@pytest.fixture(scope="module")
def linear():
    # The first shard of four has no image that is right, and the gallery none of it.
    return linear_on_grey(num_examples=NUM_EXAMPLES, num_wrong=6)


def judge(subject, **options):
    arguments = {
        "norm": "linf",
        "eps": [0.01, 0.03],
        "suite": "quick",
        "batch_size": 4,
        "run_checks": False,
    }
    of = (subject.logits_fn, subject.images, subject.labels)
    return evaluate(*of, **(arguments | options))


def assert_same(one, other):
    for name in ("correct", "robust", "fooled_by"):
        np.testing.assert_array_equal(
            getattr(one, name), getattr(other, name), err_msg=name
        )
    np.testing.assert_allclose(one.sizes, other.sizes, atol=1e-6)
    np.testing.assert_array_equal(one.gallery.indices, other.gallery.indices)
    np.testing.assert_array_equal(one.gallery.predictions, other.gallery.predictions)
    np.testing.assert_allclose(
        one.gallery.adversarial, other.gallery.adversarial, atol=1e-5
    )
    # Passes through the network count idle places of batches, too, and these differ.
    work = {"forward_passes": 0, "backward_passes": 0, "seconds": 0.0}
    for ours, theirs in zip(one.stages, other.stages, strict=True):
        assert dataclasses.replace(ours, **work) == dataclasses.replace(theirs, **work)


@pytest.mark.parametrize("num_shards", [4, NUM_EXAMPLES])
def test_shards_change_no_figure(linear, num_shards):
    whole = judge(linear)
    assert 0 < np.sum(whole.correct) < NUM_EXAMPLES
    assert_same(whole, judge(linear, num_shards=num_shards))


def test_nor_a_margin(linear, monkeypatch):
    stages = make_stages("margins", norm="l2", num_classes=5)
    monkeypatch.setattr(judging, "make_stages", lambda *_, **__: stages[1:3])
    options = {"suite": "margins", "eps": (), "norm": "l2"}
    assert_same(judge(linear, **options), judge(linear, **options, num_shards=4))


def test_a_network_stays_as_robust_though_other_errors_may_be_found(linear):
    rng = np.random.default_rng(0)
    first = rng.normal(size=(16, 8)).astype("float32")
    second = rng.normal(size=(8, 5)).astype("float32")

    def logits_fn(batch):
        hidden = tf.sin(4.0 * tf.matmul(tf.reshape(batch - 0.5, [-1, 16]), first))
        return tf.matmul(hidden, second)

    labels = np.argmax(logits_fn(linear.images), axis=1)
    network = dataclasses.replace(linear, logits_fn=logits_fn, labels=labels)
    whole = judge(network, eps=[0.01])
    sharded = judge(network, eps=[0.01], num_shards=NUM_EXAMPLES)
    assert 0 < np.sum(whole.robust) < NUM_EXAMPLES
    np.testing.assert_array_equal(whole.robust, sharded.robust)
    assert [s.num_fooled for s in whole.stages] == [
        s.num_fooled for s in sharded.stages
    ]
    assert (whole.num_shards, sharded.num_shards) == (1, NUM_EXAMPLES)


def test_random_numbers_are_those_of_the_whole(linear):
    # They decide where Square's and SPSA's errors are.
    options = {"suite": "black_box", "eps": [0.02]}
    whole = judge(linear, **options)
    assert_same(whole, judge(linear, **options, num_shards=3))


def test_two_processes_divide_the_shards(linear, tmp_path):
    """The second begins while the first is at its first shard, and waits at the end."""
    first_calls, second_calls = [], []

    def second(progress):
        if progress.stage == "waiting for other processes":
            raise Stop
        second_calls.append(progress.shard)

    def first(progress):
        first_calls.append(progress.shard)
        if len(first_calls) == 1:
            with pytest.raises(Stop):
                judge(linear, num_shards=3, save_to=tmp_path, on_progress=second)

    found = judge(linear, num_shards=3, save_to=tmp_path, on_progress=first)
    assert set(first_calls) == {1}
    assert set(second_calls) == {2, 3}
    assert_same(found, judge(linear))
    # All is there: whoever comes later attacks nothing again.
    first_calls.clear()
    again = judge(
        linear, num_shards=3, save_to=tmp_path, on_progress=first_calls.append
    )
    assert first_calls == []
    assert_same(found, again)
    assert found.seconds == again.seconds


def test_the_shard_of_a_killed_process_is_taken_over(linear, tmp_path, monkeypatch):
    monkeypatch.setattr(suite_run, "_SAVE_SECONDS", 0.0)
    calls = []

    def stop_soon(progress):
        calls.append(progress)
        if len(calls) % 9 == 0:
            raise Stop

    def go_on():
        return judge(linear, num_shards=3, save_to=tmp_path, on_progress=stop_soon)

    for _ in range(3):
        with pytest.raises(Stop):
            go_on()
    assert calls[-1].shard > 1
    resumed = judge(linear, num_shards=3, save_to=tmp_path)
    assert_same(resumed, judge(linear))


def test_the_state_of_other_shards_is_not_read(linear, tmp_path):
    images, labels = linear.images[:22], linear.labels[:22]
    even = dataclasses.replace(linear, images=images, labels=labels)

    def random_fn(batch):
        # Known again by its shard alone, as it answers otherwise each time.
        noise = tf.random.normal([tf.shape(batch)[0], 5], 0.0, 1e-2)
        return linear.logits_fn(batch) + noise

    random = dataclasses.replace(even, logits_fn=random_fn)
    for subject, folder in ((even, tmp_path / "a"), (random, tmp_path / "b")):
        judge(subject, num_shards=2, save_to=folder)
        first, second = (folder / f"shard-{n}-of-2" / "state.npz" for n in (1, 2))
        first.replace(second)
        with pytest.raises(UserError, match="state of another model, data or suite"):
            judge(subject, num_shards=2, save_to=folder)


def test_two_processes_do_not_write_one_state(linear, tmp_path):
    def stop_when_waiting(progress):
        if progress.stage == "waiting for other processes":
            raise Stop

    with held(tmp_path / ".lock"), pytest.raises(Stop):
        judge(linear, save_to=tmp_path, on_progress=stop_when_waiting)
    assert_same(judge(linear, save_to=tmp_path), judge(linear))


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_damaged_state_is_named(linear, is_cut, tmp_path):
    judge(linear, save_to=tmp_path)
    state = tmp_path / "state.npz"
    if is_cut:
        state.write_bytes(state.read_bytes()[:1000])
    else:
        np.savez(state, something=np.zeros(3))
    with pytest.raises(UserError, match=r"`save_to`: .*state\.npz is damaged"):
        judge(linear, save_to=tmp_path)


def test_what_one_process_saw_right_is_right_for_all(linear, tmp_path):
    """Near a tie another machine, and a random model always, may answer otherwise."""
    first = judge(linear, num_shards=4, save_to=tmp_path)
    state = tmp_path / "shard-3-of-4" / "state.npz"
    with np.load(state) as saved:
        arrays = dict(saved)
    arrays["records/correct"][:] = False
    arrays["records/robust"][:] = False
    arrays["records/sizes"][:] = 0.0
    np.savez(state, **arrays)
    found = judge(linear, num_shards=4, save_to=tmp_path)
    changed = slice(NUM_EXAMPLES * 2 // 4, NUM_EXAMPLES * 3 // 4)
    assert first.correct[changed].any()
    assert not found.correct[changed].any()
    np.testing.assert_array_equal(found.sizes == 0, ~found.correct)
    assert not np.any(found.robust & ~found.correct)
    assert np.all(found.correct[found.gallery.indices])


@pytest.mark.parametrize("num_shards", [0, NUM_EXAMPLES + 1])
def test_a_number_that_cannot_be_is_named(linear, num_shards):
    with pytest.raises(UserError, match=f"`num_shards`.*num_shards={num_shards}$"):
        judge(linear, num_shards=num_shards)
