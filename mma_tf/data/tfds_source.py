"""Any image-classification dataset of tensorflow-datasets, by its name."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

from mma_tf.data import memory, reading, tfds_prepare
from mma_tf.data.examples import Examples, ImageDataset
from mma_tf.errors import UserError

# tensorflow-datasets takes seconds to import, which other sources need not pay: the
# functions that need it import it.


def load(
    name: str,
    *,
    data_dir: str | None = None,
    source_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    other_names: Sequence[str] = (),
) -> ImageDataset:
    """Returns a dataset of tensorflow-datasets, prepared first if it is not yet.

    Args:
        name: As `tfds.load` takes it, such as "mnist" or "emnist/balanced".
        data_dir: Where prepared datasets are; TFDS's own default if None.
        source_dir: A folder with the original files, downloaded by hand; only read.
        train_split: A split of the dataset, or a part of one, such as "train[:10%]".
        test_split: Likewise.
        other_names: Names to propose, beside those of TFDS, if there is no such
            dataset.

    Returns:
        The examples in TFDS's own order, which is always the same. Images are uint8, or
        float32 in [0, 1] where the dataset's are not.

    Raises:
        UserError: If there is no such dataset or split, it cannot be had, or it is not
            one of images with one label each.
    """
    builder = _builder(name, data_dir, other_names)
    label_key = _label_key(builder, name)
    tfds_prepare.prepare(builder, source_dir)
    # Both asked for before either is read: reading can take a while.
    counts = [
        _num_examples(builder, name, flag, split)
        for flag, split in (
            ("--train_split", train_split),
            ("--test_split", test_split),
        )
    ]
    elements = [_elements(builder, split) for split in (train_split, test_split)]
    try:
        shape, dtype = reading.image_spec(elements[0])
        itemsize = reading.stored_dtype(dtype).itemsize
        memory.require_memory(name, sum(counts), shape, itemsize)
        train, test = (
            Examples(*_read(dataset, count, split))
            for dataset, count, split in zip(
                elements, counts, (train_split, test_split), strict=True
            )
        )
    except reading.ReadError as error:
        raise UserError(
            f"Invalid `--data_dir`: expected {name} as it was prepared. Received: "
            f"{builder.data_dir}, where files are damaged (remove that folder and run "
            "again, so that it is prepared anew)"
        ) from error
    return ImageDataset(
        name, train, test, tuple(builder.info.features[label_key].names)
    )


def _builder(name: str, data_dir: str | None, other_names: Sequence[str]) -> Any:
    import tensorflow_datasets as tfds

    # "space:name" would be a dataset of others' code, fetched from a network.
    if re.match(r"[^/:]+:[^\d*]", name):
        raise _unknown(name, other_names)
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise _unknown(name, other_names) from None
    except (ValueError, AssertionError) as error:
        raise _no_such_variant(name, str(error), other_names) from error


def _no_such_variant(name: str, reason: str, other_names: Sequence[str]) -> UserError:
    import tensorflow_datasets as tfds

    base = re.split(r"[/:]", name)[0]
    try:
        configs = list(tfds.builder_cls(base).builder_configs)
    except ValueError:
        return _unknown(name, other_names)
    near = difflib.get_close_matches(name.partition("/")[2], configs, n=5, cutoff=0)
    if "BuilderConfig" in reason and near:
        choice = f"one of its configurations, such as {' or '.join(near)}"
    elif "BuilderConfig" in reason:
        choice = "nothing behind its name, since it has no configurations"
    else:
        choice = "a version that this tensorflow-datasets has"
    return UserError(
        f"Invalid `--dataset`: expected {base} with {choice}. Received: dataset={name}"
    )


def _unknown(name: str, other_names: Sequence[str]) -> UserError:
    import tensorflow_datasets as tfds

    known = [*other_names, *tfds.list_builders(with_community_datasets=False)]
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "try digits or mnist"
    return UserError(
        "Invalid `--dataset`: expected digits, image_folder or a dataset of "
        f"tensorflow-datasets. Received: dataset={name} ({hint})"
    )


def _label_key(builder: Any, name: str) -> str:
    """Returns the key of the label of a dataset of images with one class each."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = builder.info.supervised_keys
    if (
        isinstance(keys, tuple)
        and len(keys) == 2
        and all(isinstance(key, str) for key in keys)
        and isinstance(features[keys[0]], tfds.features.Image)
        and len(features[keys[0]].shape) == 3
        and isinstance(features[keys[1]], tfds.features.ClassLabel)
        and features[keys[1]].num_classes
    ):
        return keys[1]
    raise UserError(
        "Invalid `--dataset`: expected a dataset of images, each with one class as its "
        f"label. Received: dataset={name}, whose supervised keys are {keys}"
    )


def _num_examples(builder: Any, name: str, flag: str, split: str) -> int:
    try:
        count = builder.info.splits[split].num_examples
    except (KeyError, ValueError):
        there = ", ".join(sorted(builder.info.splits))
        raise UserError(
            f"Invalid `{flag}`: expected a split that {name} has: {there}. Received: "
            f"{flag[2:]}={split} (name one with {flag}, or a part of one such as "
            "'train[80%:]')"
        ) from None
    if not count:
        raise UserError(
            f"Invalid `{flag}`: expected a split with at least one image. Received: "
            f"{flag[2:]}={split}, which is empty in {name}"
        )
    return count


def _elements(builder: Any, split: str) -> Any:
    import tensorflow_datasets as tfds

    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        as_supervised=True,
        # One file after another, so that a part of a split is a part of the order.
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    return dataset.enumerate().map(lambda index, example: (*example, index))


def _read(elements: Any, count: int, split: str) -> tuple[Any, Any]:
    return reading.read(
        elements,
        count=count,
        describe=lambda index: f"image {index} of split {split}",
    )
