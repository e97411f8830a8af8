"""Records of evaluations: what `bin/evaluate --record` writes, tables are made of."""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mma_tf.errors import UserError, reason_of
from mma_tf.evaluation.results import SCHEMA_VERSION, Evaluation
from mma_tf.evaluation.statistics import Interval
from mma_tf.files import write_text_atomically
from mma_tf.report.json_report import make_results, results_text

_KIND = "record"
_FOLDER = "image_folder"
# What `bin/evaluate` takes by itself.
_USUAL_SIGNATURES = (None, "serve", "serving_default")


@dataclasses.dataclass(frozen=True)
class Figure:
    """One accuracy with its 95 % interval.

    Attributes:
        suite: The attacks, as `Record.suite` names them; "" for clean images.
        norm: Of the attacks.
        eps: Radius in pixel units; 0 for clean images.
        eps_text: As it was written.
        num_examples: Images.
        accuracy: In [0, 1].
        interval: 95 % Wilson interval, in [0, 1].
        record: Name of the file it comes from.
        doubts: What the sanity checks found that speak against the figure.
    """

    suite: str
    norm: str
    eps: float
    eps_text: str
    num_examples: int
    accuracy: float
    interval: Interval
    record: str
    doubts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Record:
    """What was found of one model by one suite.

    Attributes:
        name: Of the file, without its ending.
        model: The model's name.
        contents: As `mma_tf.report.json_report.make_results` makes them, of one model.
    """

    name: str
    model: str
    contents: Mapping[str, Any]

    @property
    def about(self) -> Mapping[str, Any]:
        """What was found of the model."""
        (about,) = self.contents["models"]
        return about

    @property
    def num_examples(self) -> int:
        """How many images were judged."""
        return self.contents["data"]["num_examples"]

    @property
    def suite(self) -> str:
        """What the attacks are called; those of one name can be held side by side.

        That is the suite, but "black_box" for a model without gradients, which met
        these attacks in its place; other models' adversarial images make it another
        suite, too.
        """
        suite, sources = self.contents["suite"], self.contents["sources"]
        if not self.about["has_gradient"] and suite != "transfer":
            suite = "black_box"
        return f"{suite} from {_digest(sources)}" if sources else suite

    def doubts(self, eps: float | None = None) -> tuple[str, ...]:
        """Returns what the sanity checks found that gives reason for doubt.

        Args:
            eps: The radius of the figure to be doubted; None for all figures.
        """
        return tuple(
            check["found"]
            for check in self.about["sanity_checks"]
            if check["flagged"] and (eps is None or check.get("eps") in (None, eps))
        )

    @property
    def examples(self) -> str:
        """What tells the images apart that were judged."""
        return str(self.contents["data"].get("examples_sha256"))

    @property
    def reading(self) -> list[str]:
        """How the model was read, where that is not as usual: pixels, signature."""
        return _reading(self.about)

    @property
    def attacks(self) -> list[dict[str, Any]]:
        """The attacks in their order, and the accuracy that each of them left."""
        names = ("name", "eps", "num_passes", "parameters", "accuracy")
        return [{n: attack[n] for n in names} for attack in self.about["attacks"]]

    def is_of(self, dataset: str, norm: str) -> bool:
        """Returns whether it is of a dataset's test images and a norm."""
        data = self.contents["data"]
        return (data["dataset"], data["split"], self.contents["norm"]) == (
            dataset,
            "test",
            norm,
        )

    def figures(self) -> list[Figure]:
        """Returns the clean accuracy and the robust ones, by radius."""
        found = [{"eps": 0.0, "eps_text": "0", **self.about["clean"]}]
        found += self.about["robust"]
        return [
            Figure(
                suite=self.suite if part["eps"] else "",
                norm=self.contents["norm"],
                eps=part["eps"],
                eps_text=part["eps_text"],
                num_examples=self.num_examples,
                accuracy=float(part["accuracy"]),
                interval=Interval(*map(float, part["interval_95"])),
                record=self.name,
                doubts=self.doubts(part["eps"]) if part["eps"] else (),
            )
            for part in found
        ]


