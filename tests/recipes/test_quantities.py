"""Numbers as people write and read them."""

import math

import pytest

from mma_tf import UserError
from mma_tf.recipes.quantities import (
    format_length,
    format_number,
    format_value,
    parse_number,
    parse_whole_number,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        (" 8 / 255 ", 8 / 255),
        ("0.3", 0.3),
        ("1e-3", 1e-3),
        ("-2", -2.0),
        ("1/3", 1 / 3),
    ],
)
def test_numbers_and_fractions_are_read_exactly(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize(
    "text", ["", "eight", "8/", "/255", "8/0", "8/255/2", "nan", "inf", "1e999", "0x8"]
)
def test_what_is_no_number_is_quoted(text):
    with pytest.raises(UserError, match="such as 8/255") as caught:
        parse_number(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("50", 50), ("-1", -1), ("1e5", 100_000), (str(2**63 + 1), 2**63 + 1)],
)
def test_whole_numbers_are_read_exactly(text, value):
    number = parse_whole_number(text)
    assert number == value
    assert isinstance(number, int)


@pytest.mark.parametrize("text", ["", "a", "1.5", "8/255", "nan", "inf"])
def test_what_is_no_whole_number_is_quoted(text):
    with pytest.raises(UserError, match="a whole number") as caught:
        parse_whole_number(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8 / 255, "8/255"),
        (1 / 3, "1/3"),
        (0.2, "0.2"),
        (0.01875, "0.01875"),
        (1e-4, "0.0001"),
        (4.0, "4"),
        (1234567.0, "1.23457e+06"),
        (0.0, "0"),
        (math.sqrt(2), "1.41421"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_numbers_are_written_as_people_do(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [((0.1, 0.01), "0.1,0.01"), ((), ""), (True, "true"), (50, "50"), ("a", "a")],
)
def test_values_are_written_as_flags_take_them(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (20 / 255, "20_255"),
        (0.3, "0.3"),
        (0.125, "0.125"),
        (0.2, "0.2"),
        (1.0, "1"),
        (10.0, "10"),
    ],
)
def test_lengths_in_names_of_folders_have_no_slash(value, text):
    assert format_length(value) == text
