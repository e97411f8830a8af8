"""The report for people."""

import re

import pytest

from mma_tf.report.markdown import make_markdown
from tests.report.made_up import make_check, make_evaluation


@pytest.fixture(autouse=True)
def clean_keras_state():
    """In place of the suite's, which is slow: nothing here touches Keras."""


CONTEXT = {
    "models": {"a": {"sha256": "ab" * 32, "path": "runs/a"}},
    "data": {"dataset": "digits", "split": "test", "num_examples": 20, "of": 360},
    "command": "bin/evaluate --model=a --eps=0.05,0.1",
    "versions": {"python": "3.11.7", "git_revision": "0123456-dirty"},
}


def markdown(*evaluations, context=CONTEXT, galleries=None):
    return make_markdown(evaluations, context, galleries=galleries or {})


def section(text, title):
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text):
    """The tables' rows, as lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [re.split(r" (?<!\\)\| ", line[2:-2]) for line in lines]


def test_the_headline_table_has_a_row_a_model_and_a_column_a_radius():
    text = markdown(make_evaluation("a"), make_evaluation("b"))
    head, _, *body = rows(section(text, "Accuracy"))
    assert head == ["model", "clean", "eps 0.05", "eps 0.1", "AvgAcc", "AvgRobAcc"]
    assert [row[0] for row in body] == ["a", "b"]
    assert body[0][1:] == [
        "85.00 % (64.0 to 94.8)",
        "60.00 % (38.7 to 78.1)",
        "35.00 % (18.1 to 56.7)",
        "60.00 %",
        "47.50 %",
    ]


def test_every_table_has_rows_of_one_width():
    evaluations = [make_evaluation("a|b"), make_evaluation("c")]
    for changes in ({}, {"eps": ()}):
        text = markdown(*(make_evaluation(e.model, **changes) for e in evaluations))
        for block in text.split("\n\n"):
            assert len({len(row) for row in rows(block)}) <= 1


def test_the_attacks_follow_each_other():
    text = section(markdown(make_evaluation("a")), "Attack by attack")
    head, _, *body = rows(text)
    assert [(row[0], row[1], row[5]) for row in body] == [
        ("0.05", "apgd-ce", "65.00 %"),
        ("0.05", "square", "60.00 %"),
        ("0.1", "apgd-ce", "40.00 %"),
        ("0.1", "square", "35.00 %"),
    ]
    assert len(head) == len(body[0])
    assert "9 targets" in text
    assert "`APGD-CE(norm='linf', limit=inf)`" in text


def test_doubts_are_at_the_top_and_explained_below():
    doubtful = make_evaluation("a", checks=(make_check(flagged=True), make_check()))
    text = markdown(doubtful)
    top = text.split("\n## Pictures")[0]
    assert "give reason for doubt" in top
    assert "- `a`: outputs are logits" in top
    checks = section(text, "Sanity checks")
    assert "- FAILED: **outputs are logits**" in checks
    assert "What it means: A softmax saturates." in checks
    assert "What to do: Export the model without it." in checks
    assert "- passed: **outputs are logits**. Outputs lie in" in checks


def test_without_doubts_it_says_so():
    text = markdown(make_evaluation("a"))
    assert "No sanity check gives reason for doubt." in text
    assert "FAILED" not in text


def test_it_says_how_to_repeat_it_and_what_the_figures_are():
    text = markdown(make_evaluation("a"))
    assert "Upper bounds of robustness: what these attacks found" in text
    assert "20 of 360 digits test images" in text
    repeating = section(text, "How to repeat it")
    assert CONTEXT["command"] in repeating
    cells = {row[0]: row[1] for row in rows(repeating)}
    assert cells["a: sha256"] == "ab" * 32
    assert cells["a: seed"] == "5"
    assert cells["git\\_revision"] == "0123456-dirty"


def test_the_pictures_are_linked():
    text = markdown(make_evaluation("a"), galleries={0: "adversarial_0_a.png"})
    linked = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert linked == ["robust_accuracy.png", "margins.png", "adversarial_0_a.png"]


def test_margins_have_their_table():
    text = markdown(make_evaluation("a", eps=()))
    head, _, row = rows(section(text, "Margins"))
    assert row[head.index("median")] == "0.07"
    assert row[head.index("no error found")] == "10.00 %"
    assert "eps" not in section(text, "Attack by attack").splitlines()[4]


def test_markup_in_a_name_is_shown_as_it_is():
    text = markdown(make_evaluation("a_b*c|d`e"))
    assert "a\\_b\\*c\\|d\\`e" in section(text, "Accuracy")
    assert text.startswith("# Robustness of `a_b*c|d'e`\n")


def test_an_empty_context_is_enough():
    text = markdown(make_evaluation(), context={})
    assert "20 images" in text
    assert "```" not in text
