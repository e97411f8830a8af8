"""Tiny datasets for tensorflow-datasets, prepared by its own code."""

import gzip
import hashlib

import numpy as np
import tensorflow_datasets as tfds

IMAGE_SHAPE = (5, 4, 3)
TRAIN_FILE, TEST_FILE = "tiny-train.gz", "tiny-test.gz"
SIZES = {TRAIN_FILE: 12, TEST_FILE: 6}


def images_of(name, file):
    """Returns the images that `file` of the dataset `name` holds."""
    seed = int.from_bytes(hashlib.sha256(f"{name}/{file}".encode()).digest()[:4])
    shape = (SIZES[file], *IMAGE_SHAPE)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def content_of(name, file):
    """Returns the bytes of `file` as it would be downloaded."""
    return gzip.compress(images_of(name, file).tobytes(), mtime=0)


def write_source(folder, name):
    """Writes the original files of the dataset `name` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in SIZES:
        (folder / file).write_bytes(content_of(name, file))
    return folder


def _url(name, file):
    return f"https://{name}.invalid/files/{file}"


def _url_infos(name):
    return {
        _url(name, file): tfds.download.checksums.UrlInfo(
            size=tfds.core.utils.Size(len(content_of(name, file))),
            checksum=hashlib.sha256(content_of(name, file)).hexdigest(),
            filename=file,
        )
        for file in SIZES
    }


class _FromFiles(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=IMAGE_SHAPE),
                    "label": tfds.features.ClassLabel(names=["ash", "elm", "oak"]),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        paths = dl_manager.download_and_extract(
            {
                "train": _url(self.name, TRAIN_FILE),
                "test": _url(self.name, TEST_FILE),
            }
        )
        return {split: self._generate_examples(path) for split, path in paths.items()}

    def _generate_examples(self, path):
        images = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, *IMAGE_SHAPE)
        for index, image in enumerate(images):
            yield index, {"image": image, "label": index % 3}


class TinyTrees(_FromFiles):
    """Two files from a host that does not exist."""

    url_infos = _url_infos("tiny_trees")


class TinyTwins(_FromFiles):
    """Files of the same names from another host, with other content."""

    url_infos = _url_infos("tiny_twins")


class TinyVariants(tfds.core.GeneratorBasedBuilder):
    """A configuration for each way in which datasets differ; nothing to download."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012  (TFDS asks for a list here)
        tfds.core.BuilderConfig(name=name)
        for name in (
            "float_in_range",
            "float_out_of_range",
            "hidden_labels",
            "many_sizes",
            "no_test",
            "one_class",
            "one_label",
            "uint16",
            "unknown_size",
            "unsupervised",
        )
    ]

    def _info(self):
        kind = self.builder_config.name
        image = {
            "uint16": {"shape": (4, 4, 1), "dtype": np.uint16},
            "float_in_range": {"shape": (4, 4, 1), "dtype": np.float32},
            "float_out_of_range": {"shape": (4, 4, 1), "dtype": np.float32},
            "many_sizes": {"shape": (None, None, 3)},
            "unknown_size": {"shape": (None, None, 3)},
        }.get(kind, {"shape": (4, 4, 3)})
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(**image),
                    "label": tfds.features.ClassLabel(
                        num_classes=1 if kind == "one_class" else 3
                    ),
                }
            ),
            supervised_keys=None if kind == "unsupervised" else ("image", "label"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        kind = self.builder_config.name
        splits = {"train": self._generate_examples(8)}
        other = "validation" if kind == "no_test" else "test"
        return {**splits, other: self._generate_examples(4)}

    def _generate_examples(self, count):
        kind = self.builder_config.name
        shape = [length or 4 for length in self.info.features["image"].shape]
        dtype = self.info.features["image"].np_dtype
        for index in range(count):
            size = [shape[0] + (kind == "many_sizes" and index == 2), *shape[1:]]
            if dtype == np.float32:
                image = np.full(size, index / 8, np.float32)
                if kind == "float_out_of_range":
                    image *= 255
            else:
                image = np.full(size, index * np.iinfo(dtype).max // 8, dtype)
            label = {"one_class": 0, "one_label": 1, "hidden_labels": -1}
            yield index, {"image": image, "label": label.get(kind, index % 3)}
