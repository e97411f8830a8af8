"""The callbacks, in real trainings of small Keras models."""

import itertools
import json
import os
import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from mma_tf.errors import RunError, UserError
from mma_tf.evaluation import Judgement, RobustnessMeter
from mma_tf.models.inference import inference_logits_fn
from mma_tf.models.precision import in_float32
from mma_tf.training import StandardModel
from mma_tf.training.averaging import averaged_weights
from mma_tf.training.callbacks import (
    BestByMargin,
    Checkpointing,
    CosineSchedule,
    Interrupted,
    MarginValidation,
    PiecewiseSchedule,
    PlainProgress,
    StopOnNonFinite,
    StopOnSignal,
    Throughput,
    TrainingTime,
)
from tests.classifiers import random_examples

# With batches of 8, four steps an epoch.
IMAGES, LABELS = random_examples(np.random.default_rng(0), 32)
JUDGEMENT = Judgement("linf", 0.1, 0.05, num_steps=2, max_eps=0.3, num_search_steps=4)
KEYS = {
    "val_accuracy",
    "val_robust_accuracy",
    "val_average_margin",
    "val_above_max_eps",
}


def plain_model(*, optimizer=None, **settings):
    """A Keras model as anyone has one, compiled with a Keras loss."""
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    model.compile(
        optimizer or keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **settings,
    )
    return model


def fit(model, *callbacks, epochs=1):
    return model.fit(
        IMAGES,
        LABELS,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )


def validation(**settings):
    return MarginValidation(IMAGES[:10], LABELS[:10], JUDGEMENT, **settings)


class Spy(keras.callbacks.Callback):
    """Keeps the logs of each step and each epoch as later callbacks see them."""

    def __init__(self):
        super().__init__()
        self.steps, self.epochs = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(dict(logs))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(dict(logs))


