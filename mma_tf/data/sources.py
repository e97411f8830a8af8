"""Datasets by name."""

from mma_tf.data import digits, image_folder, tfds_source
from mma_tf.data.examples import ImageDataset


def load(
    name: str,
    *,
    data_dir: str | None = None,
    source_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
) -> ImageDataset:
    """Returns a dataset, decoded into memory, its examples always in the same order.

    Args:
        name: "digits" (scikit-learn's, bundled), "image_folder" (the user's pictures)
            or any image-classification dataset of tensorflow-datasets, such as "mnist"
            or "emnist/balanced".
        data_dir: Where tensorflow-datasets keeps prepared datasets; its own default if
            None.
        source_dir: The folder of the pictures for "image_folder"; a folder with the
            dataset's original files, downloaded by hand, for tensorflow-datasets, which
            is only read and only looked at if the dataset is not prepared yet.
        train_split: Name of the split to train on.
        test_split: Name of the split to test on.

    Raises:
        UserError: If the dataset is unknown, cannot be had or cannot be used for
            classification; it says which and what to do.
    """
    if name == "digits":
        return digits.load(train_split=train_split, test_split=test_split)
    if name == "image_folder":
        return image_folder.load(
            source_dir=source_dir, train_split=train_split, test_split=test_split
        )
    return tfds_source.load(
        name,
        data_dir=data_dir,
        source_dir=source_dir,
        train_split=train_split,
        test_split=test_split,
        other_names=("digits", "image_folder"),
    )
