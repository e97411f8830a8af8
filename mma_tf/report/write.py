"""Writes a report into a folder."""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mma_tf.array_files import write_arrays_atomically
from mma_tf.evaluation.results import Evaluation
from mma_tf.evaluation.tables import check_comparable
from mma_tf.files import (
    write_bytes_atomically,
    write_text_atomically,
)
from mma_tf.report.json_report import (
    eps_names,
    make_results,
    per_example_arrays,
    results_text,
)
from mma_tf.report.markdown import make_markdown

# A file's name may have 255 bytes; of a path its end tells most.
_LONGEST_NAME = 60


def write_report(
    evaluations: Sequence[Evaluation],
    folder: pathlib.Path,
    *,
    context: Mapping[str, Any],
) -> None:
    """Writes `results.json`, `per_example.npz`, `report.md` and its pictures.

    Each file is the old or the new one at any moment. The same evaluations and context
    give the same bytes.

    Args:
        evaluations: Of the same norm, suite, radii and examples.
        folder: Where to; it exists.
        context: What evaluations do not know. Each key may be absent.

            - "models": by name: "path", "kind", "sha256", "signature", "input_range".
            - "data": "dataset", "split", "num_examples", "of" (how many there are),
              "examples_sha256".
            - "command": What was typed.
            - "versions": As of `mma_tf.versions.describe_versions`.
            - "eps_text": Radius to the text that the user gave for it.
            - "class_names": In the order of the labels.

    Raises:
        ValueError: If the evaluations do not belong side by side.
        OSError: If a file cannot be written; the old one is then as it was.
    """
    check_comparable(evaluations)
    # matplotlib takes a second to import, and only writing needs it.
    from mma_tf.report import drawing, gallery, pictures

    names = eps_names(evaluations, context)
    class_names = list(context.get("class_names") or ())
    # All is made before anything is written: a mistake leaves the old report whole.
    figures = {
        "robust_accuracy.png": pictures.robust_accuracy_figure(evaluations, names),
        "margins.png": pictures.margins_figure(evaluations),
    }
    galleries = {
        number: _gallery_name(number, evaluation.model)
        for number, evaluation in enumerate(evaluations)
        if len(evaluation.gallery.labels)
    }
    for number, name in galleries.items():
        figures[name] = gallery.gallery_figure(evaluations[number], class_names)
    files = {name: drawing.png_bytes(figure) for name, figure in figures.items()}
    results = results_text(make_results(evaluations, context))
    text = make_markdown(evaluations, context, galleries=galleries)
    for name, content in files.items():
        write_bytes_atomically(folder / name, content)
    write_arrays_atomically(folder / "per_example.npz", per_example_arrays(evaluations))
    write_text_atomically(folder / "results.json", results)
    write_text_atomically(folder / "report.md", text)


def _gallery_name(number: int, model: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model)[-_LONGEST_NAME:].strip("-.")
    return f"adversarial_{number}_{plain or 'model'}.png"