class AfterStep(keras.callbacks.Callback):
    """Calls `action` after one step of the epoch, the first being 1."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.action()


class OtherMargins(keras.callbacks.Callback):
    """Reports given margins, one a step."""

    def __init__(self, values):
        super().__init__()
        self.values = iter(values)

    def on_train_batch_end(self, batch, logs=None):
        logs["val_average_margin"] = next(self.values)


def records_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# MarginValidation


def test_validates_a_plain_keras_model_at_the_end_of_each_epoch():
    spy = Spy()
    model = plain_model()
    history = fit(model, validation(), spy, epochs=2).history
    assert history.keys() >= KEYS
    assert len(history["val_average_margin"]) == 2
    assert not any(KEYS & logs.keys() for logs in spy.steps)
    meter = RobustnessMeter(inference_logits_fn(model), JUDGEMENT)
    summary = meter.measure(IMAGES[:10], LABELS[:10]).summary()
    for name, value in summary.items():
        assert history[f"val_{name}"][-1] == value


def test_a_classifier_in_half_precision_is_judged_as_the_float_model_it_becomes():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = plain_model()
    spy = Spy()
    fit(model, validation(every_steps=1), spy)
    twin = in_float32(model)
    assert twin is not model
    meter = RobustnessMeter(inference_logits_fn(twin), JUDGEMENT)
    summary = meter.measure(IMAGES[:10], LABELS[:10]).summary()
    for name, value in summary.items():
        assert spy.steps[-1][f"val_{name}"] == value


def test_validates_every_so_many_steps_over_epochs_and_at_the_last():
    spy = Spy()
    fit(plain_model(), validation(every_steps=3, last_step=8), spy, epochs=2)
    validated = [n for n, logs in enumerate(spy.steps, 1) if logs.keys() >= KEYS]
    assert validated == [3, 6, 8]


def test_goes_on_counting_in_a_second_fit(tmp_path):
    path = tmp_path / "validations.jsonl"
    validate = validation(every_steps=3, record_path=path)
    model = plain_model()
    for _ in range(2):
        fit(model, validate)
    assert [line["step"] for line in records_of(path)] == [3, 6]


def test_one_callback_serves_several_calls_of_fit(tmp_path):
    validate = validation(log_dir=tmp_path)
    model = plain_model()
    for _ in range(2):
        fit(model, validate)
    assert [e.step for e in events_of(tmp_path) if tag_of(e) == "loss"] == [4, 8]


def test_keras_own_callbacks_can_monitor_it(tmp_path):
    path = tmp_path / "best.weights.h5"
    stop = keras.callbacks.EarlyStopping(
        monitor="val_average_margin", mode="max", patience=1, min_delta=10.0
    )
    keep = keras.callbacks.ModelCheckpoint(
        path,
        monitor="val_average_margin",
        mode="max",
        save_best_only=True,
        save_weights_only=True,
    )
    spy = Spy()
    fit(plain_model(), validation(), keep, stop, spy, epochs=6)
    # No margin can be better by ten.
    assert len(spy.epochs) == 2
    kept = plain_model()
    kept.load_weights(path)
    meter = RobustnessMeter(inference_logits_fn(kept), JUDGEMENT)
    best = meter.measure(IMAGES[:10], LABELS[:10]).summary()["average_margin"]
    assert best == max(logs["val_average_margin"] for logs in spy.epochs)


def test_what_it_judges_is_the_whole_model_whatever_its_parts_are_called():
    class Pretrained(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten = keras.layers.Flatten()
            self.classifier = keras.layers.Dense(3)

        def call(self, images):
            return self.classifier(self.flatten(images))

    model = Pretrained()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    assert fit(model, validation()).history.keys() >= KEYS


def test_validating_by_step_leaves_keras_history_alone():
    """What an epoch reports is the mean over the epoch, validated or not."""
    without, having = (
        fit(plain_model_with_seed(), *callbacks, epochs=2).history
        for callbacks in ([], [validation(every_steps=2)])
    )
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(having[name], without[name], rtol=1e-6)


def plain_model_with_seed():
    keras.utils.set_random_seed(1)
    return plain_model()


def test_validation_changes_nothing_of_the_training():
    results = []
    for callbacks in ([], [validation(every_steps=1)]):
        model = plain_model_with_seed()
        fit(model, *callbacks, epochs=2)
        results.append(model.get_weights())
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_records_a_line_of_json_for_each_validation(tmp_path):
    path = tmp_path / "validations.jsonl"
    spy = Spy()
    fit(plain_model(), validation(every_steps=2, record_path=path), spy)
    lines = records_of(path)
    assert [line["step"] for line in lines] == [2, 4]
    for line in lines:
        logs = spy.steps[line["step"] - 1]
        for name in (*KEYS, "loss", "accuracy"):
            assert line[name] == pytest.approx(logs[name])
        assert line["learning_rate"] == pytest.approx(0.1)
        assert line["val_examples"] == 10
        assert line["val_seconds"] > 0


@pytest.mark.parametrize("max_eps", [0.3, 0.1, np.float64(0.1)])
def test_every_example_is_in_the_histogram(max_eps, tmp_path):
    """Those beyond max_eps too, in the last bin, whatever float32 makes of it."""
    path = tmp_path / "validations.jsonl"
    model = plain_model(optimizer=keras.optimizers.SGD(0.0))
    kernel, _ = model.get_weights()
    # Always class 0, and beyond all doubt: other labels have margin 0.
    model.set_weights([np.zeros_like(kernel), np.array([9.0, 0.0, 0.0])])
    settings = Judgement("linf", 0.05, 0.05, 1, max_eps=max_eps, num_search_steps=4)
    fit(model, MarginValidation(IMAGES, LABELS, settings, record_path=path))
    (line,) = records_of(path)
    histogram = line["val_margin_histogram"]
    assert histogram["lowest"] == 0.0
    assert histogram["highest"] == pytest.approx(max_eps)
    counts = histogram["counts"]
    assert counts[0] == np.sum(LABELS != 0)
    assert counts[-1] == np.sum(LABELS == 0)
    assert sum(counts) == 32


def events_of(folder):
    paths = sorted(folder.glob("events.out.tfevents.*"))
    return [event for path in paths for event in EventFileLoader(str(path)).Load()]


def tag_of(event):
    return event.summary.value[0].tag if event.summary.value else None


def test_writes_events_for_tensorboard(tmp_path):
    spy = Spy()
    fit(plain_model(), validation(every_steps=2, log_dir=tmp_path / "events"), spy)
    found = {}
    for event in events_of(tmp_path / "events"):
        for value in event.summary.value:
            found[value.tag, event.step] = tf.make_ndarray(value.tensor)
    for step in (2, 4):
        for name in (*KEYS, "loss"):
            assert found[name, step] == pytest.approx(spy.steps[step - 1][name])
        assert found["learning_rate", step] == pytest.approx(0.1)
        # Rows of (left end, right end, count).
        histogram = found["val_margin", step]
        assert np.sum(histogram[:, 2]) == 10
        assert np.max(histogram[:, 1]) <= 0.3 + 1e-6


def test_events_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match=r"events .* cannot be written to .*file"):
        fit(plain_model(), validation(every_steps=2, log_dir=tmp_path / "file" / "e"))


def test_a_stop_between_batches_is_passed_on():
    class StopError(Exception):
        pass

    def stop():
        raise StopError

    with pytest.raises(StopError):
        fit(plain_model(), validation(on_batch=stop))


def test_judges_the_classifier_that_our_models_wrap():
    model = StandardModel(plain_model())
    model.compile(keras.optimizers.SGD(0.1))
    assert fit(model, validation()).history.keys() >= KEYS


# BestByMargin and averaged weights


def test_keeps_the_model_at_records_only():
    saved = []
    best = BestByMargin(lambda step, value: saved.append((step, value)), best=0.1)
    margins = [0.05, 0.2, 0.2, 0.3]
    fit(plain_model(), OtherMargins(margins), best)
    assert saved == [(2, 0.2), (4, 0.3)]
    assert best.best == 0.3


def test_a_margin_that_is_no_number_is_no_record():
    saved = []
    best = BestByMargin(lambda step, value: saved.append(value))
    fit(plain_model(), OtherMargins([0.2, float("nan"), 0.1, 0.3]), best)
    assert saved == [0.2, 0.3]


def test_what_could_not_be_saved_is_no_record():
    def fail(step, value):
        raise OSError

    best = BestByMargin(fail)
    with pytest.raises(OSError):
        fit(plain_model(), OtherMargins([0.2]), best)
    assert best.best == float("-inf")


def test_reads_the_validation_that_stands_before_it():
    saved = []
    best = BestByMargin(lambda step, value: saved.append(step))
    fit(plain_model(), validation(every_steps=2), best)
    assert saved[0] == 2
    by_epoch = BestByMargin(lambda step, value: saved.append(value))
    history = fit(plain_model(), validation(), by_epoch).history
    assert saved[-1] == history["val_average_margin"][0]


def averaging(momentum=0.9):
    return keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=momentum)


class Weights(keras.callbacks.Callback):
    """Keeps the weights after each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.model.get_weights())


