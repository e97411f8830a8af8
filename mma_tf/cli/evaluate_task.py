"""What `bin/evaluate` judges: images and models, and what a report says of them."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from absl import flags

from mma_tf.cli import evaluate_flags
from mma_tf.errors import UserError

# TensorFlow, which these load, takes seconds that --help and mistakes need not pay.
if TYPE_CHECKING:
    from mma_tf.data.examples import Examples, ImageDataset
    from mma_tf.load import LoadedClassifier


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be judged, loaded.

    Attributes:
        data: The dataset.
        examples: Those of its test images that are judged.
        models: By path, those that lend adversarial images included.
        names: Of the models that are judged, by path.
        radii: In ascending order, in pixel units, each with the user's own text.
    """

    data: "ImageDataset"
    examples: "Examples"
    models: Mapping[str, "LoadedClassifier"]
    names: Mapping[str, str]
    radii: Mapping[float, str]


def load_task(values: flags.FlagValues) -> Task:
    """Loads data and models, once TensorFlow is set up for an evaluation.

    Args:
        values: The flags of the command.

    Raises:
        UserError: If the data cannot be had, a model is none or does not take them or
            is to lend what needs gradients without giving any, or there are more shards
            than images.
    """
    import tensorflow as tf

    from mma_tf.data.sources import load
    from mma_tf.load import find_model, load_classifier, model_name

    paths = [*values.model, *values.transfer_from]
    for path in paths:
        find_model(path)
    # Else GPUs multiply float32 with 10 bits, and a model near a tie answers otherwise
    # in another batch.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if values.deterministic:
        tf.config.experimental.enable_op_determinism()
        tf.random.set_seed(values.seed)
    data = load(
        values.dataset,
        data_dir=values.data_dir,
        source_dir=values.source_dir,
        test_split=values.test_split,
    )
    number = min(values.num_examples or len(data.test), len(data.test))
    if values.num_shards > number:
        raise UserError(
            f"Invalid `--num_shards`: expected at most {number}, one an image. "
            f"Received: --num_shards={values.num_shards}"
        )
    examples = data.test.take(0, number)
    models = {
        path: load_classifier(
            path,
            examples.take(0, 2).images_in_unit_range(),
            num_classes=data.num_classes,
            signature=values.signature,
            input_range=values.input_range,
        )
        for path in paths
    }
    for path in values.transfer_from:
        if not models[path].has_gradient:
            raise UserError(
                "Invalid `--transfer_from`: expected models whose gradient can be "
                "taken, as PGD needs it. Received: "
                f"--transfer_from={path}, which gives none (leave it out)"
            )
    names = {path: model_name(models[path].path) for path in values.model}
    return Task(data, examples, models, names, evaluate_flags.radii(values))


def plan_of(values: flags.FlagValues, task: Task) -> dict[str, Any]:
    """Returns all that the figures depend on, of plain JSON values."""
    models = task.models
    # Not where there are none, so that evaluations from before them go on.
    shards = {"num_shards": values.num_shards} if values.num_shards > 1 else {}
    return {
        "models": {path: models[path].sha256 for path in values.model},
        "transfer_from": {path: models[path].sha256 for path in values.transfer_from},
        "dataset": values.dataset,
        "split": values.test_split,
        "num_examples": len(task.examples),
        "examples_sha256": _digest(task.examples),
        "norm": values.norm,
        "eps": list(task.radii),
        "suite": values.suite,
        "seed": values.seed,
        "batch_size": values.batch_size,
        "input_range": list(values.input_range),
        "signature": values.signature,
        **shards,
    }


def context_of(
    values: flags.FlagValues,
    task: Task,
    versions: Mapping[str, str],
    examples_sha256: str,
) -> dict[str, Any]:
    """Returns what a report tells besides the figures, but for the command."""
    from mma_tf.zoo import short_path

    return {
        "models": {
            path: {
                "path": short_path(model.path),
                "kind": model.kind,
                "sha256": model.sha256,
                "signature": model.signature,
                "input_range": list(values.input_range),
                "has_gradient": model.has_gradient,
            }
            for path, model in task.models.items()
        },
        "data": {
            "dataset": values.dataset,
            "split": values.test_split,
            "num_examples": len(task.examples),
            "of": len(task.data.test),
            "examples_sha256": examples_sha256,
        },
        "transfer_from": list(values.transfer_from),
        "versions": versions,
        "eps_text": task.radii,
        "class_names": list(task.data.class_names),
    }


def _digest(examples: "Examples") -> str:
    digest = hashlib.sha256(examples.images.tobytes())
    digest.update(examples.labels.tobytes())
    return digest.hexdigest()
