"""The words of a report, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from mma_tf.evaluation.results import Check, Evaluation
from mma_tf.evaluation.tables import (
    ABSENT,
    CAVEAT,
    MARGIN_NAMES,
    interval_text,
    margin_text,
    percent,
)
from mma_tf.report.json_report import eps_names, versions_of
from mma_tf.report.markup import code, escaped, table

_CAVEAT = (
    f"**{CAVEAT}** An image counts as robust if every attack of the suite failed on "
    "it; that is no proof that no error is near. Figures of different suites, radii, "
    "norms or images must not be compared. The intervals tell how far the figures may "
    "be off because only so many images were judged; they cover no attack left out."
)


def make_markdown(
    evaluations: Sequence[Evaluation],
    context: Mapping[str, Any],
    *,
    galleries: Mapping[int, str],
) -> str:
    """Returns `report.md`.

    Args:
        evaluations: Of the same norm, suite, radii and examples.
        context: See `mma_tf.report.write_report`.
        galleries: Names of the pictures of adversarial images, by number of the model.
    """
    names = eps_names(evaluations, context)
    blocks = [
        *_head(evaluations, context),
        "## Accuracy\n\n" + _accuracies(evaluations, names),
        *([] if evaluations[0].eps else ["## Margins\n\n" + _margins(evaluations)]),
        *_doubt_summary(evaluations),
        "## Pictures",
        *_pictures(evaluations, galleries),
        "## Attack by attack\n\n" + _about_attacks(evaluations[0]),
        *(_attacks(evaluation, names) for evaluation in evaluations),
        "## Sanity checks",
        *(_checks(evaluation) for evaluation in evaluations),
        "## How to repeat it",
        *_repeating(evaluations, context),
    ]
    return "\n\n".join(block.rstrip() for block in blocks) + "\n"


def _head(evaluations: Sequence[Evaluation], context: Mapping[str, Any]) -> list[str]:
    first = evaluations[0]
    count = len(evaluations)
    subject = f"`{code(first.model)}`" if count == 1 else f"{count} models"
    return [
        f"# Robustness of {subject}",
        f"Suite **{first.suite}**, norm **{first.norm}**, {_data(first, context)}.",
        f"> {_CAVEAT}",
    ]


def _data(evaluation: Evaluation, context: Mapping[str, Any]) -> str:
    data = context.get("data") or {}
    of = f" of {data['of']}" if data.get("of") else ""
    named = " ".join(
        escaped(str(data[key])) for key in ("dataset", "split") if data.get(key)
    )
    return f"{evaluation.num_examples}{of} {named + ' ' if named else ''}images"


def _accuracies(evaluations: Sequence[Evaluation], names: Mapping[float, str]) -> str:
    radii = evaluations[0].eps
    averages = ["AvgAcc", "AvgRobAcc"] if len(radii) > 1 else []
    rows = [
        ["model", "clean", *(f"eps {escaped(names[eps])}" for eps in radii), *averages]
    ]
    for evaluation in evaluations:
        row = [escaped(evaluation.model)]
        row.append(_accuracy(evaluation, None))
        row += [_accuracy(evaluation, eps) for eps in radii]
        for average in (
            evaluation.average_accuracy(),
            evaluation.average_robust_accuracy(),
        )[: len(averages)]:
            row.append(ABSENT if average is None else percent(average))
        rows.append(row)
    notes = ["In parentheses: 95 % Wilson intervals, in percent."]
    if averages:
        notes.append(
            "AvgAcc is the mean over the radii and 0, AvgRobAcc that over the radii."
        )
    return table(rows) + "\n\n" + " ".join(notes)


def _accuracy(evaluation: Evaluation, eps: float | None) -> str:
    share = evaluation.accuracy if eps is None else evaluation.robust_accuracy[eps]
    return f"{percent(share)} ({interval_text(evaluation.interval(eps))})"


def _margins(evaluations: Sequence[Evaluation]) -> str:
    rows = [["model", *MARGIN_NAMES.values()]]
    for evaluation in evaluations:
        found = evaluation.margin_statistics()
        cells = [margin_text(name, found[name]) for name in MARGIN_NAMES]
        rows.append([escaped(evaluation.model), *cells])
    return (
        table(rows)
        + f"\n\nDistances in {evaluations[0].norm}, in pixel units, to the nearest "
        "error that was found, over all images: an image that is wrong as it is counts "
        "0, one without an error found counts as the largest, and is left out of the "
        "mean."
    )


def _doubt_summary(evaluations: Sequence[Evaluation]) -> list[str]:
    # A check of several radii is told once.
    lines = dict.fromkeys(
        f"- `{code(evaluation.model)}`: {escaped(check.name)}"
        for evaluation in evaluations
        for check in evaluation.warnings
    )
    if not lines:
        return ["No sanity check gives reason for doubt."]
    # One block: a list that blank lines tear apart is set with gaps.
    return [
        "**Sanity checks that give reason for doubt; see below:**",
        "\n".join(lines),
    ]


def _pictures(
    evaluations: Sequence[Evaluation], galleries: Mapping[int, str]
) -> list[str]:
    first = evaluations[0]
    if first.eps:
        curve = (
            "Robust accuracy, with 95 % Wilson intervals. Points of a radius stand "
            "side by side, so that their bars do not hide each other"
        )
    else:
        curve = (
            "Share of images without an error found up to a distance, with 95 % Wilson "
            "intervals"
        )
    blocks = [
        f"![Robust accuracy](robust_accuracy.png)\n\n*{curve}.*",
        f"![Margins](margins.png)\n\n*{_about_margins(first)}*",
    ]
    for number, name in galleries.items():
        model = escaped(evaluations[number].model)
        blocks.append(
            f"![Adversarial images of model {number}]({name})\n\n*{model}: images, the "
            "nearest errors that were found, and the change, magnified.*"
        )
    return blocks


def _about_margins(evaluation: Evaluation) -> str:
    text = "Distance of the nearest error found for each image: upper bounds of margins"
    if evaluation.eps:
        text += ", loose ones, since these attacks stop at any error within a radius"
    return f"{text}."


def _about_attacks(evaluation: Evaluation) -> str:
    if evaluation.eps:
        return (
            "Each attack meets only the images that are still right; errors at a "
            "smaller radius count at the larger ones, too. Passes of the network are "
            "counted in images."
        )
    return (
        "Each attack meets all images that are right as they are, and looks for errors "
        "nearer than those known. Passes of the network are counted in images."
    )


def _attacks(evaluation: Evaluation, names: Mapping[float, str]) -> str:
    rows = [
        [
            *(["eps"] if evaluation.eps else []),
            "attack",
            "passes",
            "images",
            "broken" if evaluation.eps else "nearer error found",
            "right after it" if evaluation.eps else "no error found yet",
            "forward",
            "backward",
            "seconds",
        ]
    ]
    for stage in evaluation.stages:
        rows.append(
            [
                *([] if stage.eps is None else [escaped(names[stage.eps])]),
                escaped(stage.name),
                f"{stage.num_passes}{' targets' if stage.targeted else ''}",
                str(stage.num_attacked),
                str(stage.num_fooled),
                percent(stage.accuracy),
                str(stage.forward_passes),
                str(stage.backward_passes),
                f"{stage.seconds:.1f}",
            ]
        )
    parameters = {stage.name: stage.attack for stage in evaluation.stages}
    listed = [
        f"- {escaped(name)}: `{code(_arguments(attack))}`"
        for name, attack in parameters.items()
    ]
    return "\n\n".join(
        [
            f"### {escaped(evaluation.model)}",
            table(rows),
            f"{evaluation.seconds:.1f} seconds in all.",
            "\n".join(listed),
        ]
    )


def _arguments(attack: Mapping[str, Any]) -> str:
    values = {name: value for name, value in attack.items() if name != "class"}
    inner = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"{attack.get('class', 'Attack')}({inner})"


def _checks(evaluation: Evaluation) -> str:
    blocks = [f"### {escaped(evaluation.model)}"]
    blocks += [_doubt(check) for check in evaluation.warnings]
    passed = [
        f"- passed: **{escaped(check.name)}**. {escaped(check.found)}"
        for check in evaluation.checks
        if not check.flagged
    ]
    return "\n\n".join([*blocks, "\n".join(passed)])


def _doubt(check: Check) -> str:
    return (
        f"- FAILED: **{escaped(check.name)}**. {escaped(check.found)}\n"
        f"  - What it means: {escaped(check.meaning)}\n"
        f"  - What to do: {escaped(check.advice)}"
    )


def _repeating(
    evaluations: Sequence[Evaluation], context: Mapping[str, Any]
) -> list[str]:
    blocks = []
    if context.get("command"):
        # Four: a command may hold three of its own.
        blocks.append(f"````sh\n{context['command']}\n````")
    about = context.get("models") or {}
    rows = [["what", "value"], ["data", _data(evaluations[0], context)]]
    for evaluation in evaluations:
        name = escaped(evaluation.model)
        known = about.get(evaluation.model) or {}
        rows += [
            [f"{name}: {key}", escaped(str(known[key]))]
            for key in ("path", "kind", "sha256", "signature", "input_range")
            if known.get(key) is not None
        ]
        rows += [
            [f"{name}: seed", str(evaluation.seed)],
            [f"{name}: batch size", str(evaluation.batch_size)],
        ]
    rows += [[escaped(k), escaped(str(v))] for k, v in versions_of(context).items()]
    return [
        *blocks,
        table(rows),
        "Figures for programs are in `results.json`, those of each image in "
        "`per_example.npz`.",
    ]