def test_saves_the_averaged_weights_and_trains_on_with_the_others():
    model, weights, saved = plain_model(optimizer=averaging()), Weights(), []
    best = BestByMargin(lambda step, value: saved.append(model.get_weights()))
    fit(model, OtherMargins([0.1, 0.2, 0.3, 0.4]), best, weights)
    average = weights.seen[0]
    for now, kept in zip(weights.seen[1:], saved[1:], strict=True):
        average = [0.9 * a + 0.1 * w for a, w in zip(average, now, strict=True)]
        for expected, found in zip(average, kept, strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert np.max(np.abs(saved[-1][0] - weights.seen[-1][0])) > 1e-3


def test_validates_the_averaged_weights():
    margins = []
    for optimizer in (averaging(0.99), keras.optimizers.SGD(0.5)):
        keras.utils.set_random_seed(1)
        spy = Spy()
        fit(plain_model(optimizer=optimizer), validation(every_steps=4), spy)
        margins.append(spy.steps[-1]["val_average_margin"])
    assert margins[0] != margins[1]


@pytest.mark.parametrize("fails", [False, True])
def test_weights_come_back_bit_by_bit(fails):
    model, done = plain_model(optimizer=averaging()), []

    def look():
        before = model.get_weights()
        try:
            with averaged_weights(model):
                during = model.get_weights()
                if fails:
                    raise RuntimeError
        except RuntimeError:
            pass
        assert np.any(during[0] != before[0])
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        done.append(True)

    fit(model, AfterStep(3, look))
    assert done


def test_without_averages_the_weights_are_the_weights():
    model = plain_model()
    before = model.get_weights()
    with averaged_weights(model):
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("is_built", [False, True])
def test_before_the_first_step_the_average_is_the_weights_themselves(is_built):
    model = plain_model(optimizer=averaging())
    if is_built:
        model.optimizer.build(model.trainable_variables)
    before = model.get_weights()
    with averaged_weights(model):
        during = model.get_weights()
    for old, new in zip(before, during, strict=True):
        np.testing.assert_array_equal(old, new)


def test_averages_below_a_loss_scale_are_found():
    optimizer = keras.optimizers.LossScaleOptimizer(averaging())
    model, changed = plain_model(optimizer=optimizer), []

    def look():
        before = model.get_weights()[0]
        with averaged_weights(model):
            changed.append(np.any(model.get_weights()[0] != before))

    fit(model, AfterStep(3, look))
    assert changed == [True]


# PiecewiseSchedule


class Rates(keras.callbacks.Callback):
    """Keeps the learning rate that each step is made with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))


def test_each_value_begins_when_so_many_steps_are_done():
    rates = Rates()
    fit(plain_model(), PiecewiseSchedule((0.5, 0.25, 0.125), (3, 6)), rates, epochs=2)
    assert rates.seen == [0.5] * 3 + [0.25] * 3 + [0.125] * 2


@pytest.mark.parametrize(("done", "expected"), [(2, 0.5), (3, 0.25), (50, 0.25)])
def test_a_training_that_starts_in_the_middle_starts_with_its_value(done, expected):
    model, rates = plain_model(), Rates()
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(done)
    fit(model, PiecewiseSchedule((0.5, 0.25), (3,)), rates)
    assert rates.seen[0] == expected


def test_a_boundary_inside_one_execution_of_several_steps_is_not_missed():
    model, rates = plain_model(steps_per_execution=2), Rates()
    fit(model, PiecewiseSchedule((0.5, 0.25), (3,)), rates, epochs=2)
    # It cannot change within steps 3 and 4, and must have after them.
    assert rates.seen == [0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("values", "boundaries"),
    [((0.1,), (5,)), ((0.1, 0.2), ()), ((1, 2, 3), (5, 5)), ((1, 2, 3), (6, 5))],
)
def test_a_schedule_that_does_not_match_is_refused(values, boundaries):
    with pytest.raises(ValueError, match="boundaries"):
        PiecewiseSchedule(values, boundaries)


def test_the_rate_warms_up_in_a_line():
    rates = Rates()
    fit(plain_model(), PiecewiseSchedule((0.5,), warmup_steps=4), rates, epochs=2)
    expected = [0.1, 0.2, 0.3, 0.4, *[0.5] * 4]
    np.testing.assert_allclose(rates.seen, expected, rtol=1e-6)


# CosineSchedule


def test_the_rate_falls_to_nothing_along_half_a_cosine():
    rates = Rates()
    schedule = CosineSchedule(0.5, num_steps=8)
    fit(plain_model(), schedule, rates, epochs=2)
    expected = 0.25 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose(rates.seen, expected, rtol=1e-6)
    assert schedule.rate(8) == pytest.approx(0.0, abs=1e-12)
    assert schedule.rate(80) == pytest.approx(0.0, abs=1e-12)


def test_the_cosine_begins_after_the_warm_up_and_where_a_run_goes_on():
    schedule = CosineSchedule(1.0, num_steps=110, warmup_steps=10)
    rates = [schedule.rate(step) for step in range(111)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.5)
    model, seen = plain_model(), Rates()
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(60)
    fit(model, schedule, seen)
    assert seen.seen[0] == pytest.approx(0.5)


def test_a_warm_up_that_takes_the_whole_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps=5, num_steps=5"):
        CosineSchedule(0.1, num_steps=5, warmup_steps=5)
    with pytest.raises(ValueError, match="warmup_steps=-1"):
        PiecewiseSchedule((0.1,), warmup_steps=-1)


# StopOnNonFinite


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_stops_at_the_step_whose_loss_is_no_number(value):
    model, saved = plain_model(), []

    def ruin():
        model.layers[-1].bias.assign([value, 0.0, 0.0])

    with pytest.raises(RunError, match="at step 7") as caught:
        fit(
            model,
            # In the second epoch, so that step 7 is the first to see it.
            keras.callbacks.LambdaCallback(
                on_train_batch_begin=lambda batch, logs: (
                    ruin() if batch == 2 and int(model.optimizer.iterations) == 6 else 0
                )
            ),
            StopOnNonFinite(),
            Checkpointing(saved.append, every_steps=1, last_step=8),
            epochs=2,
        )
    assert "\n" not in str(caught.value)
    assert saved == [1, 2, 3, 4, 5, 6]


def test_a_finite_loss_goes_on():
    fit(plain_model(), StopOnNonFinite())


# StopOnSignal and Checkpointing


def send(signum):
    return lambda: os.kill(os.getpid(), signum)


@pytest.fixture
def default_handlers():
    """Puts the handlers back as they were, should a test fail to."""
    signums = (signal.SIGTERM, signal.SIGINT)
    handlers = {signum: signal.getsignal(signum) for signum in signums}
    yield handlers
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


def fit_until_stopped(model, make_callbacks):
    with StopOnSignal() as stop:
        fit(model, *make_callbacks(stop))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_then_stops_at_that_step(signum, default_handlers):
    saved = []
    model = plain_model()

    def callbacks(stop):
        save = Checkpointing(
            saved.append, every_steps=100, last_step=100, is_due=stop.is_due
        )
        return AfterStep(3, send(signum)), save, stop

    with pytest.raises(Interrupted) as caught:
        fit_until_stopped(model, callbacks)
    assert saved == [3]
    assert (caught.value.signum, caught.value.step) == (signum, 3)
    assert int(model.optimizer.iterations) == 3
    assert signal.getsignal(signum) == default_handlers[signum]


@pytest.mark.usefixtures("default_handlers")
def test_a_signal_during_a_step_stops_at_the_end_of_it():
    during = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: (
            send(signal.SIGTERM)() if batch == 1 else None
        )
    )
    with pytest.raises(Interrupted) as caught:
        fit_until_stopped(plain_model(), lambda stop: [during, stop])
    assert caught.value.step == 2


def test_without_a_signal_training_ends_and_handlers_are_as_before(default_handlers):
    with StopOnSignal() as stop:
        fit(plain_model(), stop)
        assert not stop.is_due()
        stop.check()
        assert signal.getsignal(signal.SIGTERM) != default_handlers[signal.SIGTERM]
    for signum, handler in default_handlers.items():
        assert signal.getsignal(signum) == handler


@pytest.mark.usefixtures("default_handlers")
def test_a_second_signal_acts_as_without_it():
    came = []
    signal.signal(signal.SIGTERM, lambda signum, frame: came.append(signum))
    with StopOnSignal() as stop:
        send(signal.SIGTERM)()
        assert (stop.is_due(), came) == (True, [])
        send(signal.SIGTERM)()
        assert came == [signal.SIGTERM]
    send(signal.SIGTERM)()
    assert len(came) == 2


@pytest.mark.usefixtures("default_handlers")
def test_a_new_use_does_not_remember_the_signal_of_the_last():
    with StopOnSignal() as stop:
        send(signal.SIGTERM)()
    with stop:
        assert not stop.is_due()
        fit(plain_model(), stop)


@pytest.mark.usefixtures("default_handlers")
def test_between_batches_of_a_validation_it_stops_too():
    # After the callback's own check of the step, before the validation's.
    late = AfterStep(2, send(signal.SIGTERM))
    with pytest.raises(Interrupted) as caught:
        fit_until_stopped(
            plain_model(),
            lambda stop: [stop, late, validation(every_steps=2, on_batch=stop.check)],
        )
    assert caught.value.step == 2


def test_saves_at_intervals_over_epochs_and_at_the_last_step():
    saved = []
    fit(
        plain_model(),
        Checkpointing(saved.append, every_steps=3, last_step=8),
        epochs=2,
    )
    assert saved == [3, 6, 8]


def test_saves_out_of_turn_when_asked():
    saved, due = [], itertools.chain([False, True], itertools.repeat(False))
    save = Checkpointing(
        saved.append, every_steps=3, last_step=100, is_due=lambda: next(due)
    )
    fit(plain_model(), save)
    assert saved == [2, 3]


# Throughput and PlainProgress


def test_says_how_many_examples_a_second_are_trained_on():
    spy = Spy()
    slow = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: threading.Event().wait(0.02)
    )
    fit(plain_model(), Throughput(8), slow, spy, epochs=2)
    rates = [logs.get("examples_per_s") for logs in spy.steps]
    # The first step compiles, and is no measure.
    assert rates[0] is None
    assert all(0 < rate < 8 / 0.02 for rate in rates[1:])


def test_a_slow_validation_does_not_slow_the_pace():
    spy = Spy()
    slow = AfterStep(2, lambda: threading.Event().wait(1.0))
    fit(plain_model(), Throughput(8), slow, spy)
    assert spy.steps[-1]["examples_per_s"] > 4 * 8 / 1.0


def test_says_what_all_starts_together_took(tmp_path):
    path = tmp_path / "time.json"
    seen = []
    for pause in (0.3, 0.0):
        spy = Spy()
        slow = AfterStep(2, lambda pause=pause: threading.Event().wait(pause))
        fit(plain_model(), TrainingTime(path, every_steps=1), slow, spy)
        seen.append([logs["train_hours"] * 3600 for logs in spy.steps])
        assert all(logs["train_cpu_hours"] > 0 for logs in spy.steps)
    first, second = seen
    assert first == sorted(first)
    assert first[-1] > 0.3
    assert second[0] > first[-1]
    record = json.loads(path.read_text())
    assert record["starts"] == 2
    assert record["seconds"] >= second[-1]


def test_a_kill_loses_only_the_time_since_the_last_record(tmp_path):
    path = tmp_path / "time.json"
    killed = AfterStep(4, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    slow = AfterStep(1, lambda: threading.Event().wait(0.3))
    with pytest.raises(KeyboardInterrupt):
        fit(plain_model(), slow, TrainingTime(path, every_steps=2), killed)
    assert json.loads(path.read_text())["seconds"] > 0.3


@pytest.mark.parametrize("text", ["", "[1]", '{"seconds": 1}', "no JSON"])
def test_a_damaged_record_of_time_is_named(tmp_path, text):
    path = tmp_path / "time.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"time\.json is damaged .*; remove it"):
        fit(plain_model(), TrainingTime(path, every_steps=1))
    assert path.read_text() == text


def test_prints_a_line_at_each_validation_and_at_the_end(capsys):
    progress = PlainProgress(last_step=8)
    fit(plain_model(), validation(every_steps=3), progress, epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == [
        "step 3/8",
        "step 6/8",
        "step 8/8",
    ]
    for name in ("loss: ", "val_accuracy: ", "val_average_margin: "):
        assert name in lines[0]
    assert "val_accuracy" not in lines[2]


def test_prints_a_line_at_each_validation_by_epoch_too(capsys):
    fit(plain_model(), validation(), PlainProgress(last_step=100), epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["step 4/100", "step 8/100"]
    assert "val_average_margin: " in lines[0]


def test_is_not_silent_for_long(capsys):
    fit(plain_model(), PlainProgress(last_step=100, every_seconds=0.0))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("step 1/100 - ")
    fit(plain_model(), PlainProgress(last_step=100, every_seconds=1e6))
    assert capsys.readouterr().out == ""


def test_beside_keras_bar_only_validations_get_a_line(capsys):
    spy = Spy()
    progress = PlainProgress(last_step=4, every_seconds=0.0, beside_bar=True)
    fit(plain_model(), validation(every_steps=2), progress, spy)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line.split(" - ")[0] for line in lines] == ["step 2/4", "step 4/4"]
    assert "loss: " not in lines[0].replace("val_", "")
    # The bar, which comes after, would be too long.
    assert not any(KEYS & logs.keys() for logs in spy.steps)