def write_records(
    evaluations: Sequence[Evaluation],
    folder: pathlib.Path,
    *,
    context: Mapping[str, Any],
    names: Mapping[str, str],
) -> list[pathlib.Path]:
    """Writes one JSON file for each evaluation, and returns their paths.

    A file is named by model, data, norm, suite, radii, number of images and seed: the
    same evaluation made again replaces its record.

    Args:
        evaluations: Of the same norm, suite, radii and examples.
        folder: Where to; it is made.
        context: See `mma_tf.report.write_report`; beside that "transfer_from", the
            models in it whose adversarial images were tried.
        names: Name of each model for the record, by its name in the evaluations.

    Raises:
        OSError: If a file cannot be written; an old one is then as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for evaluation in evaluations:
        model = names[evaluation.model]
        known = dict(context.get("models") or {})
        about = known.pop(evaluation.model, {})
        # A model that is judged, too, may have lent its adversarial images.
        lent = context.get("transfer_from") or ()
        sources = {name: part for name, part in known.items() if name in lent}
        contents = make_results(
            [dataclasses.replace(evaluation, model=model)],
            {**context, "models": {**sources, model: about}},
        )
        path = folder / f"{_file_name(contents)}.json"
        write_text_atomically(path, results_text({"kind": _KIND, **contents}))
        paths.append(path)
    return paths


def read_records(folder: pathlib.Path) -> list[Record]:
    """Returns all records in a folder, by name.

    Raises:
        UserError: If a file with the ending .json is damaged or of another version.
    """
    return [_read(path) for path in sorted(folder.glob("*_*.json"))]


def _read(path: pathlib.Path) -> Record:
    try:
        contents = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"Invalid record: {path} cannot be read ({reason_of(error)}); restore it "
            "with git, or evaluate again."
        ) from error
    is_record = isinstance(contents, dict) and contents.get("kind") == _KIND
    if not is_record or contents.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"Invalid record: {path} was not written by `bin/evaluate --record` of "
            "this version; evaluate again."
        )
    try:
        (about,) = contents["models"]
        record = Record(path.stem, about["name"], contents)
        _check_parts(record)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"Invalid record: {path} lacks a part ({type(error).__name__}: {error}); "
            "restore it with git, or evaluate again."
        ) from error
    return record


def _check_parts(record: Record) -> None:
    """Looks once at all that others look at."""
    record.figures()
    record.is_of("", "")
    _ = record.attacks, record.doubts(), record.examples, record.suite
    _ = record.about["sha256"], record.about["seed"], record.reading
    if record.contents["suite"] == "margins":
        bins = record.about["margin_histogram"]
        _ = record.about["margins"], float(bins["highest"]), len(bins["counts"])


def _digest(sources: Mapping[str, Any]) -> str:
    """Returns what tells the models apart that adversarial images came from."""
    text = json.dumps(sorted(str(part.get("sha256")) for part in sources.values()))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _file_name(contents: Mapping[str, Any]) -> str:
    (about,) = contents["models"]
    data = contents["data"]
    radii = "-".join(part["text"] for part in contents["eps"])
    parts = [
        about["name"],
        data.get("dataset") or "data",
        # Folders of pictures have but this one name.
        *([str(data["examples_sha256"])[:8]] if data.get("dataset") == _FOLDER else []),
        *([] if data.get("split") in (None, "test") else [data["split"]]),
        contents["norm"],
        contents["suite"],
        *([f"eps-{radii}"] if radii else []),
        f"n{data['num_examples']}",
        f"s{about['seed']}",
        *([f"from-{_digest(contents['sources'])}"] if contents["sources"] else []),
        *_reading(about),
    ]
    return "_".join(clean_name(part) for part in parts)


def _reading(about: Mapping[str, Any]) -> list[str]:
    """Returns how the model was read, where that is not as usual."""
    low, high = about.get("input_range") or (0, 1)
    parts = [] if (low, high) == (0, 1) else [f"range-{low:g}-{high:g}"]
    signature = about.get("signature")
    if signature not in _USUAL_SIGNATURES:
        parts.append(f"signature-{signature}")
    return parts


def clean_name(name: str) -> str:
    """Returns what stands for a name in the name of a record's file."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-")
