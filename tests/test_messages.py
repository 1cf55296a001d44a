"""What files and callers say comes out on one short line."""

import time

import numpy as np
import pytest

from npconv.messages import escape, hint, in_json, listed, nearest, quoted, shown


@pytest.mark.parametrize("function", [quoted, shown, in_json])
@pytest.mark.parametrize("value", ["a\nb\x1b[2J", "x" * 100_000, "", "\ud800"])
def test_a_text_is_one_short_line(function, value):
    text = function(value)
    assert len(text) < 220
    assert text.isprintable()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("cat", "'cat'"),
        (10**400, "a larger integer"),
        ([10**5000], "a list with a huge number"),
        (np.zeros((2, 2)), "array([[0., 0.], [0., 0.]])"),
        ("x" * 100, "'" + "x" * 76 + "..."),
    ],
    ids=["text", "large", "huge", "array", "long"],
)
def test_values_are_shown_as_python_writes_them(value, text):
    assert shown(value) == text


def test_values_of_a_configuration_are_shown_as_its_file_has_them():
    assert in_json({"a": [True, None, "b"]}) == '{"a": [true, null, "b"]}'


def test_a_few_of_many():
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed({"a": 1, "b": 2, "c": 3, "d": 4}) == "a, b, c and 1 more"
    assert listed(["a", "b"], 1) == "a and 1 more"
    assert listed([]) == ""


def test_what_is_not_printable_is_escaped():
    assert escape("ü\n\x1b\ud800") == r"ü\n\x1b\ud800"


def test_the_most_similar_name():
    names = ["layernorm.weight", "classifier.weight", "x" * 500]
    assert nearest("layernom.weight", names) == "layernorm.weight"
    assert nearest("zzz", names) is None
    assert nearest("zzz", names, alike=0) in names[:2]
    assert nearest("x" * 500, names) is None
    assert hint("clasifier.weight", names) == " (nearest: 'classifier.weight')"
    assert hint("zzz", names) == ""


def test_many_names_are_compared_quickly():
    started = time.perf_counter()
    nearest("a" * 200, (f"{i:0200d}" for i in range(10**6)))
    assert time.perf_counter() - started < 5
