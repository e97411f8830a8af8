"""Suites of attacks: closed forms, a killed run, classifiers that mislead attacks."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import mma_tf
from mma_tf.errors import UserError
from mma_tf.evaluation import estimate_margins, evaluate, suite_run
from mma_tf.evaluation.suites import Stage, make_stages
from mma_tf.per_example import select
from mma_tf.training.callbacks import RobustValidation
from tests.classifiers import (
    GREY_SHAPE,
    linear_on_grey,
    random_examples,
    small_network,
)

NORMS = ("linf", "l2")


@pytest.fixture(scope="module")
def linear():
    return linear_on_grey()


def between(margins, share):
    """Returns a radius well between two margins, near a quantile of those > 0."""
    sorted_margins = np.sort(margins[margins > 0])
    start = int(share * len(sorted_margins))
    gaps = sorted_margins[1:] / sorted_margins[:-1]
    at = start + int(np.argmax(gaps[start : start + 6]))
    return float(np.sqrt(sorted_margins[at] * sorted_margins[at + 1]))


class TestClosedForms:
    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("suite", ["paper", "autoattack", "quick"])
    def test_robust_accuracy_is_the_share_of_larger_margins(self, linear, norm, suite):
        eps = [between(linear.margins[norm], share) for share in (0.3, 0.6)]
        found = evaluate(
            linear.logits_fn,
            linear.images,
            linear.labels,
            norm=norm,
            eps=eps,
            suite=suite,
            batch_size=16,
            run_checks=False,
        )
        for row, radius in zip(found.robust, found.eps, strict=True):
            np.testing.assert_array_equal(row, linear.margins[norm] > radius)
        np.testing.assert_array_equal(found.correct, linear.margins[norm] > 0)
        assert found.accuracy == 0.9

    @pytest.mark.parametrize("norm", NORMS)
    def test_margins_are_found_to_one_percent(self, linear, norm):
        found = estimate_margins(
            linear.logits_fn, linear.images, linear.labels, norm=norm, batch_size=16
        )
        exact = linear.margins[norm]
        assert np.all(found.sizes <= 1.01 * exact + 1e-6)
        assert np.all(found.sizes >= exact - 1e-6)
        assert np.all(found.sizes[exact == 0] == 0)
        assert found.margin_statistics()["not_found"] == 0

    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("name", ["fab-t", "fmn-t", "ddn-t", "an-pgd-t"])
    def test_each_minimum_norm_attack_finds_them(self, linear, norm, name, monkeypatch):
        stages = make_stages("margins", norm=norm, num_classes=5)
        chosen = [stage for stage in stages if stage.name == name]
        if not chosen:
            assert (name, norm) == ("ddn-t", "linf")
            return
        all_targets = dataclasses.replace(chosen[0], num_passes=4)
        use_stages(monkeypatch, all_targets)
        found = estimate_margins(
            linear.logits_fn,
            linear.images,
            linear.labels,
            norm=norm,
            batch_size=16,
            run_checks=False,
        )
        exact = linear.margins[norm]
        assert np.all(found.sizes <= 1.01 * exact + 1e-6)
        assert np.all(found.sizes >= exact - 1e-6)

    def test_black_box_attacks_need_no_gradient(self, linear, monkeypatch):
        stages = make_stages("black_box", norm="linf", num_classes=5)
        square, spsa = stages
        fewer = [
            dataclasses.replace(
                square, attack=dataclasses.replace(square.attack, num_queries=400)
            ),
            dataclasses.replace(
                spsa,
                attack=dataclasses.replace(spsa.attack, num_steps=10, num_samples=32),
            ),
        ]
        use_stages(monkeypatch, *fewer)

        def without_gradient(images):
            return tf.stop_gradient(linear.logits_fn(images))

        arguments = (without_gradient, linear.images, linear.labels)
        with pytest.raises(UserError, match="expected False for a function that gives"):
            evaluate(*arguments, norm="linf", eps=0.1, suite="black_box")
        exact = linear.margins["linf"]
        eps = 1.3 * between(exact, 0.3)
        found = evaluate(
            *arguments,
            norm="linf",
            eps=eps,
            suite="autoattack",
            has_gradient=False,
            batch_size=16,
        )
        assert [s.name for s in found.stages] == ["square", "spsa"]
        assert not found.has_gradient
        assert flags_of(found) == {"gradients can be taken"}
        # Never an error where there is none, and nearly all of those that there are.
        assert np.all(found.robust[0][exact > eps])
        assert np.sum(found.robust[0]) <= np.sum(exact > 0.8 * eps)


def use_stages(monkeypatch, *stages):
    monkeypatch.setattr(
        "mma_tf.evaluation.judging.make_stages", lambda *args, **kwargs: stages
    )


class TestBookkeeping:
    def test_an_attack_meets_only_what_is_still_right(self, linear):
        found = evaluate(
            linear.logits_fn,
            linear.images,
            linear.labels,
            norm="linf",
            eps=[0.002, 0.01],
            suite="quick",
            run_checks=False,
        )
        right = int(np.sum(found.correct))
        for stage in found.stages:
            assert stage.num_attacked == right
            right -= stage.num_fooled
            assert stage.accuracy == right / 40
            assert stage.forward_passes > 0
            assert stage.backward_passes == stage.forward_passes
        assert right == int(np.sum(found.robust[-1]))
        # Who fooled whom agrees with how many.
        for row, radius in zip(found.fooled_by, found.eps, strict=True):
            for number, stage in enumerate(found.stages):
                if stage.eps == radius:
                    assert np.sum(row == number) == stage.num_fooled

    def test_a_larger_radius_keeps_the_errors_of_a_smaller_one(self, linear):
        found = evaluate(
            linear.logits_fn,
            linear.images,
            linear.labels,
            norm="l2",
            eps=[0.3, 0.02, 0.1],
            suite="quick",
            run_checks=False,
        )
        assert found.eps == (0.02, 0.1, 0.3)
        assert np.all(found.robust[:-1] >= found.robust[1:])

    @pytest.mark.parametrize("batch_size", [1, 7, 64])
    def test_the_batch_size_changes_nothing(self, linear, batch_size):
        few = slice(0, 12)
        eps = between(linear.margins["linf"], 0.4)
        found = [
            evaluate(
                linear.logits_fn,
                linear.images[few],
                linear.labels[few],
                norm="linf",
                eps=eps,
                suite="quick",
                batch_size=size,
                run_checks=False,
            )
            for size in (12, batch_size)
        ]
        np.testing.assert_array_equal(found[0].robust, found[1].robust)
        np.testing.assert_allclose(found[0].sizes, found[1].sizes, atol=1e-6)

    def test_the_same_seed_gives_the_same_and_another_another(self, linear):
        def sizes(seed):
            return evaluate(
                linear.logits_fn,
                linear.images,
                linear.labels,
                norm="l2",
                eps=0.5,
                suite="quick",
                seed=seed,
                run_checks=False,
            ).sizes

        np.testing.assert_array_equal(sizes(3), sizes(3))
        assert np.any(sizes(3) != sizes(4))

    def test_nothing_right_is_judged_too(self, linear):
        wrong = (linear.labels + 2) % 5
        exact_wrong = np.argmax(linear.logits_fn(linear.images), axis=1) != wrong
        found = evaluate(
            linear.logits_fn,
            linear.images[exact_wrong],
            wrong[exact_wrong],
            norm="linf",
            eps=0.1,
            suite="quick",
        )
        assert found.accuracy == found.robust_accuracy[0.1] == 0

    def test_images_of_another_model_are_tried(self, linear):
        eps = between(linear.margins["linf"], 0.5)

        def constant(images):
            return tf.zeros([tf.shape(images)[0], 5]) + 0 * tf.reduce_sum(images)

        def robust(source):
            return evaluate(
                linear.logits_fn,
                linear.images,
                linear.labels,
                norm="linf",
                eps=eps,
                suite="transfer",
                transfer_from={"other": source},
            )

        # From the model itself they are as good as a white-box attack.
        of_itself = robust(linear.logits_fn)
        np.testing.assert_array_equal(of_itself.robust[0], linear.margins["linf"] > eps)
        assert {s.source for s in of_itself.stages} == {"other"}
        of_nothing = robust(constant)
        assert np.sum(of_nothing.robust) > np.sum(of_itself.robust)
        # It would be a black-box attack's work to find more than images of a constant:
        # no gradient of this model was taken, and so none can be masked.
        names = [check.name for check in of_nothing.checks]
        assert "black-box attacks add nothing" not in names

    def test_tensors_and_labels_in_a_column_are_taken(self, linear):
        eps = between(linear.margins["linf"], 0.5)
        found = evaluate(
            linear.logits_fn,
            tf.constant(linear.images),
            tf.constant(linear.labels[:, np.newaxis]),
            norm="linf",
            eps=eps,
            suite="quick",
            run_checks=False,
        )
        np.testing.assert_array_equal(found.robust[0], linear.margins["linf"] > eps)

    def test_prints_as_a_table(self, linear):
        found = evaluate(
            linear.logits_fn,
            linear.images,
            linear.labels,
            norm="linf",
            eps=0.02,
            suite="quick",
            model="mine",
        )
        text = str(found)
        for word in ("mine", "apgd-ce", "apgd-t", "90.00", "linf"):
            assert word in text


class Stop(Exception):
    """Ends a run from within."""


class TestGoingOn:
    @pytest.mark.parametrize(
        ("suite", "eps"), [("autoattack", (0.02, 0.04)), ("margins", ())]
    )
    def test_a_stopped_run_ends_with_the_same_figures(
        self, linear, suite, eps, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(suite_run, "_SAVE_SECONDS", 0.0)
        monkeypatch.setattr("mma_tf.evaluation.stream._MOST_STEPS_A_CALL", 8)
        stages = make_stages(suite, norm="linf", num_classes=5)
        short = []
        for stage in stages:
            names = {f.name for f in dataclasses.fields(stage.attack)}
            name, number = ("num_queries", 60)
            if name not in names:
                name, number = "num_steps", 12
            attack = dataclasses.replace(stage.attack, **{name: number})
            short.append(dataclasses.replace(stage, attack=attack))
        use_stages(monkeypatch, *short)
        calls = []

        def judge(save_to, stop_after=None):
            count = 0

            def on_progress(progress):
                nonlocal count
                count += 1
                calls.append(progress)
                if count == stop_after:
                    raise Stop

            return evaluate(
                linear.logits_fn,
                linear.images,
                linear.labels,
                norm="linf",
                eps=eps,
                suite=suite,
                batch_size=8,
                save_to=save_to,
                on_progress=on_progress,
                run_checks=False,
            )

        whole = judge(None)
        total = len(calls)
        assert total > 20
        folder = tmp_path / "saved"
        folder.mkdir()
        for stop_after in (3, 5, 7, total // 3):
            with pytest.raises(Stop):
                judge(folder, stop_after)
        resumed = judge(folder)
        for name in ("robust", "fooled_by", "sizes"):
            np.testing.assert_array_equal(
                getattr(whole, name), getattr(resumed, name), err_msg=name
            )
        np.testing.assert_array_equal(
            whole.gallery.adversarial, resumed.gallery.adversarial
        )
        for one, other in zip(whole.stages, resumed.stages, strict=True):
            assert dataclasses.replace(one, seconds=0.0) == dataclasses.replace(
                other, seconds=0.0
            )
        # Once more: all is there, nothing is attacked again.
        before = len(calls)
        again = judge(folder)
        assert len(calls) == before
        np.testing.assert_array_equal(again.robust, whole.robust)

    @pytest.mark.parametrize("other", ["seed", "weights", "images", "source"])
    def test_the_state_of_another_evaluation_is_refused(self, linear, other, tmp_path):
        def judge(what):
            is_other = what == other
            # The same predictions, and other margins.
            factor = 2.0 if is_other and other == "weights" else 1.0
            shift = 0.01 if is_other and other == "images" else 0.0
            steepness = 2.0 if is_other and other == "source" else 1.0
            return evaluate(
                lambda images: factor * linear.logits_fn(images),
                linear.images + np.float32(shift) * (linear.images < 0.5),
                linear.labels,
                norm="linf",
                eps=0.02,
                suite="quick",
                seed=int(is_other and other == "seed"),
                transfer_from={
                    "other": lambda images: steepness * linear.logits_fn(images)
                },
                # A name, of a folder that is not there yet.
                save_to=str(tmp_path / "new" / "folder"),
                run_checks=False,
            )

        first = judge("nothing")
        np.testing.assert_array_equal(judge("nothing").robust, first.robust)
        with pytest.raises(UserError, match="state of another model, data or suite"):
            judge(other)

    def test_a_random_model_goes_on_where_it_was(self, network, tmp_path):
        images, labels = random_examples(np.random.default_rng(0), 30)
        generator = tf.random.Generator.from_seed(0)

        def noisy(batch):
            return network(batch) + generator.normal([tf.shape(batch)[0], 3])

        def judge():
            return evaluate(
                noisy,
                images,
                labels,
                norm="linf",
                eps=0.02,
                suite="quick",
                save_to=tmp_path,
                run_checks=False,
            )

        first = judge()
        assert judge().stages == first.stages

    def test_images_of_a_random_model_do_not_keep_it_from_going_on(
        self, network, tmp_path
    ):
        images, labels = random_examples(np.random.default_rng(0), 30)
        generator = tf.random.Generator.from_seed(0)

        def judge():
            return evaluate(
                network,
                images,
                labels,
                norm="linf",
                eps=0.02,
                suite="quick",
                transfer_from={
                    "noisy": lambda batch: (
                        network(batch) + generator.normal([tf.shape(batch)[0], 3])
                    )
                },
                save_to=tmp_path,
                run_checks=False,
            )

        first = judge()
        assert judge().stages == first.stages

    def test_progress_tells_an_upper_bound_of_the_time(self, linear):
        told = []
        evaluate(
            linear.logits_fn,
            linear.images,
            linear.labels,
            norm="linf",
            eps=0.02,
            suite="quick",
            batch_size=8,
            on_progress=told.append,
            run_checks=False,
        )
        assert [p.stage for p in told if p.is_end] == ["apgd-ce", "apgd-t"]
        assert told[-1].seconds_left == 0
        assert all(0 <= p.share_done <= 1 for p in told)
        shares = [p.share_right for p in told]
        assert shares == sorted(shares, reverse=True)


def flags_of(found):
    return {check.name for check in found.warnings}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    network = small_network()
    images, labels = random_examples(np.random.default_rng(1), 300)
    network.compile(
        keras.optimizers.Adam(0.02),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    network.fit(images, labels, epochs=5, verbose=0)
    return network


class TestSanityChecks:
    def judge(self, logits_fn, *, suite="quick", eps=0.05, images=None, labels=None):
        if images is None:
            images, labels = random_examples(np.random.default_rng(0), 60)
        return evaluate(
            logits_fn, images, labels, norm="linf", eps=eps, suite=suite, batch_size=32
        )

    def test_an_honest_network_raises_no_doubt(self, network):
        found = self.judge(network)
        assert found.accuracy > 0.9
        assert found.warnings == ()
        assert len(found.checks) >= 6

    def test_a_softmax_is_flagged(self, network):
        found = self.judge(lambda images: tf.nn.softmax(network(images)))
        assert "outputs are logits" in flags_of(found)

    def test_a_quantised_input_is_flagged(self, network):
        @tf.custom_gradient
        def quantise(images):
            return tf.floor(images * 4) / 4, tf.zeros_like

        found = self.judge(lambda images: network(quantise(images)), eps=0.2)
        assert "gradients do not vanish" in flags_of(found)
        # It only looks robust, and a black-box attack says so.
        assert found.robust_accuracy[0.2] > 0.5
        assert "black-box attacks add nothing" in flags_of(found)
        assert "more eps lowers accuracy" in flags_of(found)

    @pytest.mark.parametrize("suite", ["quick", "autoattack"])
    def test_each_radius_meets_a_black_box_attack(self, network, suite):
        images, labels = random_examples(np.random.default_rng(0), 12)
        found = self.judge(
            network, suite=suite, eps=[0.01, 0.02], images=images, labels=labels
        )
        checks = [c for c in found.checks if c.name == "black-box attacks add nothing"]
        assert [check.eps for check in checks] == [0.01, 0.02]

    def test_a_random_model_is_flagged(self, network):
        generator = tf.random.Generator.from_seed(0)

        def noisy(images):
            noise = generator.normal(tf.shape(images), stddev=0.3)
            return network(images + noise)

        assert "the model is deterministic" in flags_of(self.judge(noisy))

    def test_outputs_that_are_no_numbers_are_errors_and_flagged(self, network):
        def broken(images):
            logits = network(images)
            bright = tf.reduce_mean(images, axis=[1, 2, 3])[:, tf.newaxis] > 0.35
            return tf.where(bright, tf.constant(float("nan")), logits)

        images, labels = random_examples(np.random.default_rng(0), 60)
        found = self.judge(broken, images=images, labels=labels)
        bright = images.mean(axis=(1, 2, 3)) > 0.35
        assert bright.any()
        assert not found.correct[bright].any()
        assert "outputs are finite" in flags_of(found)

    def test_a_claim_that_does_not_hold_does_not_end_an_attack(self, linear):
        eps = between(linear.margins["linf"], 0.5)
        stage = make_stages("quick", norm="linf", num_classes=5)[0]

        class Hasty(type(stage.attack)):
            """Claims the image itself to be an error, before it looks for one."""

            def step(self, logits_fn, problem, state):
                after = super().step(logits_fn, problem, state)
                is_first = state.iteration == 0
                return after._replace(
                    size=tf.where(is_first, problem.eps, after.size),
                    adversarial=select(is_first, problem.images, after.adversarial),
                )

        robust = {}
        for attack in (stage.attack, Hasty("linf", 20, "cross_entropy")):
            with pytest.MonkeyPatch.context() as patch:
                use_stages(patch, Stage("attack", attack))
                found = evaluate(
                    linear.logits_fn,
                    linear.images,
                    linear.labels,
                    norm="linf",
                    eps=eps,
                    suite="quick",
                    batch_size=16,
                    run_checks=False,
                )
            robust[type(attack).__name__] = found.robust[0]
        np.testing.assert_array_equal(robust["Hasty"], robust["APGD"])
        np.testing.assert_array_equal(robust["APGD"], linear.margins["linf"] > eps)

    def test_points_outside_the_ball_are_refused_and_flagged(
        self, network, monkeypatch
    ):
        stage = make_stages("quick", norm="linf", num_classes=3)[0]

        class Cheat(type(stage.attack)):
            """Looks for errors in a ball ten times as large."""

            def step(self, logits_fn, problem, state):
                wide = problem._replace(eps=10 * problem.eps)
                after = super().step(logits_fn, wide, state)
                inside = tf.minimum(after.size, problem.eps)
                claimed = tf.where(tf.math.is_inf(after.size), after.size, inside)
                return after._replace(size=claimed)

        cheat = Cheat("linf", 20, "cross_entropy")
        use_stages(monkeypatch, Stage("cheat", cheat))
        found = self.judge(network, eps=0.045)
        (kept,) = (c for c in found.checks if c.name.startswith("attacks keep"))
        assert kept.flagged
        assert not kept.found.startswith("0 points")
        assert np.sum(found.robust) == np.sum(found.correct) == 60


class TestMistakes:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"eps": ()}, "`eps`: expected one or more lengths"),
            ({"eps": 8.0}, "did you mean 8/255"),
            ({"eps": [0.1, -0.1]}, "`eps`"),
            ({"eps": float("nan")}, "`eps`"),
            ({"norm": "l1"}, "`norm`: expected 'linf' or 'l2'"),
            ({"suite": "all"}, "`suite`: expected paper"),
            ({"suite": "transfer"}, "transfer_from"),
            ({"suite": "margins"}, "leave eps out"),
            ({"labels": np.full(40, 5)}, "from 0 to 4"),
            ({"labels": np.full(40, -1)}, "from 0 to 4"),
            ({"labels": np.full(40, 0.5)}, "whole numbers"),
            ({"labels": np.zeros(39, int)}, "a label for each"),
            (
                {"images": np.full((40, *GREY_SHAPE), 7.0, "float32")},
                "divide bytes by 255",
            ),
            ({"images": np.full((40, *GREY_SHAPE), np.nan, "float32")}, "pixels"),
            (
                {"images": np.zeros((0, *GREY_SHAPE), "float32"), "labels": []},
                "at least",
            ),
            ({"batch_size": 0}, "`batch_size`"),
            ({"images": np.zeros((40, 16), "float32")}, "height, width, channels"),
            ({"labels": np.eye(5)[np.zeros(40, int)]}, "pass the argmax"),
            (
                {"suite": "margins", "eps": (), "transfer_from": {"other": None}},
                "`transfer_from`: suite margins",
            ),
        ],
    )
    def test_an_argument_that_cannot_be_is_named(self, linear, changes, message):
        arguments = {
            "images": linear.images,
            "labels": linear.labels,
            "norm": "linf",
            "eps": 0.1,
            "suite": "quick",
        } | changes
        with pytest.raises(ValueError, match=message) as caught:
            evaluate(linear.logits_fn, **arguments)
        assert "\n" not in str(caught.value)


class TestSuites:
    def names(self, suite, num_classes, norm="linf"):
        stages = make_stages(suite, norm=norm, num_classes=num_classes)
        return [(stage.name, stage.num_passes) for stage in stages]

    def test_autoattack_is_the_published_standard_version(self):
        stages = make_stages("autoattack", norm="linf", num_classes=10)
        described = [(s.name, s.num_passes, s.parameters()) for s in stages]
        assert described == [
            (
                "apgd-ce",
                1,
                {
                    "class": "APGD",
                    "norm": "linf",
                    "num_steps": 100,
                    "loss": "cross_entropy",
                    "rho": 0.75,
                },
            ),
            (
                "apgd-t",
                9,
                {
                    "class": "APGD",
                    "norm": "linf",
                    "num_steps": 100,
                    "loss": "targeted_dlr",
                    "rho": 0.75,
                },
            ),
            (
                "fab-t",
                9,
                {
                    "class": "FAB",
                    "norm": "linf",
                    "num_steps": 100,
                    "alpha_max": 0.1,
                    "eta": 1.05,
                    "beta": 0.9,
                },
            ),
            (
                "square",
                1,
                {
                    "class": "Square",
                    "norm": "linf",
                    "num_queries": 5000,
                    "first_share": 0.8,
                    "rescale_schedule": False,
                },
            ),
        ]
        # What a report writes.
        json.dumps(described)

    def test_few_classes_have_fewer_targets_and_other_losses(self):
        assert self.names("autoattack", 100)[1] == ("apgd-t", 9)
        assert self.names("autoattack", 4)[1:3] == [("apgd-t", 3), ("fab-t", 3)]
        assert self.names("autoattack", 3)[1:3] == [("apgd-dlr", 1), ("fab-t", 2)]
        assert self.names("autoattack", 2)[1:3] == [("apgd-lm", 1), ("fab-t", 1)]

    @pytest.mark.parametrize("num_classes", [2, 3])
    @pytest.mark.parametrize("suite", ["autoattack", "margins"])
    def test_few_classes_can_be_judged(self, num_classes, suite, monkeypatch):
        linear = linear_on_grey(num_classes, num_examples=12)
        exact = linear.margins["l2"]
        stages = make_stages(suite, norm="l2", num_classes=num_classes)
        use_stages(monkeypatch, *[s for s in stages if s.name != "square"])
        eps = float(np.median(exact[exact > 0])) * 1.01
        found = evaluate(
            linear.logits_fn,
            linear.images,
            linear.labels,
            norm="l2",
            eps=() if suite == "margins" else eps,
            suite=suite,
            run_checks=False,
        )
        if suite == "margins":
            np.testing.assert_allclose(found.sizes, exact, rtol=0.01)
        else:
            np.testing.assert_array_equal(found.robust[0], exact > eps)

    def test_the_paper_suite_steps_as_published(self):
        stages = make_stages("paper", norm="linf", num_classes=10, pgd_step=1 / 40)
        assert [s.num_passes for s in stages] == [5, 5]
        assert [s.attack.loss for s in stages] == ["cross_entropy", "carlini_wagner"]
        assert {s.attack.num_steps for s in stages} == {100}
        # In units of eps / 100.
        assert {s.attack.step_size_factor for s in stages} == {2.5}
        usual = make_stages("paper", norm="linf", num_classes=10)
        assert {s.attack.step_size_factor for s in usual} == {25}

    def test_a_step_of_pgd_is_refused_where_no_pgd_takes_it(self):
        with pytest.raises(UserError, match="with suite='quick'"):
            make_stages("quick", norm="linf", num_classes=10, pgd_step=0.1)
        sources = make_stages(
            "quick", norm="linf", num_classes=10, pgd_step=0.1, sources=("other",)
        )
        assert sources[0].attack.step_size_factor == pytest.approx(10)


def test_the_callback_adds_robust_accuracy_to_the_history():
    keras.utils.set_random_seed(0)
    network = small_network()
    images, labels = random_examples(np.random.default_rng(0), 60)
    network.compile(
        keras.optimizers.Adam(0.02),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    callback = RobustValidation(images, labels, norm="linf", eps=[0.02, 0.3])
    history = network.fit(images, labels, epochs=2, verbose=0, callbacks=[callback])
    last = {name: values[-1] for name, values in history.history.items()}
    found = mma_tf.evaluate(
        network, images, labels, norm="linf", eps=[0.02, 0.3], suite="quick"
    )
    assert last["val_robust_accuracy_0.02"] == found.robust_accuracy[0.02]
    assert last["val_robust_accuracy_0.3"] == found.robust_accuracy[0.3]
    assert last["val_robust_accuracy"] == found.average_robust_accuracy()
    assert len(history.history["val_robust_accuracy"]) == 2


def test_the_callback_hands_the_step_of_pgd_on():
    images, labels = random_examples(np.random.default_rng(0), 10)
    network = small_network()
    network.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    callback = RobustValidation(
        images, labels, norm="linf", eps=0.1, suite="quick", pgd_step=1 / 40
    )
    with pytest.raises(UserError, match="Invalid `pgd_step`"):
        network.fit(images, labels, verbose=0, callbacks=[callback])
